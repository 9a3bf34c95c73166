/** The handler of nearly every scenario, the same module for Simmer's pods and for each baseline's: gives back its input. */
export default async function echo(input: unknown): Promise<unknown> {
  return input;
}

/** Ten milliseconds that cost no CPU: what overload is measured with. */
import { setTimeout as sleep } from 'node:timers/promises';

const WORK_MS = 10;

export default async function sleep10(input: unknown): Promise<unknown> {
  await sleep(WORK_MS);
  return input;
}

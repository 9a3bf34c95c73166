/** Sleeps as long as its input says: holds a slot, or returns at once. */
import { setTimeout as sleep } from 'node:timers/promises';

export default async function sleepInput(input: unknown): Promise<unknown> {
  const { ms } = input as { ms: number };
  if (ms > 0) await sleep(ms);
  return { ms };
}

/** A tenth of a second that costs no CPU: what pools are sized by. */
import { setTimeout as sleep } from 'node:timers/promises';

const WORK_MS = 100;

export default async function sleep100(input: unknown): Promise<unknown> {
  await sleep(WORK_MS);
  return input;
}

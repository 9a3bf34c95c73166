/**
 * The handlers' ledger: what ran, noted outside Simmer. A file for each process, a line for each fact, each written by one
 * write of its own, so that a process that is killed leaves whole lines, save perhaps its last. Times are of the machine's monotonic clock, the
 * same for all processes, in milliseconds.
 */
import { openSync, writeSync } from 'node:fs';

const file = openSync(`${process.env.CHAOS_LEDGER}/${process.pid}-${process.hrtime.bigint()}`, 'a');

const now = () => Number(process.hrtime.bigint() / 1_000n) / 1_000;

function note(fact) {
  writeSync(file, `${JSON.stringify({ ...fact, pid: process.pid, at: now() })}\n`);
}

/** An attempt begins. Gives how to say that it still runs, and how it ended. */
export function begin(ctx, op) {
  const { executionId, attempt } = ctx;
  const fact = { executionId, attempt, op };
  note({ ...fact, type: 'start' });
  return {
    still: () => note({ ...fact, type: 'still' }),
    end: (outcome) => note({ ...fact, type: 'end', outcome }),
  };
}

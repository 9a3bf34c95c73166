/** The handlers' ledger, read back: what ran, by execution and attempt. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export type RunOutcome = 'ok' | 'threw' | 'aborted' | 'exited';

/** One attempt, as its handler noted it. Times are of the machine's monotonic clock, milliseconds. */
export interface Run {
  readonly op: string;
  readonly executionId: string;
  readonly attempt: number;
  readonly pid: number;
  readonly startedAt: number;
  /** When it last said that it ran. */
  lastAt: number;
  /** undefined: it never came to say. */
  outcome: RunOutcome | undefined;
}

interface Fact {
  readonly type: 'start' | 'still' | 'end';
  readonly op: string;
  readonly executionId: string;
  readonly attempt: number;
  readonly pid: number;
  readonly at: number;
  readonly outcome?: RunOutcome;
}

/**
 * Runs in the order of their files. An attempt that was started twice gives two. @throws on a line that is none, but for the
 * end of one that a kill cut off: Linux looks for it at each page that a write fills, so the last line may lack its end.
 */
export function readLedger(folder: string): Run[] {
  return readdirSync(folder).flatMap((name) =>
    runsOf(readFileSync(join(folder, name), 'utf8').split('\n').slice(0, -1)),
  );
}

/** The runs of one process, from its lines. */
export function runsOf(lines: readonly string[]): Run[] {
  const runs: Run[] = [];
  const latest = new Map<string, Run>();
  for (const line of lines) {
    const { type, op, executionId, attempt, pid, at, outcome } = JSON.parse(line) as Fact;
    const key = `${executionId}/${attempt}`;
    if (type === 'start') {
      const run: Run = {
        ...{ op, executionId, attempt, pid, startedAt: at, lastAt: at, outcome: undefined },
      };
      runs.push(run);
      latest.set(key, run);
      continue;
    }
    const run = latest.get(key);
    if (run === undefined) throw new Error(`the ledger tells of ${key} before its start`);
    run.lastAt = at;
    if (type === 'end') run.outcome ??= outcome;
  }
  return runs;
}

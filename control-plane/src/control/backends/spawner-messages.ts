/** What the control thread and the spawner process say to each other: one JSON object a line, on the spawner's stdin and stdout. */
import type { StreamName } from './pod-output.ts';

export interface SpawnOrder {
  readonly type: 'spawn';
  readonly id: string;
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}

export interface SignalOrder {
  readonly type: 'signal';
  readonly id: string;
  readonly signal: 'SIGTERM' | 'SIGKILL';
}

export type ToSpawner = SpawnOrder | SignalOrder;

/** `at`: epoch milliseconds. */
export type FromSpawner =
  | { readonly type: 'spawned'; readonly id: string; readonly pid: number; readonly at: number }
  | { readonly type: 'refused'; readonly id: string; readonly reason: string }
  | {
      readonly type: 'line';
      readonly id: string;
      readonly stream: StreamName;
      readonly line: string;
    }
  /** Last, once what it had printed has been sent. `how`: `exit code 1` or `signal SIGKILL`. */
  | { readonly type: 'exited'; readonly id: string; readonly how: string; readonly at: number };

/** Where dead letters are kept. Asynchronous, as executions' (executions/store.ts), and for the same reason. */
import type { DeadLetter } from './letter.ts';

export interface DeadLetterFilter {
  /** namespace/name; '' for all. */
  readonly functionKey: string;
  /** Whether letters of this function may be shown. */
  readonly shows: (functionKey: string) => boolean;
  readonly limit: number;
  /** `next` of the page before; '' for the first. */
  readonly cursor: string;
}

export interface DeadLetterPage {
  /** Newest first. */
  readonly letters: readonly DeadLetter[];
  /** '' where nothing follows. */
  readonly next: string;
}

export interface DeadLetterUsage {
  readonly count: number;
  readonly bytes: number;
}

export interface DeadLetterStore {
  /** Keeps one. Gives those that went to make room: the oldest of its function, then of all; it itself where it is too large. */
  put(letter: DeadLetter): Promise<readonly DeadLetter[]>;
  get(id: string): Promise<DeadLetter | undefined>;
  list(filter: DeadLetterFilter): Promise<DeadLetterPage>;
  /** Of one function, oldest first, as many as `limit`. */
  oldest(functionKey: string, limit: number): Promise<readonly DeadLetter[]>;
  /** False where there is none. */
  remove(id: string): Promise<boolean>;
  /** All of one function; how many they were. */
  removeAll(functionKey: string): Promise<number>;
  /** Of one function; of all for ''. */
  usage(functionKey: string): Promise<DeadLetterUsage>;
}

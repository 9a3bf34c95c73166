/**
 * Where executions are kept. Asynchronous, so that a durable engine can take the place of the one in memory: what waits
 * for it never holds up the scheduler.
 */
import type { ExecutionMode, ExecutionStatus } from '@simmer/protocol/executions';
import type { ExecutionRecord } from './record.ts';

export interface ExecutionFilter {
  /** namespace/name; '' for all. */
  readonly functionKey: string;
  /** Those of other functions are left out. */
  readonly mayRead: (functionKey: string) => boolean;
  /** '' for all. */
  readonly status: ExecutionStatus | '';
  /** '' for both. */
  readonly mode: ExecutionMode | '';
  readonly limit: number;
  /** `next` of the page before; '' for the first. */
  readonly cursor: string;
}

export interface ExecutionPage {
  /** Newest first. */
  readonly records: readonly ExecutionRecord[];
  /** '' where nothing follows. */
  readonly next: string;
}

/** `evicted`: it was kept once. `unknown`: nothing is remembered of it. */
export type Lookup = ExecutionRecord | 'evicted' | 'unknown';

export interface ExecutionStore {
  /** Keeps a new one; `full` where its bounds are reached by executions that have not ended. */
  create(record: ExecutionRecord): Promise<'created' | 'full'>;
  /** It has changed. The record stays the caller's, who changes it further. */
  update(record: ExecutionRecord): Promise<void>;
  /** It was never accepted. */
  remove(record: ExecutionRecord): Promise<void>;
  get(id: string): Promise<Lookup>;
  list(filter: ExecutionFilter): Promise<ExecutionPage>;
}

/** What the control plane and the API's schemas both say of executions. Plain data. */

/**
 *   queued ──▶ running ──▶ succeeded | failed | timed_out | cancelled | dead_lettered
 *     ▲           │
 *     └─ waiting ◀┘           for the next attempt
 *
 * One that is queued or waits may end as well. `dead_lettered`: it failed, and is a dead letter.
 */
export const EXECUTION_STATUSES = [
  'queued',
  'running',
  'waiting',
  'succeeded',
  'failed',
  'timed_out',
  'cancelled',
  'dead_lettered',
] as const;
export type ExecutionStatus = (typeof EXECUTION_STATUSES)[number];

export const EXECUTION_MODES = ['sync', 'async'] as const;
export type ExecutionMode = (typeof EXECUTION_MODES)[number];

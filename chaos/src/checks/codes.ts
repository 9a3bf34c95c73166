/** Which codes a work may be answered. */

/** Answers that say: not taken on, come again. */
export const REFUSALS: ReadonlySet<string> = new Set([
  'queue_full',
  'overloaded',
  'deadline_unreachable',
  'executions_full',
  'no_capacity',
  'draining',
]);
/** What may become of a call while pods are shot. */
export const HAZARDS: ReadonlySet<string> = new Set(['pod_lost', 'timeout', 'function_exited']);
/** What each work may be answered, beside refusals and hazards. */
export const CODES: Readonly<Record<string, readonly string[]>> = {
  echo: ['ok'],
  sleep: ['ok', 'function_error'], // aborted, it throws
  spin: ['ok'],
  throw: ['ok', 'function_error'],
  exit: ['ok', 'function_exited'],
  bad: ['bad_input'],
};

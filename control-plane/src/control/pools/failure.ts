/** What a pod that ended before it was ready does to its pool. */
import type { ErrorCode } from '@simmer/protocol/errors';
import type { LaunchRefusedMessage } from '../../shared/messages.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { failingRefusal } from './admission.ts';
import { onFailure } from './backoff.ts';
import type { Pod, Pool } from './pool.ts';

export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  /** Nothing suggests that waiting helps. */
  readonly hopeless?: boolean;
}

/**
 * Notes it, and gives what the scheduler is to hear: not asked for, but it need not ask now to hear it, and its callers
 * hear it as soon. A pod of a deleted function, an old revision or an earlier process says nothing about this one.
 */
export function noteFailure(
  pool: Pool,
  pod: Pod,
  { code, message, hopeless }: Failure,
  clock: Clock,
  log: Log,
): readonly LaunchRefusedMessage[] {
  if (pool.deleted || pod.adopted || pod.revision !== pool.registered.revision) return [];
  const now = clock.now();
  pool.backoff = onFailure(pool.backoff, pod.launchedAt, now);
  if (pool.backoff.state !== 'failing') return [];
  const { failures, suspendedUntil } = pool.backoff;
  const at = new Date(clock.epoch()).toISOString();
  const saidSo = hopeless === true || code === 'handler_not_loaded';
  pool.lastFailure = { code, message, at, count: failures, hopeless: saidSo };
  const retryInMs = Math.ceil(suspendedUntil - now);
  const { podId, label: pid } = pod;
  const fields = { function: pool.key, podId, pid, code, failures, retryInMs };
  log.warn(fields, `pod failed before it was ready: ${message}`);
  return (['pool', 'job'] as const).flatMap((kind) => failingRefusal(pool, kind, 0, now) ?? []);
}

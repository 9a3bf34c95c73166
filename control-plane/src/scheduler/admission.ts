/**
 * The admission policy: whether a function takes one more invocation, and when to come back if not. Pure.
 *
 * Refusals are few and plain: the queue is full (count or bytes), all queues together are (bytes), or the wait would
 * outlast the deadline. An empty queue always admits, so no function can get stuck refusing once its load is gone.
 */
import type { ErrorCode } from '@simmer/protocol/errors';

export interface AdmissionInput {
  /** Whether a slot is free now; then nothing but bytes can refuse. */
  readonly freeSlot: boolean;
  readonly queued: number;
  readonly maxQueued: number;
  /** Bytes held for this function, this request's included, and the most there may be. */
  readonly heldBytes: number;
  readonly maxHeldBytes: number;
  /** The same for all functions together. */
  readonly totalHeldBytes: number;
  readonly maxTotalHeldBytes: number;
  /** Slots that serve now; 0 while a pool starts. */
  readonly servingSlots: number;
  readonly serviceMs: number | undefined;
  /** Time the invocation has. */
  readonly budgetMs: number;
}

/** undefined: admitted. */
export function refuse(a: AdmissionInput): ErrorCode | undefined {
  if (a.totalHeldBytes > a.maxTotalHeldBytes) return 'overloaded';
  if (a.heldBytes > a.maxHeldBytes) return 'queue_full';
  if (a.freeSlot) return undefined;
  if (a.queued >= a.maxQueued) return 'queue_full';
  if (a.queued > 0 && estimatedWaitMs(a) > a.budgetMs) return 'deadline_unreachable';
  return undefined;
}

/** How long one more invocation would wait for its slot; 0 where nothing is known. */
export function estimatedWaitMs(
  a: Pick<AdmissionInput, 'queued' | 'servingSlots' | 'serviceMs'>,
): number {
  if (a.serviceMs === undefined || a.servingSlots === 0) return 0;
  return ((a.queued + 1) * a.serviceMs) / a.servingSlots;
}

const MIN_RETRY_AFTER_S = 1;
const MAX_RETRY_AFTER_S = 60;

/**
 * Retry-After in whole seconds (RFC 9110 10.2.3 knows no fraction): the time in which what waits now will have
 * drained at the present rate.
 */
export function retryAfterSeconds(
  a: Pick<AdmissionInput, 'queued' | 'servingSlots' | 'serviceMs'>,
): number {
  const seconds = Math.ceil(estimatedWaitMs(a) / 1000);
  return Math.min(MAX_RETRY_AFTER_S, Math.max(MIN_RETRY_AFTER_S, seconds));
}

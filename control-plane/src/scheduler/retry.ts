/**
 * The retry policy: whether an attempt that failed is followed by another, and after what delay. Pure. A synchronous
 * caller waits, so only a lost pod, which says nothing against the call itself, is made good for it.
 */
import type { ErrorCode } from '@simmer/protocol/errors';
import type { RetryCause } from '@simmer/protocol/retry';
import { fullJitter } from '../shared/full-jitter.ts';

export interface RetryInput {
  /** undefined: nothing that another attempt could change. */
  readonly cause: RetryCause | undefined;
  readonly sync: boolean;
  /** False: the handler said that no other attempt may follow. */
  readonly retryable: boolean;
  /** The delay that the handler asked for instead of the backoff; null: none. */
  readonly retryAfterMs: number | null;
  /** Made so far, the failed one included. */
  readonly attempts: number;
  readonly maxRetries: number;
  /** The causes that the function wants retried. */
  readonly on: readonly RetryCause[];
  readonly baseDelayMs: number;
  readonly maxDelayMs: number;
  /** Until its deadline. */
  readonly remainingMs: number;
  /** From 0 to 1, 1 excluded. */
  readonly random: number;
}

export type RetryDecision =
  | { readonly retry: true; readonly delayMs: number }
  | { readonly retry: false; readonly why: 'not_retryable' | 'exhausted' | 'deadline' };

export function decideRetry(r: RetryInput): RetryDecision {
  if (!r.retryable) return { retry: false, why: 'not_retryable' };
  if (r.cause === undefined || !r.on.includes(r.cause) || (r.sync && r.cause !== 'lost')) {
    return { retry: false, why: 'not_retryable' };
  }
  if (r.attempts > r.maxRetries) return { retry: false, why: 'exhausted' };
  const delayMs =
    r.retryAfterMs ?? fullJitter(r.random, r.baseDelayMs, r.maxDelayMs, r.attempts - 1);
  if (delayMs >= r.remainingMs) return { retry: false, why: 'deadline' };
  return { retry: true, delayMs };
}

const CAUSES: Partial<Record<ErrorCode, RetryCause>> = {
  pod_lost: 'lost',
  timeout: 'timeout',
  function_error: 'error',
  function_exited: 'error',
  memory_exceeded: 'error',
  internal_error: 'error',
};

/** Why an attempt failed, as the policy knows it; undefined where the same would come again. */
export function causeOf(code: ErrorCode): RetryCause | undefined {
  return CAUSES[code];
}

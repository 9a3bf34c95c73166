/** The callback policy: what an attempt's outcome means, and whether and when another follows. Pure. */
import { fullJitter } from '../../shared/full-jitter.ts';

/** Upper end of the random delay before the first retry. It doubles with each. */
export const BASE_DELAY_MS = 500;
/** Where the delay stops doubling; longer than that no receiver's Retry-After is waited for. */
export const MAX_DELAY_MS = 300_000;

export type AttemptOutcome =
  | { readonly kind: 'delivered'; readonly status: number }
  | {
      readonly kind: 'failed';
      /** null: there was no answer. */
      readonly status: number | null;
      readonly reason: string;
      /** The same request may meet another answer later. */
      readonly retryable: boolean;
      /** What the receiver asked for; 0 where it asked for nothing. */
      readonly retryAfterMs: number;
    };

export function failed(reason: string, retryable: boolean, status: number | null = null) {
  return { kind: 'failed', status, reason, retryable, retryAfterMs: 0 } as const;
}

/** Answers below 500 that speak of the moment, not of the request (RFC 9110 15.5.9, RFC 8470 5.2, RFC 6585 4). */
const MOMENTARY: ReadonlySet<number> = new Set([408, 425, 429]);

/** `retryAfter`: the header, '' where there is none. `now`: epoch milliseconds. */
export function outcomeOf(status: number, retryAfter: string, now: number): AttemptOutcome {
  if (status >= 200 && status < 300) return { kind: 'delivered', status };
  const retryable = status >= 500 || MOMENTARY.has(status);
  const retryAfterMs = retryable ? delayOf(retryAfter, now) : 0;
  return { ...failed(`answered ${status}`, retryable, status), retryAfterMs };
}

/** RFC 9110 10.2.3: seconds, or a date. */
function delayOf(retryAfter: string, now: number): number {
  if (/^\d{1,9}$/.test(retryAfter)) return Number(retryAfter) * 1_000;
  const at = Date.parse(retryAfter);
  return Number.isNaN(at) ? 0 : Math.max(0, at - now);
}

export interface DeliveryState {
  readonly retryable: boolean;
  readonly retryAfterMs: number;
  /** Made so far, the failed one included. */
  readonly attempts: number;
  readonly maxAttempts: number;
  /** Until the time for all attempts is over. */
  readonly remainingMs: number;
  /** From 0 to 1, 1 excluded. */
  readonly random: number;
}

export type DeliveryDecision =
  | { readonly retry: true; readonly delayMs: number }
  | { readonly retry: false; readonly why: 'hopeless' | 'exhausted' | 'too_late' };

export function decideDelivery(d: DeliveryState): DeliveryDecision {
  if (!d.retryable) return { retry: false, why: 'hopeless' };
  if (d.attempts >= d.maxAttempts) return { retry: false, why: 'exhausted' };
  const jitter = fullJitter(d.random, BASE_DELAY_MS, MAX_DELAY_MS, d.attempts - 1);
  const delayMs = Math.max(jitter, Math.min(d.retryAfterMs, MAX_DELAY_MS));
  if (delayMs >= d.remainingMs) return { retry: false, why: 'too_late' };
  return { retry: true, delayMs };
}

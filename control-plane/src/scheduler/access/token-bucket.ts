/**
 * The rate-limit policy: a token bucket that needs no timer. Instead of a number of tokens it keeps the one time at which
 * it will be full again; each token taken moves that on by the time it takes to refill (the generic cell rate algorithm,
 * ITU-T I.371, says the same). Time is a parameter, milliseconds on any monotonic clock.
 *
 * Invariants:
 *  R1. In any span of time no more is taken than `burst` and what that time refills.
 *  R2. What has been left alone for `burst / requestsPerSecond` gives `burst` at once.
 *  R3. A refusal takes nothing; `waitMs` after it, one is there.
 */
import type { RateLimit } from '@simmer/protocol/api-keys';

/** Sums of fractions are off by less: of a token. */
const ROUNDING = 1e-6;

export class TokenBucket {
  readonly limit: RateLimit;
  private readonly refillMs: number;
  private readonly capacityMs: number;
  /** A fraction from the start: the field is written in place then, and a call allocates nothing. */
  private fullAt = Number.NEGATIVE_INFINITY;

  constructor(limit: RateLimit) {
    this.limit = limit;
    this.refillMs = 1_000 / limit.requestsPerSecond;
    this.capacityMs = (limit.burst + ROUNDING) * this.refillMs;
  }

  /** Takes a token; false where there is none. */
  take(now: number): boolean {
    const { fullAt } = this;
    const full = (fullAt > now ? fullAt : now) + this.refillMs;
    if (full - now > this.capacityMs) return false;
    this.fullAt = full;
    return true;
  }

  /** Whole tokens that are there. */
  remaining(now: number): number {
    return Math.floor((this.capacityMs - this.fullInMs(now)) / this.refillMs);
  }

  /** Until there is one. */
  waitMs(now: number): number {
    return Math.max(0, this.fullInMs(now) + this.refillMs - this.capacityMs);
  }

  /** Until all are there. */
  fullInMs(now: number): number {
    return Math.max(0, this.fullAt - now);
  }
}

/** The bucket of an earlier limit goes on where the limit is the same: to write a file again refills nothing. */
export function bucketFor(limit: RateLimit | null, known: TokenBucket | null): TokenBucket | null {
  if (limit === null) return null;
  const same =
    known?.limit.requestsPerSecond === limit.requestsPerSecond && known.limit.burst === limit.burst;
  return same ? known : new TokenBucket(limit);
}

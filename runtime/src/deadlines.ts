/**
 * Aborts attempts whose time is over. The control plane decides on deadlines; this is for a handler that listens to its
 * signal while the link is slow or gone, so only attempts whose `ctx.signal` was asked for are watched.
 *
 * One timer for all, set to the earliest deadline. Leaving is a delete: the timer then fires once in vain at most, which
 * costs less than moving it for each of thousands of attempts that end in time.
 */

/** Something with a deadline. */
export interface Watched {
  /** Milliseconds of the monotonic clock. */
  readonly endsAt: number;
  expire(): void;
}

/** Calls back once after `ms`; returns what takes it back. */
export type SetTimer = (callback: () => void, ms: number) => () => void;

/** setTimeout counts to 2^31 ms; a later deadline is looked at again then. */
const MAX_TIMER_MS = 2_147_483_647;

type Timer =
  | { readonly kind: 'idle' }
  | { readonly kind: 'set'; readonly at: number; readonly clear: () => void };
const IDLE: Timer = { kind: 'idle' };

export class Deadlines {
  private readonly watched = new Set<Watched>();
  private timer: Timer = IDLE;
  private readonly now: () => number;
  private readonly setTimer: SetTimer;

  /** `now`: milliseconds of a monotonic clock. */
  constructor(now: () => number, setTimer: SetTimer) {
    this.now = now;
    this.setTimer = setTimer;
  }

  add(item: Watched): void {
    this.watched.add(item);
    if (this.timer.kind === 'set' && this.timer.at <= item.endsAt) return;
    this.arm(item.endsAt);
  }

  delete(item: Watched): void {
    this.watched.delete(item);
  }

  private arm(at: number): void {
    if (this.timer.kind === 'set') this.timer.clear();
    // Rounded up: a timer that fires early would find nothing over and be set again for a fraction of a millisecond.
    const ms = Math.min(MAX_TIMER_MS, Math.max(1, Math.ceil(at - this.now())));
    this.timer = { kind: 'set', at, clear: this.setTimer(this.fire, ms) };
  }

  private readonly fire = (): void => {
    this.timer = IDLE;
    const now = this.now();
    let next = Number.POSITIVE_INFINITY;
    for (const item of this.watched) {
      if (item.endsAt <= now) {
        this.watched.delete(item);
        item.expire();
      } else if (item.endsAt < next) {
        next = item.endsAt;
      }
    }
    if (next !== Number.POSITIVE_INFINITY) this.arm(next);
  };
}

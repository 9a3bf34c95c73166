/** One timer for many wake-ups: set for the earliest. */
import type { Clock } from '../clock.ts';

export class Alarm {
  private readonly clock: Clock;
  private readonly ring: () => void;
  private pending: { readonly at: number; cancel(): void } | undefined;

  /** `ring` is called once the earliest time has come, and must set the next. */
  constructor(clock: Clock, ring: () => void) {
    this.clock = clock;
    this.ring = ring;
  }

  /** No later than `at` (Infinity: never). */
  set(at: number): void {
    if (at === Number.POSITIVE_INFINITY || (this.pending && this.pending.at <= at)) return;
    this.pending?.cancel();
    const delay = Math.max(0, at - this.clock.now());
    const timer = this.clock.after(delay, () => {
      this.pending = undefined;
      this.ring();
    });
    this.pending = { at, cancel: () => timer.cancel() };
  }

  cancel(): void {
    this.pending?.cancel();
    this.pending = undefined;
  }
}

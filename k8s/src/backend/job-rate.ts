/** Bounds how many Jobs are created a second: a token bucket whose waiters take turns. */
import type { Clock } from '../api/clock.ts';

const SECOND_MS = 1_000;

export class JobRate {
  private readonly perSecond: number;
  private readonly clock: Clock;
  private tokens: number;
  private filledAt: number;
  private readonly waiting: (() => void)[] = [];
  private timer: { cancel(): void } | undefined;

  /** As many at once as may be created in one second. */
  constructor(perSecond: number, clock: Clock) {
    this.perSecond = perSecond;
    this.clock = clock;
    this.tokens = this.capacity;
    this.filledAt = clock.now();
  }

  /** Resolves when the next Job may be created: at once, or in its turn. */
  turn(): Promise<void> {
    return new Promise((resolve) => {
      this.waiting.push(resolve);
      if (this.timer === undefined) this.serve();
    });
  }

  /** Lets everyone go on, now. */
  close(): void {
    this.timer?.cancel();
    this.timer = undefined;
    for (const go of this.waiting.splice(0)) go();
  }

  private get capacity(): number {
    return Math.max(1, this.perSecond);
  }

  private serve(): void {
    this.timer = undefined;
    const now = this.clock.now();
    const filled = this.tokens + ((now - this.filledAt) * this.perSecond) / SECOND_MS;
    this.tokens = Math.min(this.capacity, filled);
    this.filledAt = now;
    while (this.waiting.length > 0 && this.tokens >= 1) {
      this.tokens--;
      this.waiting.shift()?.();
    }
    if (this.waiting.length === 0) return;
    const ms = Math.ceil(((1 - this.tokens) * SECOND_MS) / this.perSecond);
    this.timer = this.clock.after(ms, () => this.serve());
  }
}

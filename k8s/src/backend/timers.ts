/** Timers that end together. */
import type { Clock } from '../api/clock.ts';

export class Timers {
  private readonly clock: Clock;
  private readonly running = new Set<{ cancel(): void }>();
  private closed = false;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  after(ms: number, what: () => void): void {
    if (this.closed) return;
    const timer = this.clock.after(ms, () => {
      this.running.delete(timer);
      what();
    });
    this.running.add(timer);
  }

  close(): void {
    this.closed = true;
    for (const timer of this.running) timer.cancel();
    this.running.clear();
  }
}

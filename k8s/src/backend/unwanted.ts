/**
 * Pod ids whose objects are to be removed when they show up: of a creation that was not answered, of a Job that was
 * removed before its pod was seen. Remembered for longer than an API server is usually away.
 */
import type { Clock } from '../api/clock.ts';

const REMEMBER_MS = 600_000;

interface Entry {
  readonly until: number;
  readonly withJob: boolean;
}

export class Unwanted {
  private readonly clock: Clock;
  /** In the order of their `until`. */
  private readonly entries = new Map<string, Entry>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** `withJob`: its Job as well; otherwise only pods that still come. */
  add(podId: string, withJob: boolean): void {
    const now = this.clock.now();
    for (const [id, { until }] of this.entries) {
      if (until > now) break;
      this.entries.delete(id);
    }
    const before = this.entries.get(podId);
    this.entries.delete(podId);
    this.entries.set(podId, {
      until: now + REMEMBER_MS,
      withJob: withJob || before?.withJob === true,
    });
  }

  has(podId: string): boolean {
    return (this.entries.get(podId)?.until ?? 0) > this.clock.now();
  }

  withJob(podId: string): boolean {
    return this.has(podId) && this.entries.get(podId)?.withJob === true;
  }
}

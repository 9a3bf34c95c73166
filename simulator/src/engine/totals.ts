/** What is counted of one function, and of all calls together. */

/** Waits in buckets of equal ratio, so that millions of them take no room. */
export class WaitHistogram {
  /** A wait of no length, then from 1 ms on, a hundred for each factor of ten, to three hours. */
  private static readonly PER_DECADE = 100;
  private static readonly BUCKETS = 2 + 7 * WaitHistogram.PER_DECADE;
  readonly counts = new Float64Array(WaitHistogram.BUCKETS);
  private total = 0;

  add(waitMs: number): void {
    this.total++;
    const i = waitMs < 1 ? 0 : 1 + Math.floor(Math.log10(waitMs) * WaitHistogram.PER_DECADE);
    const bucket = Math.min(i, WaitHistogram.BUCKETS - 1);
    this.counts[bucket] = (this.counts[bucket] as number) + 1;
  }

  /** Milliseconds, within 1.2 per cent; 0 where that share of calls waited for less than 1 ms. */
  percentile(percent: number): number {
    let left = (percent / 100) * this.total;
    for (let i = 0; i < this.counts.length; i++) {
      left -= this.counts[i] as number;
      if (left <= 0) return i === 0 ? 0 : 10 ** ((i - 0.5) / WaitHistogram.PER_DECADE);
    }
    return 0;
  }
}

export class Totals {
  calls = 0;
  cold = 0;
  waitMs = 0;
  /** Pods that were ready and ran nothing; calls' time on pods. */
  idlePodMs = 0;
  runPodMs = 0;
  launched = 0;
  claimed = 0;
  private readonly waits: WaitHistogram;

  constructor(waits: WaitHistogram) {
    this.waits = waits;
  }

  waited(waitMs: number, cold: boolean): void {
    if (cold) this.cold++;
    this.waitMs += waitMs;
    this.waits.add(waitMs);
  }
}

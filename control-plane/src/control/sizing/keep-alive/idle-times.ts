/** What a hybrid policy remembers of a function's idle times: a histogram of the short ones, and the last few of any length. */

/** One minute, as in the paper: finer bins learn no faster, and a pod is not worth launching for less. */
export const BIN_MS = 60_000;
/** Four hours. */
export const BINS = 240;
/** At so many all counts are halved: what a function did long ago fades. */
const FADE_AT = 2_000;
/** Enough to tell a rhythm from chance, few enough to follow a change of it. */
const RECENT = 24;

/** A pod is kept until `stayMs`, and there again from `fromMs` to `untilMs`; where those are the same, it is not. */
export interface Gainful {
  /** In milliseconds of idle time, over all idle times known; 0: nothing is worth it. */
  readonly gain: number;
  readonly stayMs: number;
  readonly fromMs: number;
  readonly untilMs: number;
}

export class IdleTimes {
  private readonly counts = new Uint16Array(BINS);
  /** In the histogram. */
  inBounds = 0;
  /** Longer than it reaches. */
  outOfBounds = 0;
  private squares = 0;
  private sumMs = 0;
  /** A ring. */
  private readonly last = new Float64Array(RECENT);
  /** Ever. */
  observed = 0;

  get total(): number {
    return this.inBounds + this.outOfBounds;
  }

  observe(idleMs: number): void {
    this.last[this.observed++ % RECENT] = idleMs;
    this.sumMs += idleMs;
    const bin = Math.floor(idleMs / BIN_MS);
    if (bin >= BINS) this.outOfBounds++;
    else {
      const count = this.counts[bin] as number;
      this.counts[bin] = count + 1;
      this.squares += 2 * count + 1;
      this.inBounds++;
    }
    if (this.total >= FADE_AT) this.fade();
  }

  /** Standard deviation over mean of the bins' counts: 0 where all are alike, 15.5 where one has them all. */
  variation(): number {
    if (this.inBounds === 0) return 0;
    return Math.sqrt(Math.max(0, (BINS * this.squares) / this.inBounds ** 2 - 1));
  }

  /** The lower edge of the bin in which the percentile falls, milliseconds. */
  lower(percent: number): number {
    return this.binOf(percent) * BIN_MS;
  }

  /** The upper edge of the bin in which the percentile falls, milliseconds. */
  upper(percent: number): number {
    return (this.binOf(percent) + 1) * BIN_MS;
  }

  /** Of all of them, milliseconds. */
  mean(): number {
    return this.total === 0 ? 0 : this.sumMs / this.total;
  }

  /**
   * When a pod is worth its idle time, by the histogram, up to `latestMs`: for each call that it is there for, it may idle for
   * `hitMs`. What a minute gains does not depend on the minutes before it, so the best stay and the best window after it
   * (not before `earliestMs`) are sums of consecutive minutes.
   */
  bestPlan(earliestMs: number, latestMs: number, hitMs: number): Gainful {
    let left = this.total;
    let sum = 0;
    // The best stay so far; the best window that ends here, on top of a stay before it; the best of all.
    let stay = { gain: 0, untilMs: 0 };
    let window = { gain: Number.NEGATIVE_INFINITY, stayMs: 0, fromMs: 0 };
    let best = { gain: 0, stayMs: 0, fromMs: 0, untilMs: 0 };
    for (let bin = 0; bin < BINS && bin * BIN_MS < latestMs; bin++) {
      const count = this.counts[bin] as number;
      const [fromMs, untilMs] = [bin * BIN_MS, (bin + 1) * BIN_MS];
      left -= count;
      const gain = count * hitMs - (count / 2 + left) * BIN_MS;
      if (fromMs >= earliestMs) {
        const base =
          window.gain > stay.gain ? window : { gain: stay.gain, stayMs: stay.untilMs, fromMs };
        window = { ...base, gain: base.gain + gain };
        if (window.gain > best.gain) best = { ...window, untilMs };
      }
      sum += gain;
      if (sum > stay.gain) stay = { gain: sum, untilMs };
      if (sum > best.gain) best = { gain: sum, stayMs: untilMs, fromMs: untilMs, untilMs };
    }
    return best;
  }

  /** The last ones, shortest first. */
  recent(): Float64Array {
    return this.last.slice(0, Math.min(this.observed, RECENT)).sort();
  }

  /** The first bin up to which there is at least that share of what is in bounds. */
  private binOf(percent: number): number {
    const wanted = Math.max(1, Math.ceil((percent / 100) * this.inBounds));
    let sum = 0;
    for (let bin = 0; bin < BINS; bin++) {
      sum += this.counts[bin] as number;
      if (sum >= wanted) return bin;
    }
    return BINS - 1;
  }

  private fade(): void {
    const before = this.total;
    this.inBounds = 0;
    this.squares = 0;
    for (let bin = 0; bin < BINS; bin++) {
      const count = (this.counts[bin] as number) >> 1;
      this.counts[bin] = count;
      this.inBounds += count;
      this.squares += count * count;
    }
    this.outOfBounds >>= 1;
    this.sumMs *= this.total / before;
  }
}

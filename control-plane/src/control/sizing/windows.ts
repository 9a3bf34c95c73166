/**
 * What sizing remembers of one function: its load over a sliding window, and the most pods that were wanted lately. Both
 * take time as a parameter, and no more memory for more load.
 */

/** Of the window: how finely it slides. */
const BUCKETS = 60;
/** The panic window is a tenth of the stable one, as in Knative. */
const PANIC_BUCKETS = BUCKETS / 10;

/**
 * Load by time, in buckets of a sixtieth of the window.
 *
 * Invariants:
 *  W1. A bucket holds the integral of what was told for its time, so it matters not in how many pieces it was told.
 *  W2. What was never told is not counted as no load: averages are over the time that is known.
 */
export class LoadWindow {
  private readonly bucketMs: number;
  private readonly sums = new Float64Array(BUCKETS);
  /** Number of the newest bucket, counted from the clock's start. */
  private newest: number;
  private readonly from: number;
  private to: number;

  constructor(windowMs: number, now: number) {
    this.bucketMs = windowMs / BUCKETS;
    this.newest = Math.floor(now / this.bucketMs);
    this.from = now;
    this.to = now;
  }

  /** The load from the last time until `now` was `load` on average. */
  record(now: number, load: number): void {
    let at = Math.max(this.to, now - BUCKETS * this.bucketMs);
    this.slide(now);
    if (load > 0) {
      while (at < now) {
        const bucket = Math.floor(at / this.bucketMs);
        // A bucket's end that rounding puts at its start would hold this up for ever.
        const end = Math.max(Math.min(now, (bucket + 1) * this.bucketMs), at + 1e-6);
        const i = bucket % BUCKETS;
        this.sums[i] = (this.sums[i] as number) + load * (end - at);
        at = end;
      }
    }
    this.to = Math.max(this.to, now);
  }

  stable(now: number): number {
    return this.average(now, BUCKETS);
  }

  panic(now: number): number {
    return this.average(now, PANIC_BUCKETS);
  }

  private average(now: number, buckets: number): number {
    this.slide(now);
    let sum = 0;
    for (let i = 0; i < buckets; i++) {
      const bucket = this.newest - i;
      if (bucket < 0) break;
      sum += this.sums[bucket % BUCKETS] as number;
    }
    const since = Math.max(this.from, (this.newest - buckets + 1) * this.bucketMs);
    return now > since ? sum / (now - since) : 0; // W2
  }

  private slide(now: number): void {
    const bucket = Math.floor(now / this.bucketMs);
    const first = Math.max(this.newest + 1, bucket - BUCKETS + 1);
    for (let b = first; b <= bucket; b++) this.sums[b % BUCKETS] = 0;
    if (bucket > this.newest) this.newest = bucket;
  }
}

/** The largest of the numbers told within the last while. Keeps only those that no later one covers. */
export class HighWater {
  /** Oldest first; values fall. */
  private readonly marks: { readonly at: number; readonly value: number }[] = [];

  /** `at` never goes back. Nobody asks for what is more than `keepMs` old. */
  record(at: number, value: number, keepMs: number): void {
    const { marks } = this;
    while (marks.length > 0 && (marks[0] as { at: number }).at < at - keepMs) marks.shift();
    while (marks.length > 0 && (marks.at(-1) as { value: number }).value <= value) marks.pop();
    marks.push({ at, value });
  }

  /** The largest told in the last `spanMs`, the newest one in any case. */
  highest(now: number, spanMs: number): number {
    return this.marks[this.firstWithin(now, spanMs)]?.value ?? 0;
  }

  /** When the largest is forgotten; Infinity where nothing smaller was told since. */
  fallsAt(now: number, spanMs: number): number {
    const i = this.firstWithin(now, spanMs);
    if (i >= this.marks.length - 1) return Number.POSITIVE_INFINITY;
    return (this.marks[i] as { at: number }).at + spanMs;
  }

  private firstWithin(now: number, spanMs: number): number {
    const { marks } = this;
    let i = 0;
    while (i < marks.length - 1 && (marks[i] as { at: number }).at < now - spanMs) i++;
    return i;
  }
}

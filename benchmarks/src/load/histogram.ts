/**
 * Counts of latencies in buckets whose width grows with the value, as HdrHistogram's do: constant memory and time for
 * any number of values, every percentile within RELATIVE_ERROR of the true one.
 *
 * A value is held in units of 100 ns. Below 2^SUB_BITS units a bucket is one unit wide; above it each power of two has
 * 2^SUB_BITS / 2 buckets.
 */

/** Percentiles are read to the upper edge of their bucket: at most this much above the true value. */
export const RELATIVE_ERROR = 1 / 128;

const UNITS_PER_MS = 10_000;
const SUB_BITS = 8;
const SUB_COUNT = 1 << SUB_BITS;
const HALF = SUB_COUNT / 2;
/** About 107 s; whatever is longer is counted there, and `maxMs` still tells it exactly. */
const MAX_UNITS = 2 ** 30 - 1;
const BUCKETS = bucketOf(MAX_UNITS) + 1;

function bucketOf(units: number): number {
  if (units < SUB_COUNT) return units;
  // Position of the highest bit above the linear part tells the power of two, the bits below it the bucket in it.
  const shift = 32 - SUB_BITS - Math.clz32(units);
  return SUB_COUNT + (shift - 1) * HALF + (units >>> shift) - HALF;
}

function upperEdge(bucket: number): number {
  if (bucket < SUB_COUNT) return bucket;
  const shift = Math.floor((bucket - SUB_COUNT) / HALF) + 1;
  const within = ((bucket - SUB_COUNT) % HALF) + HALF;
  return (within + 1) * 2 ** shift - 1;
}

/** Milliseconds; NaN where nothing was recorded. */
export interface Summary {
  readonly count: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

export class Histogram {
  private readonly counts = new Float64Array(BUCKETS);
  private total = 0;
  private sumMs = 0;
  private largestMs = 0;

  record(ms: number): void {
    const units = Math.min(MAX_UNITS, Math.max(0, Math.round(ms * UNITS_PER_MS)));
    const bucket = bucketOf(units);
    this.counts[bucket] = (this.counts[bucket] as number) + 1;
    this.total++;
    this.sumMs += ms;
    if (ms > this.largestMs) this.largestMs = ms;
  }

  get count(): number {
    return this.total;
  }

  /** The smallest bucket edge that at least `fraction` (0 to 1) of the values lie at or below, in milliseconds. */
  percentile(fraction: number): number {
    if (this.total === 0) return Number.NaN;
    const rank = Math.max(1, Math.ceil(fraction * this.total));
    let seen = 0;
    for (let i = 0; i < BUCKETS; i++) {
      seen += this.counts[i] as number;
      if (seen >= rank) return Math.min(this.largestMs, upperEdge(i) / UNITS_PER_MS);
    }
    return this.largestMs;
  }

  summary(): Summary {
    return {
      count: this.total,
      meanMs: this.total === 0 ? Number.NaN : this.sumMs / this.total,
      p50Ms: this.percentile(0.5),
      p90Ms: this.percentile(0.9),
      p99Ms: this.percentile(0.99),
      p999Ms: this.percentile(0.999),
      maxMs: this.total === 0 ? Number.NaN : this.largestMs,
    };
  }
}

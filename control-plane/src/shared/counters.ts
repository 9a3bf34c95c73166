/**
 * Counters, gauges and histograms of the warm path, in memory that both threads share.
 *
 * The scheduler alone writes (plain stores: one writer, no read-modify-write race); the control thread reads when
 * Prometheus scrapes, so a value may be one event behind its neighbour, never torn. Doubles hold integers to 2^53.
 *
 * One block a function, plus one (slot 0, `OTHER_SLOT`) shared by the functions past the bound on labels, and a header
 * with the two threads' beats.
 */
import type { ErrorCode } from '@simmer/protocol/errors';
import { ERRORS } from '@simmer/protocol/errors';

/** Upper bounds in seconds; one more bucket is +Inf. From the relay's own idle latency up to a minute. */
export const BUCKETS_SECONDS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
  60,
] as const;
const BUCKETS_MS: readonly number[] = BUCKETS_SECONDS.map((s) => s * 1000);
const BUCKET_COUNT = BUCKETS_MS.length + 1;

export const GAUGES = [
  /** Invocations in the queue, and the bytes of all bodies held for the function. */
  'queued',
  'heldBytes',
  /** Attempts on a pod. */
  'running',
  'podsLaunching',
  'podsIdle',
  'podsBusy',
  'podsDraining',
] as const;
export type Gauge = (typeof GAUGES)[number];

export const COUNTERS = ['accepted', 'succeeded', 'podsLost'] as const;
export type Counter = (typeof COUNTERS)[number];

/** How an attempt got its slot. */
export const PLACEMENTS = ['warm', 'waited', 'grown', 'generic', 'job'] as const;
export type PlacementKind = (typeof PLACEMENTS)[number];

/** What was decided for an invocation that found no free slot. */
export const MISSES = ['wait', 'grow', 'job', 'exhausted'] as const;
export type MissKind = (typeof MISSES)[number];

/**
 * `latency`: from the request's arrival to its answer. `wait`: from admission to dispatch. The rest are a cold start's
 * phases: `launch` order to process, `connect` process to accepted hello, `load` hello to ready, `ready` order to
 * ready, `firstResult` order to the first result.
 */
export const HISTOGRAMS = [
  'latency',
  'wait',
  'launch',
  'connect',
  'load',
  'ready',
  'firstResult',
] as const;
export type HistogramName = (typeof HISTOGRAMS)[number];

export const ERROR_CODES = Object.keys(ERRORS) as ErrorCode[];

const AT_COUNTERS = GAUGES.length;
const AT_PLACEMENTS = AT_COUNTERS + COUNTERS.length;
const AT_MISSES = AT_PLACEMENTS + PLACEMENTS.length;
const AT_ERRORS = AT_MISSES + MISSES.length;
const AT_HISTOGRAMS = AT_ERRORS + ERROR_CODES.length;
const HISTOGRAM_LENGTH = BUCKET_COUNT + 2; // buckets, count, sum in milliseconds
const BLOCK_LENGTH = AT_HISTOGRAMS + HISTOGRAMS.length * HISTOGRAM_LENGTH;

/** Header: epoch milliseconds of each thread's last beat, then process-wide values. */
const HEADER_LENGTH = 16;
const BEAT = { scheduler: 0, control: 1 } as const;
const AT_TOTAL_HELD_BYTES = 2;
const AT_DROPPED_LOG_LINES = 3;

export const OTHER_SLOT = 0;

const index = <T extends string>(names: readonly T[], base: number) =>
  Object.fromEntries(names.map((n, i) => [n, base + i])) as Record<T, number>;
const GAUGE_AT = index(GAUGES, 0);
const COUNTER_AT = index(COUNTERS, AT_COUNTERS);
const PLACEMENT_AT = index(PLACEMENTS, AT_PLACEMENTS);
const MISS_AT = index(MISSES, AT_MISSES);
const ERROR_AT = index(ERROR_CODES, AT_ERRORS);

/** Memory for `functions` functions and the shared block of those past it. */
export function allocateCounters(functions: number): SharedArrayBuffer {
  return new SharedArrayBuffer((HEADER_LENGTH + (functions + 1) * BLOCK_LENGTH) * 8);
}

export interface HistogramSnapshot {
  /** Cumulative, one an upper bound of BUCKETS_SECONDS, then all (+Inf). */
  readonly cumulative: readonly number[];
  readonly count: number;
  readonly sumSeconds: number;
}

/** One function's block. Both threads make their own view of it. */
export class FunctionCounters {
  private readonly at: Float64Array;

  constructor(memory: SharedArrayBuffer, slot: number) {
    this.at = new Float64Array(memory, (HEADER_LENGTH + slot * BLOCK_LENGTH) * 8, BLOCK_LENGTH);
  }

  /** Adds to a gauge: several functions may share the block of OTHER_SLOT. */
  addGauge(name: Gauge, by: number): void {
    const i = GAUGE_AT[name];
    this.at[i] = (this.at[i] as number) + by;
  }
  count(name: Counter): void {
    const i = COUNTER_AT[name];
    this.at[i] = (this.at[i] as number) + 1;
  }
  countPlacement(kind: PlacementKind): void {
    const i = PLACEMENT_AT[kind];
    this.at[i] = (this.at[i] as number) + 1;
  }
  countMiss(kind: MissKind): void {
    const i = MISS_AT[kind];
    this.at[i] = (this.at[i] as number) + 1;
  }
  countError(code: ErrorCode): void {
    const i = ERROR_AT[code];
    this.at[i] = (this.at[i] as number) + 1;
  }
  /** `histogram` is the index of a name in HISTOGRAMS. */
  observe(histogram: number, ms: number): void {
    const base = AT_HISTOGRAMS + histogram * HISTOGRAM_LENGTH;
    let bucket = 0;
    while (bucket < BUCKETS_MS.length && ms > (BUCKETS_MS[bucket] as number)) bucket++;
    this.at[base + bucket] = (this.at[base + bucket] as number) + 1;
    this.at[base + BUCKET_COUNT] = (this.at[base + BUCKET_COUNT] as number) + 1;
    this.at[base + BUCKET_COUNT + 1] = (this.at[base + BUCKET_COUNT + 1] as number) + ms;
  }

  gauge(name: Gauge): number {
    return this.at[GAUGE_AT[name]] as number;
  }
  counter(name: Counter): number {
    return this.at[COUNTER_AT[name]] as number;
  }
  placement(kind: PlacementKind): number {
    return this.at[PLACEMENT_AT[kind]] as number;
  }
  miss(kind: MissKind): number {
    return this.at[MISS_AT[kind]] as number;
  }
  errors(code: ErrorCode): number {
    return this.at[ERROR_AT[code]] as number;
  }
  histogram(name: HistogramName): HistogramSnapshot {
    const base = AT_HISTOGRAMS + HISTOGRAMS.indexOf(name) * HISTOGRAM_LENGTH;
    const cumulative: number[] = [];
    let total = 0;
    for (let i = 0; i < BUCKET_COUNT; i++) {
      total += this.at[base + i] as number;
      cumulative.push(total);
    }
    return {
      cumulative,
      count: this.at[base + BUCKET_COUNT] as number,
      sumSeconds: (this.at[base + BUCKET_COUNT + 1] as number) / 1000,
    };
  }
  /** Before a block is given to another function. */
  reset(): void {
    this.at.fill(0);
  }
}

export const HISTOGRAM = index(HISTOGRAMS, 0);

export type ThreadName = keyof typeof BEAT;

/** The header: beats of both threads and process-wide values. */
export class ProcessCounters {
  private readonly at: Float64Array;
  constructor(memory: SharedArrayBuffer) {
    this.at = new Float64Array(memory, 0, HEADER_LENGTH);
  }
  beat(thread: ThreadName, epochMs: number): void {
    this.at[BEAT[thread]] = epochMs;
  }
  /** Milliseconds since the thread's last beat; Infinity before its first. */
  sinceBeat(thread: ThreadName, epochMs: number): number {
    const last = this.at[BEAT[thread]] as number;
    return last === 0 ? Number.POSITIVE_INFINITY : epochMs - last;
  }
  get totalHeldBytes(): number {
    return this.at[AT_TOTAL_HELD_BYTES] as number;
  }
  set totalHeldBytes(bytes: number) {
    this.at[AT_TOTAL_HELD_BYTES] = bytes;
  }
  /** Log lines that the scheduler left out because too many came at once. */
  get droppedLogLines(): number {
    return this.at[AT_DROPPED_LOG_LINES] as number;
  }
  set droppedLogLines(lines: number) {
    this.at[AT_DROPPED_LOG_LINES] = lines;
  }
}

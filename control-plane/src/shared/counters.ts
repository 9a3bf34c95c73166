/**
 * Counters, gauges and histograms of the warm path, in memory that both threads share.
 *
 * The scheduler alone writes, save what is told of callbacks, which the control thread alone does (plain stores: one writer
 * for each value, no read-modify-write race); the control thread reads when Prometheus scrapes, so a value may be one event
 * behind its neighbour, never torn. Doubles hold integers to 2^53.
 *
 * One block a function, plus one (slot 0, `OTHER_SLOT`) shared by the functions past the bound on labels, and a header
 * with the two threads' beats.
 */
import type { ErrorCode } from '@simmer/protocol/errors';
import { ERRORS } from '@simmer/protocol/errors';

/** Upper bounds in seconds; one more bucket is +Inf. From the relay's own idle latency up to a minute. */
export const BUCKETS_SECONDS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
  30, 60,
] as const;
const BUCKETS_MS: readonly number[] = BUCKETS_SECONDS.map((s) => s * 1000);
const BUCKET_COUNT = BUCKETS_MS.length + 1;

export const GAUGES = [
  /** Bytes of all bodies held for the function. */
  'heldBytes',
  /** Attempts on a pod. */
  'running',
  'podsIdle',
  'podsBusy',
] as const;
/** Those that a call which finds a free slot never touches. */
export const RARE_GAUGES = [
  /** Invocations in the queue. */
  'queued',
  'podsLaunching',
  'podsDraining',
  /** Invocations that wait for their next attempt. */
  'waiting',
  /** Attempts, of those on a pod, that were cancelled and hold on: their invocation has ended. */
  'lingering',
] as const;
export type Gauge = (typeof GAUGES)[number] | (typeof RARE_GAUGES)[number];

/** accepted = queued + running - lingering + waiting + those of ENDS, always. */
export const COUNTERS = ['accepted', 'succeeded'] as const;
export const RARE_COUNTERS = [
  'podsLost',
  'retries',
  // Those that were accepted and ended otherwise than well.
  'failed',
  'timedOut',
  'cancelled',
  'deadLetteredEnds',
  /** Calls whose idempotency key was known: they joined its execution, or got its answer. */
  'idempotentAttaches',
  'idempotentReplays',
  // Of callbacks.
  'delivered',
  'deliveriesFailed',
  'callbacksDead',
  /** Dead letters: that came, made room for others, were replayed. */
  'deadLettered',
  'deadLettersDropped',
  'replays',
] as const;
/** How what was accepted ended: an execution's status, and its counter. */
export const ENDS = {
  succeeded: 'succeeded',
  failed: 'failed',
  timed_out: 'timedOut',
  cancelled: 'cancelled',
  dead_lettered: 'deadLetteredEnds',
} as const satisfies Record<string, Counter>;
export type EndStatus = keyof typeof ENDS;
export type Counter = (typeof COUNTERS)[number] | (typeof RARE_COUNTERS)[number];

/** How an attempt got its slot. */
export const PLACEMENTS = ['warm', 'waited', 'grown', 'generic', 'job'] as const;
export type PlacementKind = (typeof PLACEMENTS)[number];

/** What was decided for an invocation that found no free slot. */
export const MISSES = ['wait', 'generic', 'grow', 'job', 'exhausted'] as const;
export type MissKind = (typeof MISSES)[number];

/**
 * `latency`: from the request's arrival to its answer. `wait`: from arrival to dispatch, 0 for those that found a free
 * slot. The rest are a cold start's phases: `launch` order to process, `connect` process to accepted hello, `load` hello
 * to ready, `ready` order to ready, `firstResult` order to the first result. `callback`: from an execution's end until its
 * receiver took it.
 */
export const HISTOGRAMS = [
  'latency',
  'wait',
  'launch',
  'connect',
  'load',
  'ready',
  'firstResult',
  'callback',
] as const;
export type HistogramName = (typeof HISTOGRAMS)[number];

export const ERROR_CODES = Object.keys(ERRORS) as ErrorCode[];

/**
 * A block begins on a pair of cache lines (8 doubles each), and what a plain call touches is that pair: gauges to the placement on a
 * warm slot, and the latency's count, sum and buckets of up to 5 ms. Processors fetch the two of a pair together, so that for each
 * of a thousand functions called in turn it is one miss.
 */
const CACHE_LINE = 8;
const aligned = (length: number, to = CACHE_LINE): number => Math.ceil(length / to) * to;

const AT_COUNTERS = GAUGES.length;
/** The sum of the milliseconds for which attempts held their slots. */
const AT_SLOT_MS = AT_COUNTERS + COUNTERS.length;
const AT_WARM = AT_SLOT_MS + 1;
const AT_HISTOGRAMS = aligned(AT_WARM + 1);
const AT_COUNT = 0;
const AT_SUM_MS = 1;
const AT_BUCKETS = 2;
const HISTOGRAM_LENGTH = aligned(AT_BUCKETS + BUCKET_COUNT);
const AT_OTHER_PLACEMENTS = AT_HISTOGRAMS + HISTOGRAMS.length * HISTOGRAM_LENGTH;
const AT_MISSES = AT_OTHER_PLACEMENTS + PLACEMENTS.length - 1;
const AT_ERRORS = AT_MISSES + MISSES.length;
const AT_RARE_GAUGES = AT_ERRORS + ERROR_CODES.length;
const AT_RARE_COUNTERS = AT_RARE_GAUGES + RARE_GAUGES.length;
const BLOCK_LENGTH = aligned(AT_RARE_COUNTERS + RARE_COUNTERS.length, 2 * CACHE_LINE);

/** Header: epoch milliseconds of each thread's last beat, then process-wide values. */
const HEADER_LENGTH = 64;
const BEAT = { scheduler: 0, control: 1 } as const;
const AT_TOTAL_HELD_BYTES = 2;
const AT_DROPPED_LOG_LINES = 3;
const AT_IDEMPOTENCY_KEYS = 4;
const AT_IDEMPOTENCY_BYTES = 5;
const AT_IDEMPOTENCY_EVICTED_KEYS = 6;
const AT_DEAD_LETTERS = 7;
const AT_DEAD_LETTER_BYTES = 8;
const AT_IDEMPOTENCY_EVICTED_ANSWERS = 9;
/** Of clients' WebSockets: open ones, messages, and requests by how they ended. */
export const STREAM = [
  'sockets',
  'received',
  'sent',
  'answered',
  'failed',
  'cancelled',
  'refused',
  'refusedUpgrades',
  'heldBytes',
] as const;
export type StreamCounter = (typeof STREAM)[number];
const AT_STREAM = 32;
const AT_REFUSALS = 56;

export const OTHER_SLOT = 0;

const index = <T extends string>(names: readonly T[], base: number) =>
  Object.fromEntries(names.map((n, i) => [n, base + i])) as Record<T, number>;
const GAUGE_AT = { ...index(GAUGES, 0), ...index(RARE_GAUGES, AT_RARE_GAUGES) };
const COUNTER_AT = {
  ...index(COUNTERS, AT_COUNTERS),
  ...index(RARE_COUNTERS, AT_RARE_COUNTERS),
};
const [WARM, ...OTHER_PLACEMENTS] = PLACEMENTS;
const PLACEMENT_AT = { [WARM]: AT_WARM, ...index(OTHER_PLACEMENTS, AT_OTHER_PLACEMENTS) };
const MISS_AT = index(MISSES, AT_MISSES);
const ERROR_AT = index(ERROR_CODES, AT_ERRORS);
const STREAM_AT = index(STREAM, AT_STREAM);
/** Requests that were refused for who makes them, or how often. */
export const REFUSALS = ['unauthenticated', 'forbidden', 'rate_limited'] as const;
export type Refusal = (typeof REFUSALS)[number];
const REFUSAL_AT = index(REFUSALS, AT_REFUSALS);

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

/** One view of the memory for all blocks of a thread: a typed array each would be two more cache lines for each function. */
const views = new WeakMap<SharedArrayBuffer, Float64Array>();
function viewOf(memory: SharedArrayBuffer): Float64Array {
  let view = views.get(memory);
  if (view === undefined) {
    view = new Float64Array(memory);
    views.set(memory, view);
  }
  return view;
}

/** One function's block. Both threads make their own view of it. */
export class FunctionCounters {
  private readonly at: Float64Array;
  private readonly base: number;

  constructor(memory: SharedArrayBuffer, slot: number) {
    this.at = viewOf(memory);
    this.base = HEADER_LENGTH + slot * BLOCK_LENGTH;
  }

  private add(index: number, by: number): void {
    const i = this.base + index;
    this.at[i] = (this.at[i] as number) + by;
  }

  private read(index: number): number {
    return this.at[this.base + index] as number;
  }

  /** Adds to a gauge: several functions may share the block of OTHER_SLOT. */
  addGauge(name: Gauge, by: number): void {
    this.add(GAUGE_AT[name], by);
  }
  count(name: Counter): void {
    this.add(COUNTER_AT[name], 1);
  }
  countPlacement(kind: PlacementKind): void {
    this.add(PLACEMENT_AT[kind], 1);
  }
  /** An attempt let its slot go, `ms` after it took it. */
  addSlotMs(ms: number): void {
    this.add(AT_SLOT_MS, ms);
  }
  countMiss(kind: MissKind): void {
    this.add(MISS_AT[kind], 1);
  }
  countError(code: ErrorCode): void {
    this.add(ERROR_AT[code], 1);
  }
  /** `histogram` is the index of a name in HISTOGRAMS. */
  observe(histogram: number, ms: number): void {
    const base = AT_HISTOGRAMS + histogram * HISTOGRAM_LENGTH;
    let bucket = 0;
    while (bucket < BUCKETS_MS.length && ms > (BUCKETS_MS[bucket] as number)) bucket++;
    this.add(base + AT_BUCKETS + bucket, 1);
    this.add(base + AT_COUNT, 1);
    this.add(base + AT_SUM_MS, ms);
  }

  gauge(name: Gauge): number {
    return this.read(GAUGE_AT[name]);
  }
  counter(name: Counter): number {
    return this.read(COUNTER_AT[name]);
  }
  /** Of what was accepted, all that has ended. */
  get ended(): number {
    return Object.values(ENDS).reduce((sum, name) => sum + this.counter(name), 0);
  }
  placement(kind: PlacementKind): number {
    return this.read(PLACEMENT_AT[kind]);
  }
  get slotMs(): number {
    return this.read(AT_SLOT_MS);
  }
  /** Attempts that took a slot. */
  get placed(): number {
    let sum = 0;
    for (const kind of PLACEMENTS) sum += this.placement(kind);
    return sum;
  }
  miss(kind: MissKind): number {
    return this.read(MISS_AT[kind]);
  }
  errors(code: ErrorCode): number {
    return this.read(ERROR_AT[code]);
  }
  histogram(name: HistogramName): HistogramSnapshot {
    const base = AT_HISTOGRAMS + HISTOGRAMS.indexOf(name) * HISTOGRAM_LENGTH;
    const cumulative: number[] = [];
    // Who found a free slot did not wait, and was not observed: a cache line less on the warm path.
    const notObserved = name === 'wait' ? this.placement('warm') : 0;
    let total = notObserved;
    for (let i = 0; i < BUCKET_COUNT; i++) {
      total += this.read(base + AT_BUCKETS + i);
      cumulative.push(total);
    }
    return {
      cumulative,
      count: notObserved + this.read(base + AT_COUNT),
      sumSeconds: this.read(base + AT_SUM_MS) / 1000,
    };
  }
  /** Its count and sum alone, which cost nothing to read. */
  total(name: Exclude<HistogramName, 'wait'>): { readonly count: number; readonly sumMs: number } {
    const base = AT_HISTOGRAMS + HISTOGRAMS.indexOf(name) * HISTOGRAM_LENGTH;
    return { count: this.read(base + AT_COUNT), sumMs: this.read(base + AT_SUM_MS) };
  }
  /** A block of its own, with what stands in this one. */
  moved(): FunctionCounters {
    return this.copiedTo(allocateCounters(0), 0);
  }
  /** What stands in this one at this moment, in another memory of the same size. */
  copiedTo(memory: SharedArrayBuffer, slot: number): FunctionCounters {
    const copy = new FunctionCounters(memory, slot);
    copy.at.set(this.at.subarray(this.base, this.base + BLOCK_LENGTH), copy.base);
    return copy;
  }
  /** Before a block is given to another function. */
  reset(): void {
    this.at.fill(0, this.base, this.base + BLOCK_LENGTH);
  }
}

/** All blocks of the memory by slot. Made together they lie together: each would else be a cache line of its own. */
export function allBlocks(memory: SharedArrayBuffer): FunctionCounters[] {
  const count = (memory.byteLength / 8 - HEADER_LENGTH) / BLOCK_LENGTH;
  return Array.from({ length: count }, (_, slot) => new FunctionCounters(memory, slot));
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
  addStream(name: StreamCounter, by: number): void {
    const i = STREAM_AT[name];
    this.at[i] = (this.at[i] as number) + by;
  }
  countRefusal(name: Refusal): void {
    const i = REFUSAL_AT[name];
    this.at[i] = (this.at[i] as number) + 1;
  }
  refusals(name: Refusal): number {
    return this.at[REFUSAL_AT[name]] as number;
  }
  stream(name: StreamCounter): number {
    return this.at[STREAM_AT[name]] as number;
  }
  /** Log lines that the scheduler left out because too many came at once. */
  get droppedLogLines(): number {
    return this.at[AT_DROPPED_LOG_LINES] as number;
  }
  set droppedLogLines(lines: number) {
    this.at[AT_DROPPED_LOG_LINES] = lines;
  }
  /** Idempotency keys that are kept, their bytes; how many of them, and how many answers alone, made room for others. */
  get idempotencyKeys(): number {
    return this.at[AT_IDEMPOTENCY_KEYS] as number;
  }
  set idempotencyKeys(keys: number) {
    this.at[AT_IDEMPOTENCY_KEYS] = keys;
  }
  get idempotencyBytes(): number {
    return this.at[AT_IDEMPOTENCY_BYTES] as number;
  }
  set idempotencyBytes(bytes: number) {
    this.at[AT_IDEMPOTENCY_BYTES] = bytes;
  }
  get idempotencyEvictedKeys(): number {
    return this.at[AT_IDEMPOTENCY_EVICTED_KEYS] as number;
  }
  set idempotencyEvictedKeys(keys: number) {
    this.at[AT_IDEMPOTENCY_EVICTED_KEYS] = keys;
  }
  get idempotencyEvictedAnswers(): number {
    return this.at[AT_IDEMPOTENCY_EVICTED_ANSWERS] as number;
  }
  set idempotencyEvictedAnswers(answers: number) {
    this.at[AT_IDEMPOTENCY_EVICTED_ANSWERS] = answers;
  }
  /** Dead letters that are kept, and the memory that they take. */
  get deadLetters(): number {
    return this.at[AT_DEAD_LETTERS] as number;
  }
  set deadLetters(count: number) {
    this.at[AT_DEAD_LETTERS] = count;
  }
  get deadLetterBytes(): number {
    return this.at[AT_DEAD_LETTER_BYTES] as number;
  }
  set deadLetterBytes(bytes: number) {
    this.at[AT_DEAD_LETTER_BYTES] = bytes;
  }
}

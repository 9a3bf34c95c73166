/**
 * The metrics page: Node's own metrics, and what the scheduler counts in shared memory, read when Prometheus asks.
 *
 * All series are by function; functions past `metrics-functions` share `function="other"`, so that the number of series
 * has a bound. Series of a code, a kind or a histogram appear with their first count. Names and units follow
 * https://prometheus.io/docs/practices/naming/.
 *
 * Written by hand, with pauses: through prom-client a page of 2,000 busy functions held this thread for 1.7 s, in which
 * it launched nothing. It still collects Node's metrics.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { collectDefaultMetrics, Registry } from 'prom-client';
import {
  BUCKETS_SECONDS,
  ENDS,
  ERROR_CODES,
  FunctionCounters,
  type HistogramName,
  MISSES,
  OTHER_SLOT,
  PLACEMENTS,
  ProcessCounters,
  REFUSALS,
} from '../shared/counters.ts';

import { type PoolFigures, poolFamilies } from './pool-metrics.ts';

export const OTHER_LABEL = 'other';
/** Longest time at a stretch: what else waits for this thread (a launch, an exit) waits no longer. */
const SLICE_MS = 5;

/** A function with its block of counters, as pools keep it. */
export interface Counted {
  readonly key: string;
  readonly slot: number;
}

export interface MetricsOptions {
  readonly memory: SharedArrayBuffer;
  readonly version: string;
  /** The functions there are. */
  readonly functions: () => Iterable<Counted>;
  /** Pools with labels of their own, and what they cost. */
  readonly pools?: () => readonly PoolFigures[];
  /** Epoch milliseconds. */
  readonly now: () => number;
  /** Where there is one. */
  readonly cluster?: () => ClusterVitals | undefined;
  /** Callbacks that are pending, and the bytes of their bodies. */
  readonly callbacks?: () => { readonly pending: number; readonly pendingBytes: number };
}

/** How the link to the Kubernetes API is. */
export interface ClusterVitals {
  /** Since the objects that are watched were last known to be current: the stalest. */
  readonly staleMs: number;
  /** Requests that change something, since the start. */
  readonly writes: number;
  readonly leads: boolean;
}

/** A metric of every function: `lines` are one function's, `labels` its own label without braces. */
interface Family {
  readonly name: string;
  readonly type: 'gauge' | 'counter' | 'histogram';
  readonly help: string;
  lines(labels: string, counters: FunctionCounters): string;
}

const gauge = (
  name: string,
  help: string,
  read: (counters: FunctionCounters) => number,
): Family => ({
  name,
  type: 'gauge',
  help,
  lines: (labels, counters) => `${name}{${labels}} ${read(counters)}\n`,
});

/** Zeros are left out. `read` gives the values and the labels that tell them apart. */
const counter = (
  name: string,
  help: string,
  read: (counters: FunctionCounters) => readonly (readonly [labels: string, value: number])[],
): Family => ({
  name,
  type: 'counter',
  help,
  lines(labels, counters) {
    let text = '';
    for (const [more, value] of read(counters)) {
      if (value > 0) text += `${name}{${labels}${more}} ${value}\n`;
    }
    return text;
  },
});

const BOUNDS = [...BUCKETS_SECONDS.map(String), '+Inf'];

const histogram = (
  name: string,
  help: string,
  parts: readonly (readonly [labels: string, histogram: HistogramName])[],
): Family => ({
  name,
  type: 'histogram',
  help,
  lines(labels, counters) {
    let text = '';
    for (const [more, part] of parts) {
      const { cumulative, sumSeconds } = counters.histogram(part);
      // The bucket of all, not the count beside it: the writer may be between the two.
      const count = cumulative.at(-1) as number;
      if (count === 0) continue;
      const own = labels + more;
      for (let i = 0; i < BOUNDS.length; i++) {
        text += `${name}_bucket{${own},le="${BOUNDS[i]}"} ${cumulative[i]}\n`;
      }
      text += `${name}_sum{${own}} ${sumSeconds}\n${name}_count{${own}} ${count}\n`;
    }
    return text;
  },
});

const POD_STATES = [
  ['launching', 'podsLaunching'],
  ['idle', 'podsIdle'],
  ['busy', 'podsBusy'],
  ['draining', 'podsDraining'],
] as const;
const CODES = ERROR_CODES.map((code) => [code, `,code="${code}"`] as const);
const END_STATUSES = Object.entries(ENDS).map(
  ([status, name]) => [name, `,status="${status}"`] as const,
);
const PLACEMENT_KINDS = PLACEMENTS.map((kind) => [kind, `,kind="${kind}"`] as const);
const MISS_KINDS = MISSES.map((kind) => [kind, `,kind="${kind}"`] as const);

const FAMILIES: readonly Family[] = [
  gauge('simmer_function_queue_depth', 'Invocations that wait for a slot.', (c) =>
    c.gauge('queued'),
  ),
  gauge('simmer_function_held_bytes', 'Request bodies that are received, wait or run.', (c) =>
    c.gauge('heldBytes'),
  ),
  gauge('simmer_function_running', 'Invocations that run on a pod.', (c) => c.gauge('running')),
  gauge('simmer_function_waiting', 'Invocations that wait for their next attempt.', (c) =>
    c.gauge('waiting'),
  ),
  gauge(
    'simmer_function_lingering',
    'Of those that run, the ones that were cancelled and hold on: their callers were answered.',
    (c) => c.gauge('lingering'),
  ),
  {
    name: 'simmer_pods',
    type: 'gauge',
    help: 'Pods by state.',
    lines: (labels, counters) =>
      POD_STATES.map(
        ([state, name]) => `simmer_pods{${labels},state="${state}"} ${counters.gauge(name)}\n`,
      ).join(''),
  },
  counter('simmer_accepted_total', 'Invocations that were admitted.', (c) => [
    ['', c.counter('accepted')],
  ]),
  counter('simmer_ended_total', 'Of the admitted, those that ended, by status.', (c) =>
    END_STATUSES.map(([name, label]) => [label, c.counter(name)]),
  ),
  counter(
    'simmer_invocations_total',
    'Invocations that ended, and requests that were refused, by code: ok or that of the error.',
    (c) => [
      [',code="ok"', c.counter('succeeded')],
      ...CODES.map(([code, label]) => [label, c.errors(code)] as const),
    ],
  ),
  counter('simmer_retries_total', 'Attempts that failed and were followed by another.', (c) => [
    ['', c.counter('retries')],
  ]),
  counter(
    'simmer_idempotent_requests_total',
    'Calls whose key was known: attached to its execution, replayed its answer, or refused as another request.',
    (c) => [
      [',result="attached"', c.counter('idempotentAttaches')],
      [',result="replayed"', c.counter('idempotentReplays')],
      [',result="conflict"', c.errors('idempotency_key_reused')],
    ],
  ),
  counter(
    'simmer_dead_letters_total',
    'Executions and callbacks that became dead letters.',
    (c) => [['', c.counter('deadLettered')]],
  ),
  counter(
    'simmer_dead_letters_dropped_total',
    'Dead letters that made room for others, or were too large to be kept.',
    (c) => [['', c.counter('deadLettersDropped')]],
  ),
  counter('simmer_dead_letters_replayed_total', 'Dead letters that were replayed.', (c) => [
    ['', c.counter('replays')],
  ]),
  counter('simmer_placements_total', 'Attempts by how they got their slot.', (c) =>
    PLACEMENT_KINDS.map(([kind, label]) => [label, c.placement(kind)]),
  ),
  counter('simmer_misses_total', 'Invocations that found no free slot, by what was decided.', (c) =>
    MISS_KINDS.map(([kind, label]) => [label, c.miss(kind)]),
  ),
  counter('simmer_pods_lost_total', 'Pods that ended while they served.', (c) => [
    ['', c.counter('podsLost')],
  ]),
  counter('simmer_callbacks_delivered_total', 'Callbacks that their receivers took.', (c) => [
    ['', c.counter('delivered')],
  ]),
  counter('simmer_callback_attempts_failed_total', 'Attempts to deliver that failed.', (c) => [
    ['', c.counter('deliveriesFailed')],
  ]),
  counter('simmer_callbacks_dead_total', 'Callbacks that were given up.', (c) => [
    ['', c.counter('callbacksDead')],
  ]),
  histogram(
    'simmer_callback_delivery_seconds',
    'From the end of an execution until the receiver of its callback took it.',
    [['', 'callback']],
  ),
  histogram('simmer_invocation_duration_seconds', 'From the arrival of a request to its answer.', [
    ['', 'latency'],
  ]),
  histogram('simmer_queue_wait_seconds', 'From arrival to a slot; 0 where one was free.', [
    ['', 'wait'],
  ]),
  histogram(
    'simmer_cold_start_seconds',
    'A cold start: launch (order to process), connect (process to hello), load (hello to ready), ready (order to ready), first_result (order to the first result).',
    [
      [',phase="launch"', 'launch'],
      [',phase="connect"', 'connect'],
      [',phase="load"', 'load'],
      [',phase="ready"', 'ready'],
      [',phase="first_result"', 'firstResult'],
    ],
  ),
];

export class Metrics {
  readonly contentType: string;
  private readonly node = new Registry();
  private readonly options: MetricsOptions;
  private readonly process: ProcessCounters;
  /**
   * Where counters are copied to: made once, and a second time only while two read at once. The garbage collector does not see
   * how much such memory holds, and would let hundreds of them pile up.
   */
  private spare: SharedArrayBuffer | null = null;

  constructor(options: MetricsOptions) {
    this.options = options;
    this.process = new ProcessCounters(options.memory);
    this.contentType = this.node.contentType;
    collectDefaultMetrics({ register: this.node });
  }

  /**
   * The page, in Prometheus' text format, piece by piece. What is counted by function is of one moment, or what was accepted and
   * what became of it would not add up.
   */
  async *page(): AsyncGenerator<string> {
    yield await this.node.metrics();
    yield this.processFamilies();
    const { memory } = this.options;
    const copy = this.spare ?? new SharedArrayBuffer(memory.byteLength);
    this.spare = null;
    const blocks = this.blocks(copy);
    let sliceEnds = performance.now() + SLICE_MS;
    for (const { name, type, help, lines } of FAMILIES) {
      let text = head(name, type, help);
      for (const [labels, counters] of blocks) {
        text += lines(labels, counters);
        if (performance.now() < sliceEnds) continue;
        yield text;
        text = '';
        await nextTurn();
        sliceEnds = performance.now() + SLICE_MS;
      }
      yield text;
    }
    this.spare = copy;
    for (const text of poolFamilies(this.options.pools?.() ?? [])) {
      yield text;
      await nextTurn();
    }
  }

  private processFamilies(): string {
    const { version, now } = this.options;
    const { process: own } = this;
    const age = (thread: 'scheduler' | 'control') => {
      const seconds = own.sinceBeat(thread, now()) / 1_000;
      return Number.isFinite(seconds) ? seconds : '+Inf';
    };
    const beat = 'simmer_thread_beat_age_seconds';
    const dropped = 'simmer_dropped_log_lines_total';
    const keys = 'simmer_idempotency_keys';
    const keyBytes = 'simmer_idempotency_bytes';
    const evictions = 'simmer_idempotency_evictions_total';
    return [
      head('simmer_build_info', 'gauge', 'What runs.'),
      `simmer_build_info{version="${version}",node="${process.version}"} 1\n`,
      head(beat, 'gauge', 'Time since a thread last showed that it runs.'),
      `${beat}{thread="scheduler"} ${age('scheduler')}\n`,
      `${beat}{thread="control"} ${age('control')}\n`,
      head('simmer_held_bytes', 'gauge', 'Request bodies held for all functions together.'),
      `simmer_held_bytes ${own.totalHeldBytes}\n`,
      head(dropped, 'counter', 'Log lines left out because too many came at once.'),
      `${dropped} ${own.droppedLogLines}\n`,
      head(keys, 'gauge', 'Idempotency keys that are kept.'),
      `${keys} ${own.idempotencyKeys}\n`,
      head(keyBytes, 'gauge', 'Memory for idempotency keys and their answers.'),
      `${keyBytes} ${own.idempotencyBytes}\n`,
      head(evictions, 'counter', 'Idempotency keys, or answers alone, that made room for others.'),
      `${evictions}{what="key"} ${own.idempotencyEvictedKeys}\n`,
      `${evictions}{what="answer"} ${own.idempotencyEvictedAnswers}\n`,
      ...this.callbackFamilies(),
      ...this.refusalFamily(),
      ...this.streamFamilies(),
      head('simmer_dead_letters', 'gauge', 'Dead letters that are kept.'),
      `simmer_dead_letters ${own.deadLetters}\n`,
      head('simmer_dead_letter_bytes', 'gauge', 'Memory of the dead letters that are kept.'),
      `simmer_dead_letter_bytes ${own.deadLetterBytes}\n`,
      ...this.clusterFamilies(),
    ].join('');
  }

  private callbackFamilies(): string[] {
    const callbacks = this.options.callbacks?.();
    if (callbacks === undefined) return [];
    const { pending, pendingBytes } = callbacks;
    return [
      head('simmer_callbacks_pending', 'gauge', 'Callbacks that are neither taken nor given up.'),
      `simmer_callbacks_pending ${pending}\n`,
      head('simmer_callbacks_pending_bytes', 'gauge', 'Bodies of the callbacks that are pending.'),
      `simmer_callbacks_pending_bytes ${pendingBytes}\n`,
    ];
  }

  private refusalFamily(): string[] {
    const refused = 'simmer_refused_requests_total';
    return [
      head(refused, 'counter', 'Requests that were refused for who made them, or how often.'),
      ...REFUSALS.map((code) => `${refused}{code="${code}"} ${this.process.refusals(code)}\n`),
    ];
  }

  private streamFamilies(): string[] {
    const { process: own } = this;
    const sockets = 'simmer_stream_sockets';
    const messages = 'simmer_stream_messages_total';
    const requests = 'simmer_stream_requests_total';
    const refused = 'simmer_stream_refused_upgrades_total';
    const held = 'simmer_stream_held_bytes';
    const outcomes = ['answered', 'failed', 'cancelled', 'refused'] as const;
    return [
      head(sockets, 'gauge', 'WebSockets of clients that are open.'),
      `${sockets} ${own.stream('sockets')}\n`,
      head(held, 'gauge', 'Answers that wait for clients to read their WebSockets.'),
      `${held} ${own.stream('heldBytes')}\n`,
      head(messages, 'counter', 'Messages on WebSockets of clients.'),
      `${messages}{direction="received"} ${own.stream('received')}\n`,
      `${messages}{direction="sent"} ${own.stream('sent')}\n`,
      head(requests, 'counter', 'Requests on WebSockets of clients, by how they ended.'),
      ...outcomes.map((name) => `${requests}{outcome="${name}"} ${own.stream(name)}\n`),
      head(refused, 'counter', 'WebSockets of clients that were not let in.'),
      `${refused} ${own.stream('refusedUpgrades')}\n`,
    ];
  }

  private clusterFamilies(): string[] {
    const vitals = this.options.cluster?.();
    if (vitals === undefined) return [];
    const stale = 'simmer_kubernetes_staleness_seconds';
    const writes = 'simmer_kubernetes_writes_total';
    return [
      head(stale, 'gauge', 'Time since what is watched was last known to be current.'),
      `${stale} ${vitals.staleMs / 1_000}\n`,
      head(writes, 'counter', 'Requests to the API server that change something.'),
      `${writes} ${vitals.writes}\n`,
      head('simmer_leader', 'gauge', 'Whether this control plane leads.'),
      `simmer_leader ${vitals.leads ? 1 : 0}\n`,
    ];
  }

  /** Each function's label and counters, copied at this moment. A key is two DNS labels and a slash: nothing in it needs escaping. */
  private blocks(
    copy: SharedArrayBuffer,
  ): (readonly [labels: string, counters: FunctionCounters])[] {
    const blocks: (readonly [string, FunctionCounters])[] = [];
    const counters = (slot: number) =>
      new FunctionCounters(this.options.memory, slot).copiedTo(copy, slot);
    let others = false;
    for (const { key, slot } of this.options.functions()) {
      if (slot === OTHER_SLOT) others = true;
      else blocks.push([`function="${key}"`, counters(slot)]);
    }
    if (others) blocks.push([`function="${OTHER_LABEL}"`, counters(OTHER_SLOT)]);
    return blocks;
  }
}

function head(name: string, type: string, help: string): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
}

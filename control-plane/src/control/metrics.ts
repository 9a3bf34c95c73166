/**
 * The metrics page: Node's own metrics, and what the scheduler counts in shared memory, read when Prometheus asks.
 *
 * All series are by function; functions past `metrics-functions` share `function="other"`, so that the number of series
 * has a bound. Series of a code, a kind or a histogram appear with their first count. Names and units follow
 * https://prometheus.io/docs/practices/naming/.
 */
import { collectDefaultMetrics, type Metric, Registry } from 'prom-client';
import {
  BUCKETS_SECONDS,
  ERROR_CODES,
  FunctionCounters,
  type HistogramName,
  MISSES,
  OTHER_SLOT,
  PLACEMENTS,
  ProcessCounters,
} from '../shared/counters.ts';

export const OTHER_LABEL = 'other';

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
  /** Epoch milliseconds. */
  readonly now: () => number;
}

type Labels = Readonly<Record<string, string | number>>;
interface Sample {
  readonly labels: Labels;
  readonly value: number;
  /** Where it is not the family's own: `_bucket`, `_sum`, `_count`. */
  readonly metricName?: string;
}
type Block = readonly [functionLabel: string, counters: FunctionCounters];

const BOUNDS = [...BUCKETS_SECONDS.map(String), '+Inf'];

const PHASES: readonly [string, HistogramName][] = [
  ['launch', 'launch'],
  ['connect', 'connect'],
  ['load', 'load'],
  ['ready', 'ready'],
  ['first_result', 'firstResult'],
];

const POD_STATES = [
  ['launching', 'podsLaunching'],
  ['idle', 'podsIdle'],
  ['busy', 'podsBusy'],
  ['draining', 'podsDraining'],
] as const;

export class Metrics {
  readonly contentType: string;
  private readonly registry = new Registry();
  private readonly options: MetricsOptions;
  private readonly process: ProcessCounters;
  private readonly views = new Map<number, FunctionCounters>();

  constructor(options: MetricsOptions) {
    this.options = options;
    this.process = new ProcessCounters(options.memory);
    this.contentType = this.registry.contentType;
    collectDefaultMetrics({ register: this.registry });
    this.addProcessFamilies();
    this.addFunctionFamilies();
  }

  /** The page, in Prometheus' text format. */
  page(): Promise<string> {
    return this.registry.metrics();
  }

  private addProcessFamilies(): void {
    const { version, now } = this.options;
    this.family('simmer_build_info', 'gauge', 'What runs.', () => [
      { labels: { version, node: process.version }, value: 1 },
    ]);
    this.family(
      'simmer_thread_beat_age_seconds',
      'gauge',
      'Time since a thread last showed that it runs.',
      () =>
        (['scheduler', 'control'] as const).map((thread) => ({
          labels: { thread },
          value: this.process.sinceBeat(thread, now()) / 1_000,
        })),
    );
    this.family(
      'simmer_held_bytes',
      'gauge',
      'Request bodies held for all functions together.',
      () => [{ labels: {}, value: this.process.totalHeldBytes }],
    );
    this.family(
      'simmer_dropped_log_lines_total',
      'counter',
      'Log lines left out because too many came at once.',
      () => [{ labels: {}, value: this.process.droppedLogLines }],
    );
  }

  private addFunctionFamilies(): void {
    this.gauge('simmer_function_queue_depth', 'Invocations that wait for a slot.', (c) =>
      c.gauge('queued'),
    );
    this.gauge(
      'simmer_function_held_bytes',
      'Request bodies that are received, wait or run.',
      (c) => c.gauge('heldBytes'),
    );
    this.gauge('simmer_function_running', 'Invocations that run on a pod.', (c) =>
      c.gauge('running'),
    );
    this.family('simmer_pods', 'gauge', 'Pods by state.', () =>
      this.each((name, counters) =>
        POD_STATES.map(([state, gauge]) => ({
          labels: { function: name, state },
          value: counters.gauge(gauge),
        })),
      ),
    );
    this.counter('simmer_accepted_total', 'Invocations that were admitted.', (c) => [
      [{}, c.counter('accepted')],
    ]);
    this.counter(
      'simmer_invocations_total',
      'Invocations that ended, by code: ok or that of the error.',
      (c) => [
        [{ code: 'ok' }, c.counter('succeeded')],
        ...ERROR_CODES.map((code): [Labels, number] => [{ code }, c.errors(code)]),
      ],
    );
    this.counter('simmer_placements_total', 'Attempts by how they got their slot.', (c) =>
      PLACEMENTS.map((kind) => [{ kind }, c.placement(kind)]),
    );
    this.counter(
      'simmer_misses_total',
      'Invocations that found no free slot, by what was decided.',
      (c) => MISSES.map((kind) => [{ kind }, c.miss(kind)]),
    );
    this.counter('simmer_pods_lost_total', 'Pods that ended while they served.', (c) => [
      [{}, c.counter('podsLost')],
    ]);
    this.histogram(
      'simmer_invocation_duration_seconds',
      'From the arrival of a request to its answer.',
      [[{}, 'latency']],
    );
    this.histogram('simmer_queue_wait_seconds', 'From admission to a slot.', [[{}, 'wait']]);
    this.histogram(
      'simmer_cold_start_seconds',
      'A cold start: launch (order to process), connect (process to hello), load (hello to ready), ready (order to ready), first_result (order to the first result).',
      PHASES.map(([phase, histogram]) => [{ phase }, histogram]),
    );
  }

  private gauge(name: string, help: string, read: (counters: FunctionCounters) => number): void {
    this.family(name, 'gauge', help, () =>
      this.each((label, counters) => [{ labels: { function: label }, value: read(counters) }]),
    );
  }

  private counter(
    name: string,
    help: string,
    read: (counters: FunctionCounters) => readonly (readonly [Labels, number])[],
  ): void {
    this.family(name, 'counter', help, () =>
      this.each((label, counters) =>
        read(counters)
          .filter(([, value]) => value > 0)
          .map(([labels, value]) => ({ labels: { function: label, ...labels }, value })),
      ),
    );
  }

  private histogram(
    name: string,
    help: string,
    parts: readonly (readonly [Labels, HistogramName])[],
  ): void {
    this.family(name, 'histogram', help, () =>
      this.each((label, counters) =>
        parts.flatMap(([labels, histogram]) => {
          const { cumulative, sumSeconds } = counters.histogram(histogram);
          // The bucket of all, not the count beside it: the writer may be between the two.
          const count = cumulative.at(-1) as number;
          if (count === 0) return [];
          const own = { function: label, ...labels };
          const samples: Sample[] = cumulative.map((value, i) => ({
            metricName: `${name}_bucket`,
            labels: { ...own, le: BOUNDS[i] as string },
            value,
          }));
          samples.push({ metricName: `${name}_sum`, labels: own, value: sumSeconds });
          samples.push({ metricName: `${name}_count`, labels: own, value: count });
          return samples;
        }),
      ),
    );
  }

  private each(read: (label: string, counters: FunctionCounters) => readonly Sample[]): Sample[] {
    return this.blocks().flatMap(([label, counters]) => read(label, counters));
  }

  private blocks(): Block[] {
    const blocks: Block[] = [];
    let others = false;
    for (const { key, slot } of this.options.functions()) {
      if (slot === OTHER_SLOT) others = true;
      else blocks.push([key, this.view(slot)]);
    }
    if (others) blocks.push([OTHER_LABEL, this.view(OTHER_SLOT)]);
    return blocks;
  }

  private view(slot: number): FunctionCounters {
    const known = this.views.get(slot);
    if (known) return known;
    const view = new FunctionCounters(this.options.memory, slot);
    this.views.set(slot, view);
    return view;
  }

  /** prom-client's own classes only count up; what is read from elsewhere answers its `get` itself. */
  private family(
    name: string,
    type: 'gauge' | 'counter' | 'histogram',
    help: string,
    values: () => readonly Sample[],
  ): void {
    const get = async () => ({ name, help, type, values: values(), aggregator: 'sum' });
    this.registry.registerMetric({ name, help, type, get } as unknown as Metric);
  }
}

/**
 * A Job on a miss, beside what Kubernetes takes at least: a bare Job of the same image, from its creation to its first
 * TCP connection. And a burst of them.
 */
import { randomBytes } from 'node:crypto';
import type { Installation } from '../../../k8s/e2e/support/installation.ts';
import { apply, kubectl } from '../../../k8s/e2e/support/kubectl.ts';
import { type Api, JOBS, type KubeObject, PODS } from '../../../k8s/src/api/api.ts';
import { Informer } from '../../../k8s/src/api/informer.ts';
import { type Finding, fact } from '../results.ts';
import { quantile, ratios, spread } from '../stats.ts';
import {
  type ClusterContext,
  type ClusterScenario,
  call,
  eventually,
  fn,
  middle,
  must,
  poolPods,
  range,
  SLEEPS,
  settled,
} from './context.ts';
import { type Listener, startListener } from './listener.ts';

/** Over a bare Job (DESIGN 11). */
const OVER_BARE_MS = 100;
const BURST = 20;
const BURST_OVER_BARE = 1.3;
const BURST_ROUNDS = 3;
const BURST_SERVICE_MS = 12_000;
/**
 * What each call runs, and is taken off again. Longer than a cold start: by the miss policy a call that is expected to
 * get a slot sooner than a Job would be there waits for it, and no Job would be measured.
 */
const SERVICE_MS = 1_000;
/** For as long the pool's one slot is taken. */
const HOLD_MS = 890_000;
const HOLDS = { 'x-timeout-ms': '900000' };

const TOKEN = { automountServiceAccountToken: true };
const NO_TOKEN = { automountServiceAccountToken: false, enableServiceLinks: false };

type Kind = 'job' | 'pod' | 'bareJob' | 'bareJobWithToken' | 'barePod';

interface Measured {
  readonly ms: number;
  /** From the start until the API server told of the pod. */
  readonly seenMs: number;
  /** Until its process started, by the clock of its node: it tells where the time goes where that is this machine's. */
  readonly startedMs: number;
}

/** A Job on a miss. */
export const miss: ClusterScenario = {
  name: 'miss',
  async run(context) {
    const { rounds } = context;
    const simmer = await context.simmer();
    const listener = await startListener(simmer);
    const pods = await watchPods(context, simmer);
    const holders = new AbortController();
    try {
      for (const [name, overflowKind] of [
        ['miss-job', 'Job'],
        ['miss-pod', 'Pod'],
      ] as const) {
        await apply(simmer.tenant, single(name, { overflowKind, overflow: 2 }));
        await hold(simmer, name, holders.signal);
      }
      // The listener, and the warm pod of each function.
      const warm = 3;
      const found: Record<Kind, Measured[]> = {
        job: [],
        pod: [],
        bareJob: [],
        bareJobWithToken: [],
        barePod: [],
      };
      const ways = waysOf(context.api, simmer, listener, pods);
      context.log(`a Job on a miss, ${rounds} rounds`);
      // Round 0 warms up, and is not counted.
      const kinds = Object.keys(ways) as Kind[];
      for (let round = 0; round <= rounds; round++) {
        for (const i of kinds.keys()) {
          // Each comes after each: the node still clears away what was before.
          const kind = kinds[(i + round) % kinds.length] as Kind;
          await settled(context.api, simmer.tenant, warm);
          const one = await ways[kind]();
          if (round > 0) found[kind].push(one);
        }
        if (round % 10 === 0) context.log(`round ${round}: ${lastOf(found)}`);
      }
      return findings(found);
    } finally {
      holders.abort();
      pods.stop();
      await kubectl('delete', 'functions.simmer.dev', '-n', simmer.tenant, 'miss-job', 'miss-pod');
      await removeBare(simmer);
    }
  },
};

/** Twenty at once. */
export const burst: ClusterScenario = {
  name: 'burst',
  async run(context) {
    const { api } = context;
    const simmer = await context.simmer();
    const listener = await startListener(simmer);
    const rounds = context.quick ? 2 : BURST_ROUNDS;
    context.log(`${BURST} misses at once, ${rounds} rounds`);
    const ours: number[] = [];
    const theirs: number[] = [];
    const oursMiddle: number[] = [];
    try {
      for (let round = 0; round < rounds; round++) {
        // A new function each time: what its calls take is not known, so that each that waits is worth a Job.
        const name = `burst-${round}`;
        const holder = new AbortController();
        await apply(simmer.tenant, single(name, { overflow: BURST }));
        await hold(simmer, name, holder.signal);
        await settled(api, simmer.tenant, 2);
        // Longer than twenty Jobs take to start: none serves two calls.
        const each = Array.from({ length: BURST }, async () => {
          const { ms, body } = must(await call(simmer, name, { ms: BURST_SERVICE_MS }));
          return ms - body.output.ranMs;
        });
        const times = await Promise.all(each);
        ours.push(Math.max(...times));
        oursMiddle.push(middle(times));
        holder.abort();
        await kubectl('delete', 'functions.simmer.dev', '-n', simmer.tenant, name);
        await settled(api, simmer.tenant, 1);

        const id = unique();
        const all = listener.came(id, BURST);
        const from = performance.now();
        for (let i = 0; i < BURST; i++) {
          void api.create(JOBS, simmer.tenant, bareJob(`${id}-${i}`, id, listener, NO_TOKEN));
        }
        await all;
        theirs.push(performance.now() - from);
        await removeBare(simmer);
        context.log(`burst: ${ours.at(-1)?.toFixed(0)} and bare ${theirs.at(-1)?.toFixed(0)} ms`);
      }
    } finally {
      await removeBare(simmer);
    }
    const scenario = `${BURST} misses at once`;
    const ratio = spread(ratios(ours, theirs));
    return [
      fact(scenario, 'until the last result', 'ms', middle(ours), {
        note: `${range(ours)}; until the half of them ${middle(oursMiddle).toFixed(0)} ms`,
      }),
      fact(scenario, 'until the last bare Job has connected', 'ms', middle(theirs), {
        note: range(theirs),
      }),
      fact(scenario, 'of the bare Jobs', 'x', ratio.median, {
        limit: { op: '<=', value: BURST_OVER_BARE },
        note: `quartiles ${ratio.q1.toFixed(2)} to ${ratio.q3.toFixed(2)}`,
      }),
    ];
  },
};

/** One warm pod with one slot. */
const single = (name: string, more: object): object =>
  fn(name, {
    source: { inline: SLEEPS },
    minReplicas: 1,
    maxReplicas: 1,
    timeoutMs: 60_000,
    ...more,
  });

/** Takes the one slot, and waits until it is taken. */
async function hold(simmer: Installation, name: string, signal: AbortSignal): Promise<void> {
  await eventually(`${name} has a pod`, async () => {
    const pods = await poolPods(simmer, name).catch(() => []);
    return pods.some(({ state }) => state === 'idle');
  });
  call(simmer, name, { ms: HOLD_MS }, { headers: HOLDS, signal }).catch(() => {});
  await eventually(`${name} is busy`, async () => {
    const pods = await poolPods(simmer, name);
    return pods.some(({ state }) => state === 'busy');
  });
}

interface WatchedPods {
  /** Resolves with the time at which a pod that was not there before is first seen. */
  next(): Promise<number>;
  stop(): void;
}

async function watchPods(context: ClusterContext, simmer: Installation): Promise<WatchedPods> {
  const quiet = { debug() {}, info() {}, warn() {}, error() {} };
  const informer = new Informer(context.api, PODS, { namespace: simmer.tenant, log: quiet });
  let waiting: ((at: number) => void) | undefined;
  informer.onChange(({ type }) => {
    if (type !== 'added') return;
    waiting?.(performance.now());
    waiting = undefined;
  });
  await informer.start();
  return {
    next: () =>
      new Promise((resolve) => {
        waiting = resolve;
      }),
    stop: () => informer.stop(),
  };
}

function waysOf(
  api: Api,
  simmer: Installation,
  listener: Listener,
  pods: WatchedPods,
): Record<Kind, () => Promise<Measured>> {
  const missed = (name: string) => async (): Promise<Measured> => {
    const seen = pods.next();
    const from = performance.now();
    const { ms, body } = must(await call(simmer, name, { ms: SERVICE_MS }));
    const { ranMs, startedAt } = body.output;
    return {
      ms: ms - ranMs,
      seenMs: (await seen) - from,
      startedMs: startedAt - performance.timeOrigin - from,
    };
  };
  const bare =
    (create: (id: string) => Promise<unknown>, remove: (id: string) => Promise<unknown>) =>
    async (): Promise<Measured> => {
      const id = unique();
      const came = listener.came(id);
      const seen = pods.next();
      const from = performance.now();
      const created = create(id);
      const startedMs = (await came) - performance.timeOrigin - from;
      const ms = performance.now() - from;
      await created;
      const seenMs = (await seen) - from;
      await remove(id);
      return { ms, seenMs, startedMs };
    };
  const { tenant } = simmer;
  const jobOf = (spec: object) =>
    bare(
      (id) => api.create(JOBS, tenant, bareJob(id, id, listener, spec)),
      (id) => api.remove(JOBS, tenant, id),
    );
  return {
    job: missed('miss-job'),
    bareJob: jobOf(NO_TOKEN),
    pod: missed('miss-pod'),
    barePod: bare(
      (id) => api.create(PODS, tenant, barePod(id, listener)),
      (id) => api.remove(PODS, tenant, id),
    ),
    bareJobWithToken: jobOf(TOKEN),
  };
}

const BARE = { 'simmer-bench': 'bare' };
const unique = (): string => `bare-${randomBytes(4).toString('hex')}`;

function podSpec(id: string, listener: Listener, more: object): object {
  return { restartPolicy: 'Never', containers: [listener.container(id)], ...more };
}

function bareJob(name: string, id: string, listener: Listener, more: object): KubeObject {
  return {
    metadata: { name, labels: BARE },
    spec: {
      backoffLimit: 0,
      template: { metadata: { labels: BARE }, spec: podSpec(id, listener, more) },
    },
  } as KubeObject;
}

function barePod(name: string, listener: Listener): KubeObject {
  return {
    metadata: { name, labels: BARE },
    spec: podSpec(name, listener, NO_TOKEN),
  } as KubeObject;
}

async function removeBare({ tenant }: Installation): Promise<void> {
  await kubectl('delete', 'jobs,pods', '-n', tenant, '-l', 'simmer-bench=bare', '--timeout=60s');
}

function lastOf(found: Record<Kind, Measured[]>): string {
  return Object.entries(found)
    .map(([kind, list]) => `${kind} ${list.at(-1)?.ms.toFixed(0) ?? '–'}`)
    .join(', ');
}

const LABELS: Record<Kind, string> = {
  job: 'first result of a Job on a miss',
  bareJob: 'bare Job, created to its first connection',
  pod: 'first result of a bare pod on a miss (`overflowKind: Pod`)',
  barePod: 'bare pod, created to its first connection',
  bareJobWithToken: 'Job as people write it (token mounted), to its first connection',
};

function findings(found: Record<Kind, Measured[]>): Finding[] {
  const scenario = 'miss';
  const times = (kind: Kind) => found[kind].map(({ ms }) => ms);
  const over = (ours: Kind, bare: Kind) =>
    times(ours).map((ms, i) => ms - (times(bare)[i] as number));
  const half = (kind: Kind, what: keyof Measured) =>
    middle(found[kind].map((one) => one[what])).toFixed(0);
  const p99 = (kind: Kind) => quantile(times(kind), 0.99);
  const list: Finding[] = (Object.keys(LABELS) as Kind[]).map((kind) =>
    fact(scenario, `${LABELS[kind]}, p50`, 'ms', middle(times(kind)), {
      note: `${range(times(kind))}; its pod was seen after ${half(kind, 'seenMs')} ms, its process started after ${half(kind, 'startedMs')} ms`,
    }),
  );
  const limit = { op: '<=', value: OVER_BARE_MS } as const;
  return [
    ...list,
    fact(scenario, 'Job on a miss over a bare Job, p50', 'ms', middle(over('job', 'bareJob')), {
      limit,
      note: `${range(over('job', 'bareJob'))}`,
    }),
    fact(
      scenario,
      'Job on a miss over a bare Job, p99 over p99',
      'ms',
      p99('job') - p99('bareJob'),
      {
        limit,
      },
    ),
    fact(scenario, 'pod on a miss over a bare pod, p50', 'ms', middle(over('pod', 'barePod')), {
      note: range(over('pod', 'barePod')),
    }),
  ];
}

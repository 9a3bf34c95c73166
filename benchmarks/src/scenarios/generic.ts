/**
 * Functions that have never run, on pods that are nobody's yet: the first result of each beside one for which its own pool grows
 * and one that gets a Job, and a burst of many more than the pool has pods for.
 */
import {
  coldStartsOf,
  invokePath,
  type ManifestSetup,
  type SimmerServer,
  startServer,
} from '../baselines/simmer.ts';
import { eventually } from '../child.ts';
import {
  callInOrder,
  callsAtRate,
  FUNCTIONS,
  FUNCTIONS_BESIDE,
  firstResults,
  getFrom,
  hasPods,
  NEW_PER_SECOND,
  orderOf,
  ownCode,
  POOL_PODS,
  placements,
} from '../never-run.ts';
import { type Finding, fact } from '../results.ts';
import { quantile } from '../stats.ts';
import type { Context, Scenario } from './context.ts';

const MAX_PODS = 60;
/** Pods that have served their one call go again: 100 functions are not 100 processes at once. */
const KEEP_ALIVE_MS = 5_000;

const BURST = { functions: 200, pods: 20, maxPods: 80 };
const BURST_LIMIT_S = 180;

/** Never-run functions on a warm generic pool; about three minutes. */
export const generic: Scenario = {
  name: 'generic',
  inQuick: false,
  async run(context) {
    return [...(await oneAfterTheOther(context)), ...(await burst(context))];
  },
};

// ---- one new function after the other --------------------------------------------------------------------------------

/** By namespace: the pool serves its own alone. */
const WAYS = {
  default: { placement: 'generic', label: 'on a warm generic pool', spec: {} },
  own: { placement: 'grown', label: 'growing its own pool', spec: { overflow: 0 } },
  job: { placement: 'job', label: 'on a Job', spec: { maxReplicas: 1, overflow: 1 } },
} as const;
type Way = keyof typeof WAYS;

async function oneAfterTheOther(context: Context): Promise<Finding[]> {
  const count = (way: Way) => (way === 'default' ? FUNCTIONS : FUNCTIONS_BESIDE);
  const ways = Object.keys(WAYS) as Way[];
  const functions = ways.flatMap((way) =>
    Array.from({ length: count(way) }, (_, i) =>
      functionOf(`new-${i}`, way, { keepAliveMs: KEEP_ALIVE_MS, ...WAYS[way].spec }),
    ),
  );
  const pool = warmPool(POOL_PODS, MAX_PODS);
  const server = await startServer([], { manifests: [pool, ...functions] });
  try {
    const found: Finding[] = [];
    for (const way of ways) {
      const { label, placement } = WAYS[way];
      context.log(`never-run functions ${label}, ${NEW_PER_SECOND} a second`);
      await poolIsFull(server, POOL_PODS);
      const names = Array.from({ length: count(way) }, (_, i) => `new-${i}.${way}`);
      // A Job needs a pool at its maximum: its one pod is busy.
      const calls = await callsAtRate(
        server.port,
        names.map(invokePath),
        NEW_PER_SECOND,
        way === 'job',
      );
      const get = getFrom(`http://127.0.0.1:${server.port}`);
      const placed = await placements(get, names, placement);
      found.push(...firstResults(label, placement, calls, placed));
    }
    return found;
  } finally {
    await server.stop();
  }
}

// ---- many at once ------------------------------------------------------------------------------------------------------

async function burst(context: Context): Promise<Finding[]> {
  context.log(`${BURST.functions} never-run functions at once on a pool of ${BURST.pods}`);
  const names = Array.from({ length: BURST.functions }, (_, i) => `burst-${i}`);
  const spec = { timeoutMs: BURST_LIMIT_S * 1_000, keepAliveMs: KEEP_ALIVE_MS };
  const functions = names.map((name) => functionOf(name, 'default', spec));
  const server = await startServer([], {
    manifests: [warmPool(BURST.pods, BURST.maxPods), ...functions],
  });
  try {
    await poolIsFull(server, BURST.pods);
    const calls = await callInOrder(server.port, names.map(invokePath));
    const most = Math.max(...(await coldStartsOf(server, 'ready', names)));
    const scenario = `${BURST.functions} never-run functions at once`;
    const answered = calls.filter((call) => call.status === 200);
    const seconds = answered.map((call) => call.ms / 1_000);
    const note = `a pool of ${BURST.pods}, at most ${BURST.maxPods}`;
    const among = (at: number, name: string) =>
      fact(scenario, `answered after, ${name}`, 's', quantile(seconds, at), { note });
    return [
      fact(scenario, 'without an answer', '', BURST.functions - answered.length, {
        limit: { op: '<=', value: 0 },
      }),
      among(0.1, 'the first tenth'),
      among(0.5, 'half of them'),
      fact(scenario, 'answered after, all', 's', Math.max(...seconds), {
        limit: { op: '<=', value: BURST_LIMIT_S },
        note,
      }),
      fact(scenario, 'pods that one function had, at most', '', most, {
        limit: { op: '<=', value: 1 },
      }),
      fact(scenario, 'ahead of its turn, places', '', orderOf(answered), {
        // As many are loaded at once: among them it is the machine that says who is first.
        limit: { op: '<=', value: BURST.pods },
        note: 'the most that one was served before another that had asked earlier',
      }),
    ];
  } finally {
    await server.stop();
  }
}

// ---- what they are made of ---------------------------------------------------------------------------------------------

function warmPool(pods: number, maxReplicas: number): ManifestSetup {
  return {
    apiVersion: 'simmer.dev/v1alpha1',
    kind: 'WarmPool',
    metadata: { name: 'warm', namespace: 'default' },
    spec: { minReplicas: pods, maxReplicas },
  };
}

function functionOf(name: string, namespace: string, spec: object): ManifestSetup {
  return {
    apiVersion: 'simmer.dev/v1alpha1',
    kind: 'Function',
    metadata: { name, namespace },
    spec: {
      ...spec,
      ...ownCode(`${name}.${namespace}`),
    },
  };
}

async function poolIsFull(server: SimmerServer, pods: number): Promise<void> {
  const get = getFrom(`http://127.0.0.1:${server.port}`);
  await eventually('the pool has its pods', async () => {
    return (await hasPods(get, 'warm', pods)) || undefined;
  });
}

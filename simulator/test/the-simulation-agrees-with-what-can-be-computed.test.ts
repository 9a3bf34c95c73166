import t from 'tap';
import { Random } from '../../chaos/src/random.ts';
import { KnativeAutoscaler } from '../src/engine/kpa.ts';
import { PerPodKeepAlive } from '../src/engine/per-pod.ts';
import { FunctionPods } from '../src/engine/pods.ts';
import { GenericPool } from '../src/engine/reserve.ts';
import { type Settings, simulate } from '../src/engine/simulate.ts';
import { Totals, WaitHistogram } from '../src/engine/totals.ts';
import { exponential } from '../src/load/gaps.ts';
import type { Load } from '../src/load/load.ts';
import { ListedCalls } from '../src/load/traces.ts';
import { REGIMES } from '../src/regimes.ts';

const MINUTE_MS = 60_000;
const SETTINGS: Settings = {
  concurrency: 1,
  budgetMib: undefined,
  reserve: undefined,
  sampleMs: 1_000,
  keepAliveMs: 300_000,
  stableWindowMs: 60_000,
  scaleDownDelayMs: 60_000,
  targetUtilization: 0.8,
};

/** Each function by the times of its calls. */
function loadOf(functions: readonly (readonly number[])[], serviceMs = 1, coldStartMs = 100): Load {
  const last = Math.max(...functions.map((times) => times.at(-1) ?? 0));
  return {
    functions: functions.map((times, i) => ({
      name: `f${i}`,
      memoryMib: 100,
      coldStartMs,
      calls: () => new ListedCalls(times.map((at) => ({ at, serviceMs }))),
    })),
    durationMs: last + 60 * MINUTE_MS,
    title: 'listed',
  };
}

function poisson(seed: string, meanMs: number, count: number): number[] {
  const random = new Random(seed);
  let at = 0;
  return Array.from({ length: count }, () => {
    at += exponential(random) * meanMs;
    return at;
  });
}

t.test(
  'calls that come at random, a fixed keep-alive: cold with probability exp(-rate x keep-alive)',
  async (t) => {
    for (const meanMinutes of [2, 10, 25]) {
      const times = poisson(`closed ${meanMinutes}`, meanMinutes * MINUTE_MS, 40_000);
      const [result] = simulate(loadOf([times]), REGIMES['fixed-10m'], SETTINGS).functions;
      const expected = Math.exp(-10 / meanMinutes);
      const share = (result?.cold ?? 0) / (result?.calls ?? 1);
      t.ok(Math.abs(share - expected) < 0.01, `${share} where ${expected} is due`);
      // And idle for min(gap, keep-alive) after each call.
      const idle = meanMinutes * (1 - expected) * MINUTE_MS * 40_000 * 100;
      t.ok(Math.abs((result?.idleMibMs ?? 0) / idle - 1) < 0.02, 'idle memory');
    }
  },
);

t.test('a cold call waits for a cold start, one that finds a pod for nothing', async (t) => {
  const times = [0, 20, 40, 50, 120].map((minutes) => minutes * MINUTE_MS);
  const run = simulate(loadOf([times], 1, 700), REGIMES['fixed-10m'], SETTINGS);
  const [f] = run.functions;
  t.equal(f?.calls, 5);
  t.equal(f?.cold, 4, 'ten minutes after a call that waited there is a pod');
  t.equal(f?.waitMs, 4 * 700);
  t.equal(run.launched, 4);
});

t.test(
  'without keep-alive every call is cold; Knative keeps a pod for a minute and a half',
  async (t) => {
    const times = Array.from({ length: 100 }, (_, i) => i * 80_000);
    const cold = (name: 'none' | 'fixed-1m' | 'kpa' | 'fixed') =>
      simulate(loadOf([times]), REGIMES[name], SETTINGS).functions[0]?.cold;
    t.equal(cold('none'), 100);
    t.equal(cold('fixed-1m'), 100);
    t.equal(cold('kpa'), 1);
    t.equal(cold('fixed'), 1);
  },
);

t.test(
  'calls at once take a pod each where calls are long, and wait their turn where they are short',
  async (t) => {
    const at = Array.from({ length: 20 }, () => 1_000);
    const long = simulate(loadOf([[0, ...at]], 5_000), REGIMES['fixed-10m'], SETTINGS);
    t.equal(long.launched, 21);
    // 20 calls of 1 ms are served by one pod within a cold start.
    const short = simulate(loadOf([[0, ...at]], 1), REGIMES['fixed-10m'], SETTINGS);
    t.equal(short.launched, 1);
    t.equal(short.functions[0]?.waitMs, 100 + (19 * 20) / 2);
  },
);

t.test('a pod runs as many calls at once as it may', async (t) => {
  const totals = new Totals(new WaitHistogram());
  const pods = new FunctionPods(
    { concurrency: 3, coldStartMs: 100 },
    new PerPodKeepAlive(MINUTE_MS),
    totals,
    undefined,
  );
  pods.call(0, 10_000);
  pods.advance(200);
  for (const at of [300, 301]) pods.call(at, 10_000);
  t.equal(pods.live, 1);
  t.equal(pods.running, 3);
  pods.call(302, 10_000);
  t.equal(pods.coming, 1, 'the fourth has none free');
  pods.finish(10 * MINUTE_MS);
  t.equal(pods.live, 0);
  t.equal(totals.calls, 4);
  t.equal(totals.waitMs, 200);
});

t.test('Knative grows by what runs at once, and panics on a burst', async (t) => {
  const totals = new Totals(new WaitHistogram());
  const pods = new FunctionPods(
    { concurrency: 1, coldStartMs: 100 },
    new KnativeAutoscaler(),
    totals,
    undefined,
  );
  for (let i = 0; i < 10; i++) pods.call(100 + i, 30_000);
  pods.advance(110);
  t.equal(pods.live + pods.coming, 1, 'the activator asks for one');
  pods.advance(12_000);
  t.ok(pods.live >= 10, `${pods.live} pods`);
  pods.finish(5 * MINUTE_MS);
  t.equal(pods.live, 0);
});

t.test(
  'a generic pool serves misses at once while it lasts, and is refilled at its rate',
  async (t) => {
    const pool = new GenericPool({
      pods: 2,
      claimMs: 15,
      coldStartMs: 500,
      refillPerSecond: 1,
      memoryMib: 100,
    });
    t.equal(pool.claim(1_000), 15);
    t.equal(pool.claim(1_000), 15);
    t.equal(pool.claim(1_000), undefined);
    t.equal(pool.claim(1_499), undefined);
    t.equal(pool.claim(1_500), 15, 'the first was replaced');
    t.equal(pool.claim(2_000), undefined, 'the second is launched a second after the first');
    t.equal(pool.claim(2_500), 15);
    t.equal(pool.misses, 3);
    // Two until 1 s, none until 1.5 s, none until 2.5 s.
    t.equal(pool.idleMibMs(2_500), 2 * 1_000 * 100);

    const times = [0, 20, 40].map((minutes) => minutes * MINUTE_MS);
    const reserve = { pods: 5, claimMs: 15, coldStartMs: 100, refillPerSecond: 10, memoryMib: 100 };
    const [f] = simulate(loadOf([times]), REGIMES['fixed-10m'], { ...SETTINGS, reserve }).functions;
    t.equal(f?.cold, 3);
    t.equal(f?.waitMs, 45);
  },
);

t.test('a timer is learned: a pod is there when it fires, and not in between', async (t) => {
  const times = Array.from({ length: 200 }, (_, i) => 1_000 + i * 30 * MINUTE_MS);
  const result = simulate(loadOf([times]), REGIMES['hybrid-histogram'], SETTINGS).functions[0];
  t.ok((result?.cold ?? 99) <= 3, `${result?.cold}`);
  const alwaysOn = 200 * 30 * MINUTE_MS * 100;
  t.ok((result?.idleMibMs ?? alwaysOn) < 0.25 * alwaysOn);
});

t.test('under a budget the functions together keep what fits', async (t) => {
  const functions = Array.from({ length: 10 }, (_, f) =>
    Array.from({ length: 50 }, (_, i) => (i * 10 + f) * MINUTE_MS),
  );
  const run = (budgetMib: number | undefined) =>
    simulate(loadOf(functions), REGIMES['greedy-dual'], { ...SETTINGS, budgetMib });
  const free = run(undefined);
  t.equal(
    free.functions.reduce((sum, f) => sum + f.cold, 0),
    10,
    'without one, each is cold once',
  );
  const short = run(500);
  t.ok(short.meanMib <= 500, `${short.meanMib} MiB`);
  t.ok(short.functions.reduce((sum, f) => sum + f.cold, 0) > 10);
});

t.test('the same run gives the same figures', async (t) => {
  const load = loadOf([poisson('a', 90_000, 2_000), poisson('b', 600_000, 300)], 20_000);
  for (const regime of Object.values(REGIMES)) {
    t.same(simulate(load, regime, SETTINGS), simulate(load, regime, SETTINGS), regime.label);
  }
});

t.test('every call is served, whatever the policy', async (t) => {
  const load = loadOf([poisson('c', 2_000, 3_000), poisson('d', 60_000, 200)], 9_000, 700);
  for (const regime of Object.values(REGIMES)) {
    const { functions } = simulate(load, regime, SETTINGS);
    t.same(
      functions.map((f) => f.calls),
      [3_000, 200],
      regime.label,
    );
    for (const f of functions) t.ok(f.cold > 0 && f.cold <= f.calls && f.waitMs > 0);
  }
});

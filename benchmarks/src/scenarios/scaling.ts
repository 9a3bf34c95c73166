/** A pool under load that changes: whether it settles, stays as it is in steady load, cuts nothing, and what it costs. */
import { invokePath, type SimmerServer, startServer } from '../baselines/simmer.ts';
import { type Fact, fact } from '../results.ts';
import { idealPods, turnsOf } from '../scaling/ideal.ts';
import { arrivalsOf, SHAPES, type Shape } from '../scaling/shapes.ts';
import { type Context, failures, type Scenario } from './context.ts';

const SERVICE_MS = 100;
const KEEP_ALIVE_MS = 20_000;
/** The default. */
const SCALE_DOWN_DELAY_MS = 60_000;
const SAMPLE_MS = 250;
const SEED = 1;
/** How long after a step its calls are looked at. */
const AFTER_STEP_MS = 5_000;

/** Step, ramp, sawtooth and spikes; about eleven minutes. */
export const scaling: Scenario = {
  name: 'scaling',
  inQuick: false,
  async run(context) {
    const facts: Fact[] = [];
    for (const shape of SHAPES) facts.push(...(await replay(context, shape)));
    return facts;
  },
};

async function replay(context: Context, shape: Shape): Promise<Fact[]> {
  context.log(`scaling: ${shape.name}, ${shape.durationMs / 1_000} s`);
  const server = await startServer([
    {
      name: 'scaled',
      handler: 'sleep100',
      spec: {
        concurrency: 1,
        minReplicas: 0,
        maxReplicas: 60,
        overflow: 0,
        keepAliveMs: KEEP_ALIVE_MS,
        queue: { maxLength: 10_000 },
      },
    },
  ]);
  try {
    return await measure(context, server, shape);
  } finally {
    await server.stop();
  }
}

async function measure(context: Context, server: SimmerServer, shape: Shape): Promise<Fact[]> {
  const arrivals = arrivalsOf(shape, SEED);
  const samples: { readonly atMs: number; readonly pods: number }[] = [];
  const start = performance.now();
  const sampler = setInterval(() => {
    const atMs = performance.now() - start;
    server.pods('scaled').then(
      (pods) => samples.push({ atMs, pods: pods.length }),
      () => {},
    );
  }, SAMPLE_MS);
  const result = await context.generator.run({
    port: server.port,
    method: 'POST',
    paths: [invokePath('scaled')],
    bodyBytes: 256,
    warmupMs: 0,
    durationMs: shape.durationMs,
    drainMs: 30_000,
    mode: { loop: 'open', ratePerS: 0, atMs: arrivals, maxConnections: 2_000 },
  });
  clearInterval(sampler);
  const { coldStartMs, cut } = await counted(server);

  const { durationMs } = shape;
  const ideal = idealPods({
    ...{ arrivals, durationMs, coldStartMs },
    ...{ serviceMs: SERVICE_MS, scaleDownDelayMs: SCALE_DOWN_DELAY_MS },
  });
  const bySecond = ideal.map((_, i) => {
    const within = samples.filter(({ atMs }) => Math.floor(atMs / 1_000) === i);
    return within.reduce((sum, s) => sum + s.pods, 0) / Math.max(1, within.length);
  });
  const total = (list: readonly number[]) => list.reduce((a, b) => a + b, 0);
  const scenario = `scaling, ${shape.name}`;
  const shown = (list: readonly number[]) =>
    list
      .filter((_, i) => i % 10 === 0)
      .map(Math.round)
      .join(' ');
  const facts = [
    fact(scenario, 'pod-seconds, of the ideal', 'x', total(bySecond) / total(ideal), {
      limit: { op: '<=', value: 1.3 },
      note: `pods every 10 s: ${shown(bySecond)}; ideal: ${shown(ideal)}; cold start ${coldStartMs.toFixed(0)} ms`,
    }),
    fact(scenario, 'calls that failed or were cut', '', failures([result]) + cut, {
      limit: { op: '<=', value: 0 },
      note: `of ${result.sent}; p50 ${result.ok.p50Ms.toFixed(0)} ms, p99 ${result.ok.p99Ms.toFixed(0)} ms`,
    }),
  ];
  for (const stepMs of shape.stepsAt) {
    // In whole seconds: the first that begins after three cold starts.
    const from = Math.ceil((stepMs + 3 * coldStartMs) / 1_000);
    const to = (stepMs + AFTER_STEP_MS) / 1_000;
    const longest = Math.max(...result.p99BySecond.slice(from, Math.max(from + 1, to)));
    facts.push(
      fact(
        scenario,
        `p99 of waits from three cold starts after the step at ${stepMs / 1_000} s, in cold starts`,
        'x',
        (longest - SERVICE_MS) / coldStartMs,
        { limit: { op: '<=', value: 1 } },
      ),
    );
  }
  for (const { fromMs, toMs } of shape.steady) {
    const steady = samples.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
    facts.push(
      fact(
        scenario,
        'turns between growing and shrinking in steady load',
        '',
        turnsOf(steady.map((s) => s.pods)),
        {
          limit: { op: '<=', value: 2 },
          note: `in ${(toMs - fromMs) / 1_000} s; ${Math.min(...steady.map((s) => s.pods))} to ${Math.max(...steady.map((s) => s.pods))} pods`,
        },
      ),
    );
  }
  return facts;
}

async function counted(server: SimmerServer): Promise<{ coldStartMs: number; cut: number }> {
  const response = await fetch(`http://127.0.0.1:${server.managementPort}/metrics`);
  const page = await response.text();
  const value = (name: string) => {
    const line = page.split('\n').find((one) => one.startsWith(name));
    return line === undefined ? 0 : Number(line.slice(line.lastIndexOf(' ') + 1));
  };
  const ready = (part: string) =>
    value(`simmer_cold_start_seconds_${part}{function="default/scaled",phase="ready"`);
  return {
    coldStartMs: (ready('sum') * 1_000) / Math.max(1, ready('count')),
    cut: value('simmer_retries_total{') + value('simmer_pods_lost_total{'),
  };
}

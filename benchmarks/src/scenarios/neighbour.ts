/**
 * Warming one function must not slow another: while A cold-starts over and over and C crash-loops, B's latency is held
 * against what processes of the same kind, started as often by nobody of ours, do to it on this machine.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { echoFunction, invokePath, type SimmerServer, startServer } from '../baselines/simmer.ts';
import { type Finding, fact } from '../results.ts';
import { median, ratios, spread } from '../stats.ts';
import { spawnToReady } from './cold-start.ts';
import { type Context, failures, MIN_ROUNDS, type Scenario } from './context.ts';

const RATE_PER_S = 300;
const ROUND_MS = 6_000;
/** A start every so often takes about a third of one core, of two. */
const START_EVERY_MS = 300;
const ROUNDS = MIN_ROUNDS + 2;

export const neighbour: Scenario = {
  name: 'neighbour',
  inQuick: false,
  async run(context) {
    const never = { minReplicas: 0, maxReplicas: 1, overflow: 0 };
    const b = echoFunction(1, 'b');
    const quiet = await startServer([b]);
    const busy = await startServer([
      b,
      { name: 'a', handler: 'exit', spec: never },
      { name: 'c', handler: 'broken', spec: { ...never, minReplicas: 1 } },
    ]);
    try {
      return await measure(context, quiet, busy);
    } finally {
      await Promise.all([quiet.stop(), busy.stop()]);
    }
  },
};

async function measure(
  context: Context,
  quiet: SimmerServer,
  busy: SimmerServer,
): Promise<Finding[]> {
  const coldStart = async () => {
    const url = `http://127.0.0.1:${busy.port}${invokePath('a')}`;
    await (await fetch(url, { method: 'POST', body: '{}' })).arrayBuffer();
  };
  const [ours, outside, alone]: number[][] = [[], [], []];
  let failed = 0;
  await round(context, quiet);
  await round(context, busy);
  for (let i = 0; i < ROUNDS; i++) {
    context.log(`neighbour: round ${i + 1} of ${ROUNDS}`);
    const with_ = await round(context, busy, coldStart);
    const beside = await round(context, quiet, spawnToReady);
    const without = await round(context, quiet);
    ours?.push(with_.ok.p99Ms);
    outside?.push(beside.ok.p99Ms);
    alone?.push(without.ok.p99Ms);
    failed += failures([with_, beside, without]);
  }
  const scenario = `B at ${RATE_PER_S}/s while A cold-starts and C crash-loops`;
  const s = spread(ratios(ours ?? [], outside ?? []));
  return [
    fact(scenario, 'p99 of B, of its p99 beside the same spawns made outside', 'x', s.median, {
      limit: { op: '<=', value: 1.2 },
      note: `quartiles ${s.q1.toFixed(2)} to ${s.q3.toFixed(2)}, ${ROUNDS} rounds; ${median(ours ?? []).toFixed(2)} of ${median(outside ?? []).toFixed(2)} ms; alone ${median(alone ?? []).toFixed(2)} ms`,
    }),
    fact(scenario, 'failures of B', '', failed, { limit: { op: '<=', value: 0 } }),
  ];
}

/** B under load, with a start of `what` every START_EVERY_MS meanwhile. */
async function round(context: Context, server: SimmerServer, what?: () => Promise<unknown>) {
  const loading = context.generator.run({
    port: server.port,
    method: 'POST',
    paths: [invokePath('b')],
    bodyBytes: 256,
    warmupMs: 500,
    durationMs: ROUND_MS,
    mode: { loop: 'open', ratePerS: RATE_PER_S, maxConnections: 64 },
  });
  const until = performance.now() + ROUND_MS;
  const started: Promise<unknown>[] = [];
  while (what !== undefined && performance.now() < until) {
    started.push(what());
    await sleep(START_EVERY_MS);
  }
  await Promise.all(started);
  return loading;
}

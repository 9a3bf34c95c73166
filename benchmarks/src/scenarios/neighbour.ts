/**
 * Warming one function must not slow another: while A cold-starts over and over and C crash-loops, B's latency is held
 * against what the same spawns, made by nobody of ours, do to it on this machine: as many processes of the same runtime with the
 * same handlers, that end as they do.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type BareRuntime, startBareRuntime } from '../baselines/bare-runtime.ts';
import {
  coldStartsOf,
  echoFunction,
  invokePath,
  type SimmerServer,
  startServer,
} from '../baselines/simmer.ts';
import { type Finding, fact } from '../results.ts';
import { median, ratios, spread } from '../stats.ts';
import { type Context, failures, MIN_ROUNDS, type Scenario } from './context.ts';

const RATE_PER_S = 300;
const ROUND_MS = 6_000;
/** A start every so often takes about a third of one core, of two. */
const START_EVERY_MS = 300;
const ROUNDS = MIN_ROUNDS + 4;
/** Not counted: until what starts pods is compiled. */
const WARMUP_ROUNDS = 2;

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

/** Processes that were started of A and of C. */
interface Starts {
  readonly a: number;
  readonly c: number;
}

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
  const all = { a: 0, c: 0 };
  let failed = 0;
  const coldStarts = () => every(START_EVERY_MS, coldStart);
  await round(context, quiet);
  for (let i = 0; i < WARMUP_ROUNDS; i++) await round(context, busy, coldStarts);
  for (let i = 0; i < ROUNDS; i++) {
    context.log(`neighbour: round ${i + 1} of ${ROUNDS}`);
    const before = await starts(busy);
    const with_ = await round(context, busy, coldStarts);
    const after = await starts(busy);
    const made = { a: after.a - before.a, c: after.c - before.c };
    const beside = await round(context, quiet, () => sameOutside(made));
    const without = await round(context, quiet);
    ours?.push(with_.ok.p99Ms);
    outside?.push(beside.ok.p99Ms);
    alone?.push(without.ok.p99Ms);
    all.a += made.a;
    all.c += made.c;
    failed += failures([with_, beside, without]);
  }
  const scenario = `B at ${RATE_PER_S}/s while A cold-starts and C crash-loops`;
  const s = spread(ratios(ours ?? [], outside ?? []));
  return [
    fact(scenario, 'p99 of B, of its p99 beside the same spawns made outside', 'x', s.median, {
      limit: { op: '<=', value: 1.2 },
      note: `quartiles ${s.q1.toFixed(2)} to ${s.q3.toFixed(2)}, ${ROUNDS} rounds, ${all.c} starts of C; ${median(ours ?? []).toFixed(2)} of ${median(outside ?? []).toFixed(2)} ms; alone ${median(alone ?? []).toFixed(2)} ms`,
    }),
    // Beside no start at all it would be as good as alone.
    fact(scenario, 'starts of A', '', all.a, { limit: { op: '>=', value: ROUNDS } }),
    fact(scenario, 'failures of B', '', failed, { limit: { op: '<=', value: 0 } }),
  ];
}

async function starts(server: SimmerServer): Promise<Starts> {
  const [a, c] = await coldStartsOf(server, 'launch', ['a', 'c']);
  return { a: a as number, c: c as number };
}

/** As A: a pod is there, a call ends it, and the next is started while it exits; as C: it does not load. */
async function sameOutside({ a, c }: Starts): Promise<void> {
  let idle: BareRuntime | undefined;
  let turn = Promise.resolve();
  const next = () => {
    turn = turn.then(async () => {
      await idle?.invoke();
      idle = await startBareRuntime('exit');
    });
    return turn;
  };
  const crash = () => startBareRuntime('broken').catch(() => {});
  await Promise.all([a > 0 && every(ROUND_MS / a, next), c > 0 && every(ROUND_MS / c, crash)]);
  idle?.kill();
  await idle?.gone;
}

/** For as long as a round: a start of `what` every `everyMs`. */
async function every(everyMs: number, what: () => Promise<unknown>): Promise<void> {
  const until = performance.now() + ROUND_MS;
  const started: Promise<unknown>[] = [];
  while (performance.now() < until) {
    started.push(what());
    await sleep(everyMs);
  }
  await Promise.all(started);
}

/** B under load, and what goes on meanwhile. */
async function round(context: Context, server: SimmerServer, meanwhile?: () => Promise<void>) {
  const loading = context.generator.run({
    port: server.port,
    method: 'POST',
    paths: [invokePath('b')],
    bodyBytes: 256,
    warmupMs: 500,
    durationMs: ROUND_MS,
    mode: { loop: 'open', ratePerS: RATE_PER_S, maxConnections: 64 },
  });
  await meanwhile?.();
  return loading;
}

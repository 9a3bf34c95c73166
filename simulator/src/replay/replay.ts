/**
 * The replay: the real server with real pods (process backend) on this machine's loopback is called, open-loop, as a compressed load
 * says, and the simulator predicts what comes of it, with the settings compressed alike. What a cold start takes is not compressed; it
 * is the one figure that the prediction takes from the run, where it varies with what else the machine does. What a policy learns in bins of minutes cannot be compressed either, so it is
 * the fixed keep-alive that is replayed; pods, misses, sizing and keep-alive timers are the same for all.
 */
import { setTimeout as delay } from 'node:timers/promises';
import {
  type FunctionSetup,
  invokePath,
  startServer,
} from '@simmer/benchmarks/dist/baselines/simmer.js';
import { number } from '../../../benchmarks/src/report/format.ts';
import { align } from '../../../benchmarks/src/report/table.ts';
import { simulate } from '../engine/simulate.ts';
import { readShape } from '../load/quantiles.ts';
import { SHAPE_FILE } from '../load/spec.ts';
import { REGIMES } from '../regimes.ts';
import {
  asLoad,
  type Compression,
  type Outcome,
  outcomeOf,
  type ReplayedFunction,
  replayedFunctions,
} from './load.ts';

/** Uncompressed; each with the same load, at the same time, on the same server. */
const KEEP_ALIVE_MINUTES = [1, 10];
/** The shortest that a function may have. */
const STABLE_WINDOW_MS = 6_000;
const MAX_PODS = 20;
/** For calls that are under way at the end. */
const DRAIN_MS = 5_000;

interface Measured {
  readonly calls: number;
  readonly cold: number;
  readonly waitMs: number;
}

export interface Comparison {
  readonly keepAliveMinutes: number;
  readonly real: Outcome;
  readonly simulated: Outcome;
  /** Mean over functions of how far their shares of cold starts are apart. */
  readonly shareDifference: number;
}

export interface ReplayResult {
  readonly compression: Compression;
  readonly coldStartMs: number;
  readonly comparisons: readonly Comparison[];
}

export async function replay(c: Compression, log: (text: string) => void): Promise<ReplayResult> {
  const functions = replayedFunctions(readShape(SHAPE_FILE), c);
  const keepAliveMs = (minutes: number) => (minutes * 60_000) / c.factor;
  const scaleDownDelayMs = Math.round(60_000 / c.factor);
  const setUp = (name: string, minutes: number): FunctionSetup => ({
    name,
    handler: 'sleep-input',
    spec: {
      minReplicas: 0,
      maxReplicas: MAX_PODS,
      overflow: 0,
      keepAliveMs: keepAliveMs(minutes),
      scaling: { stableWindowMs: STABLE_WINDOW_MS, scaleDownDelayMs },
    },
  });
  const rounds = KEEP_ALIVE_MINUTES.map((minutes) => ({ minutes, suffix: `-${minutes}m` }));
  const called = rounds.flatMap(({ minutes, suffix }) =>
    functions.map((f) => setUp(`${f.name}${suffix}`, minutes)),
  );
  const server = await startServer(called);
  try {
    const call = (name: string, ms: number) => invoke(server.port, name, ms);
    const failures = new Map<string, number>();
    const waits = new Map<string, number>();
    const open = rounds.flatMap(({ suffix }) =>
      functions.flatMap((f) => f.calls.map((one) => ({ name: `${f.name}${suffix}`, ...one }))),
    );
    log(`${open.length} calls of ${called.length} functions in ${c.seconds} s`);
    const start = performance.now();
    const under = open.map(async ({ name, at, serviceMs }) => {
      await delay(at);
      const due = start + at;
      const add = (to: Map<string, number>, value: number) =>
        to.set(name, (to.get(name) ?? 0) + value);
      try {
        await call(name, serviceMs);
        // From when it was due: a generator that is late charges it to the wait, and never hides one.
        add(waits, Math.max(0, performance.now() - due - serviceMs));
      } catch {
        add(failures, 1);
      }
    });
    await Promise.race([
      Promise.all(under),
      delay(c.seconds * 1_000 + DRAIN_MS, undefined, { ref: false }),
    ]);
    const { cold, coldStartMs } = await coldStarts(server.managementPort);

    return {
      compression: c,
      coldStartMs,
      comparisons: rounds.map(({ minutes, suffix }) => {
        const real = functions.map((f): Measured => {
          const name = `${f.name}${suffix}`;
          return {
            calls: f.calls.length,
            cold: cold.get(name) ?? 0,
            waitMs: waits.get(name) ?? 0,
          };
        });
        const failed = functions.reduce(
          (sum, f) => sum + (failures.get(`${f.name}${suffix}`) ?? 0),
          0,
        );
        const simulated = predict(
          functions,
          c,
          coldStartMs,
          keepAliveMs(minutes),
          scaleDownDelayMs,
        );
        const apart = real.map(
          (f, i) => Math.abs(f.cold - (simulated[i] as Measured).cold) / f.calls,
        );
        return {
          keepAliveMinutes: minutes,
          real: outcomeOf(real, failed),
          simulated: outcomeOf(simulated, 0),
          shareDifference: apart.reduce((sum, value) => sum + value, 0) / apart.length,
        };
      }),
    };
  } finally {
    await server.stop();
  }
}

function predict(
  functions: readonly ReplayedFunction[],
  c: Compression,
  coldStartMs: number,
  keepAliveMs: number,
  scaleDownDelayMs: number,
): readonly Measured[] {
  const load = asLoad(functions, c.seconds, coldStartMs);
  return simulate(load, REGIMES.fixed, {
    concurrency: 1,
    budgetMib: undefined,
    reserve: undefined,
    // As the keeper looks at a function.
    sampleMs: 1_000,
    keepAliveMs,
    stableWindowMs: STABLE_WINDOW_MS,
    scaleDownDelayMs,
    targetUtilization: 0.8,
  }).functions;
}

/** Milliseconds until the answer. @throws where there is none, or no success. */
async function invoke(port: number, name: string, ms: number): Promise<number> {
  const started = performance.now();
  const response = await fetch(`http://127.0.0.1:${port}${invokePath(name)}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ input: { ms } }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${name}: ${response.status} ${text}`);
  return performance.now() - started;
}

/** Of each function, its calls that were served by a pod that had been launched for them; of all pods, the mean of launch to ready. */
async function coldStarts(
  managementPort: number,
): Promise<{ readonly cold: ReadonlyMap<string, number>; readonly coldStartMs: number }> {
  const text = await (await fetch(`http://127.0.0.1:${managementPort}/metrics`)).text();
  const cold = new Map<string, number>();
  let [seconds, count] = [0, 0];
  for (const line of text.split('\n')) {
    const value = Number(line.slice(line.lastIndexOf(' ')));
    if (line.startsWith('simmer_placements_total{') && line.includes('"grown"')) {
      const name = /function="(?:[^"/]*\/)?([^"]*)"/.exec(line)?.[1];
      if (name !== undefined) cold.set(name, value);
    } else if (line.includes('phase="ready"')) {
      if (line.startsWith('simmer_cold_start_seconds_sum{')) seconds += value;
      if (line.startsWith('simmer_cold_start_seconds_count{')) count += value;
    }
  }
  if (count === 0) throw new Error('the server counted no cold start');
  return { cold, coldStartMs: (seconds * 1_000) / count };
}

export function replayTable({ comparisons, coldStartMs, compression: c }: ReplayResult): string {
  const percent = (share: number) => `${number(share * 100)} %`;
  const rows = comparisons.flatMap(({ keepAliveMinutes, real, simulated, shareDifference }) =>
    [['real', real] as const, ['simulated', simulated] as const].map(([side, o], i) => [
      `fixed ${keepAliveMinutes} min, ${side}`,
      number(o.calls),
      number(o.cold),
      percent(o.coldShareP50),
      percent(o.coldShareP75),
      number(o.waitMeanMs),
      String(o.failed),
      i === 0 ? '' : percent(shareDifference),
    ]),
  );
  const header = [
    'Keep-alive',
    'Calls',
    'Cold starts',
    'Share of a function’s calls: p50',
    'p75',
    'Wait, mean ms',
    'Failed',
    'Apart, mean over functions',
  ];
  return `${align([header, ...rows])}\n\n${c.functions} functions, ${c.seconds} s with time compressed ${c.factor} times, seed ${c.seed}; a cold start took ${number(coldStartMs)} ms on average.`;
}

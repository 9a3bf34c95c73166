/**
 * What a start costs: the runtime's own, the first result on an empty pool, and a miss beside a busy pod. Each beside
 * what no platform can undercut: an empty Node process, and a plain Node HTTP server that is spawned and asked once.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { RUNTIME_NODE_FLAGS } from '@simmer/protocol/runtime-environment';
import { startBareRuntime } from '../baselines/bare-runtime.ts';
import {
  type FunctionSetup,
  invokePath,
  type SimmerServer,
  startServer,
} from '../baselines/simmer.ts';
import { handlerFile } from '../baselines/target.ts';
import { eventually, readyLine, start } from '../child.ts';
import { type Finding, fact } from '../results.ts';
import { quantile, spread } from '../stats.ts';
import { type Context, MIN_ROUNDS, type Scenario } from './context.ts';

const FULL_ROUNDS = 15;
/** How much longer than an empty process takes to exit the runtime may take to be ready. */
const READY_OVER_EMPTY_MS = 60;
/** How long the one slot is held while another call misses. */
const HOLD_MS = 1_200;
/** The holder has its slot by then. */
const SETTLE_MS = 150;

const ON_DEMAND = { concurrency: 1, minReplicas: 0, keepAliveMs: 60_000 };
const GROW: FunctionSetup = {
  name: 'grow',
  handler: 'sleep-input',
  spec: { concurrency: 1, minReplicas: 1, maxReplicas: 4, overflow: 0, keepAliveMs: 0 },
};
const JOB: FunctionSetup = {
  name: 'job',
  handler: 'sleep-input',
  spec: { concurrency: 1, minReplicas: 1, maxReplicas: 1, overflow: 4 },
};

interface Times {
  readonly empty: number[];
  readonly ready: number[];
  readonly http: number[];
  readonly first: number[];
  readonly grown: number[];
  readonly job: number[];
}

/** Cold start and miss. */
export const coldStart: Scenario = {
  name: 'cold-start',
  inQuick: true,
  async run(context) {
    const rounds = context.quick ? MIN_ROUNDS : FULL_ROUNDS;
    const cold = Array.from({ length: rounds + 1 }, (_, i): FunctionSetup => {
      return { name: `cold-${i}`, handler: 'echo', spec: ON_DEMAND };
    });
    context.log(`cold start and miss, ${rounds} rounds`);
    const server = await startServer([...cold, GROW, JOB]);
    const dir = mkdtempSync(join(tmpdir(), 'simmer-bench-empty-'));
    try {
      writeFileSync(join(dir, 'empty.cjs'), '');
      const times: Times = { empty: [], ready: [], http: [], first: [], grown: [], job: [] };
      // Round 0 warms the page cache and the server, and is not counted.
      for (let round = 0; round <= rounds; round++) {
        const one = await measure(context, server, join(dir, 'empty.cjs'), `cold-${round}`);
        if (round === 0) continue;
        for (const [name, ms] of one) times[name].push(ms);
      }
      return findings(times, await placements(server));
    } finally {
      await server.stop();
      rmSync(dir, { recursive: true });
    }
  },
};

async function measure(
  context: Context,
  server: SimmerServer,
  emptyFile: string,
  coldName: string,
): Promise<[keyof Times, number][]> {
  const found: [keyof Times, number][] = [
    ['empty', await emptyProcess(emptyFile)],
    ['ready', await spawnToReady()],
    ['http', await plainServer()],
    ['first', await call(server.port, invokePath(coldName), {})],
  ];
  if (!context.quick) {
    found.push(['grown', await miss(server, 'grow')], ['job', await miss(server, 'job')]);
  }
  return found;
}

/** Spawn to exit of a Node process that does nothing. */
async function emptyProcess(file: string): Promise<number> {
  const from = performance.now();
  const child = spawn(process.execPath, [...RUNTIME_NODE_FLAGS, file], {
    stdio: 'ignore',
    env: {},
  });
  await once(child, 'exit');
  return performance.now() - from;
}

/** Spawn of the runtime to its `ready`, against a peer that only welcomes it. */
async function spawnToReady(): Promise<number> {
  const runtime = await startBareRuntime('echo');
  runtime.kill();
  await runtime.gone;
  return runtime.readyMs;
}

/** Spawn of a plain Node HTTP server around the same handler to its first answer. */
async function plainServer(): Promise<number> {
  const entry = fileURLToPath(new URL('../baselines/node-http.js', import.meta.url));
  const from = performance.now();
  const child = await start(process.execPath, [entry, handlerFile('echo')]);
  const { port } = await readyLine<{ port: number }>(child);
  await call(port, '/', {});
  const ms = performance.now() - from;
  await child.stop();
  return ms;
}

/** A call that finds the one slot taken. */
async function miss(server: SimmerServer, name: 'grow' | 'job'): Promise<number> {
  const path = invokePath(name);
  // A pod that an earlier round brought is gone again.
  await eventually('one idle pod', async () => {
    const pods = await server.pods(name);
    return (pods.length === 1 && pods[0]?.state === 'idle') || undefined;
  });
  const holder = call(server.port, path, { ms: HOLD_MS });
  await sleep(SETTLE_MS);
  const ms = await call(server.port, path, { ms: 0 });
  await holder;
  return ms;
}

/** Milliseconds until the answer. @throws when it is no success. */
async function call(port: number, path: string, input: object): Promise<number> {
  const from = performance.now();
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ input }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
  return performance.now() - from;
}

async function placements(server: SimmerServer): Promise<Record<'grow' | 'job', number>> {
  const of = async (name: string, kind: string) => {
    const response = await fetch(`http://127.0.0.1:${server.port}/v1/pools/${name}`);
    const pool = (await response.json()) as { placements: Record<string, number> };
    return pool.placements[kind] ?? 0;
  };
  return { grow: await of('grow', 'grown'), job: await of('job', 'job') };
}

function findings(times: Times, placed: Record<'grow' | 'job', number>): Finding[] {
  const scenario = 'cold start';
  const range = (list: readonly number[]) => {
    const s = spread(list);
    return `quartiles ${s.q1.toFixed(0)} to ${s.q3.toFixed(0)} ms, ${s.rounds} rounds`;
  };
  const middle = (list: readonly number[]) => quantile(list, 0.5);
  const over = times.ready.map((ms, i) => ms - (times.empty[i] as number));
  const overHttp = times.first.map((ms, i) => ms / (times.http[i] as number));
  const found: Finding[] = [
    fact(scenario, 'empty Node process, spawn to exit', 'ms', middle(times.empty), {
      note: range(times.empty),
    }),
    fact(scenario, 'runtime, spawn to ready', 'ms', middle(times.ready), {
      note: range(times.ready),
    }),
    fact(scenario, 'runtime ready, over the empty process', 'ms', middle(over), {
      limit: { op: '<=', value: READY_OVER_EMPTY_MS },
      note: range(over),
    }),
    fact(scenario, 'plain Node http server, spawn to first answer', 'ms', middle(times.http), {
      note: range(times.http),
    }),
    fact(scenario, 'first result on an empty pool', 'ms', middle(times.first), {
      note: `${range(times.first)}; ${middle(overHttp).toFixed(2)} of the plain server`,
    }),
  ];
  if (times.grown.length === 0) return found;
  return [
    ...found,
    fact('miss', 'result on a pod that the pool grew by', 'ms', middle(times.grown), {
      note: `${range(times.grown)}; ${placed.grow} calls were placed so`,
    }),
    fact('miss', 'result on a Job, the pool being at its maximum', 'ms', middle(times.job), {
      note: `${range(times.job)}; ${placed.job} calls were placed so`,
    }),
  ];
}

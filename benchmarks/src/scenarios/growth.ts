/**
 * How cost grows with what is registered and connected. On real sockets: latency and throughput with 1, 100 and 1,000
 * functions whose calls follow a Zipf law, and with 1, 100 and 2,000 pods of which one is called. In the process, sockets
 * left out: the scheduler's own time for each invocation, which is what may not grow.
 */
import { fileURLToPath } from 'node:url';
import { invokePath } from '../baselines/simmer.ts';
import { type Child, readyLine, start } from '../child.ts';
import type { FakePod } from '../growth/assembly.ts';
import type { OwnTime } from '../growth/own-time.ts';
import type { LoadResult } from '../load/recorder.ts';
import { type Fact, fact, type Limit } from '../results.ts';
import { median, ratios, spread } from '../stats.ts';
import { type Context, failures, MIN_ROUNDS, type Scenario } from './context.ts';

const MANY_FUNCTIONS = 1_000;
const MANY_PODS = 2_000;
const ZIPF_EXPONENT = 1;
const OWN_TIME_ROUNDS = 15;
/** Few: each finds the server idle or nearly so, as most invocations do. */
const OWN_TIME_CONNECTIONS = 2;

interface Population {
  readonly label: string;
  readonly functions: number;
  readonly idlePods: number;
}

const POPULATIONS: readonly Population[] = [
  { label: '1 function, 1 pod', functions: 1, idlePods: 0 },
  { label: '100 functions', functions: 100, idlePods: 0 },
  { label: '1,000 functions', functions: MANY_FUNCTIONS, idlePods: 0 },
  { label: '100 pods', functions: 1, idlePods: 99 },
  { label: '2,000 pods', functions: 1, idlePods: MANY_PODS - 1 },
];

function entry(name: string): string {
  return fileURLToPath(new URL(`../growth/${name}.js`, import.meta.url));
}

/** Functions and pods by the thousand, on real sockets. */
export const growth: Scenario = {
  name: 'growth',
  inQuick: false,
  async run(context) {
    const children: Child[] = [];
    try {
      const servers: { population: Population; port: number }[] = [];
      for (const population of POPULATIONS) {
        context.log(`connecting ${population.label}`);
        const { port } = await serve(population, children);
        servers.push({ population, port });
      }
      return await measure(context, servers);
    } finally {
      await Promise.all(children.map((child) => child.stop()));
    }
  },
};

/** A scheduler process and the one that is all of its pods. */
async function serve(
  population: Population,
  children: Child[],
  timed: readonly string[] = [],
): Promise<{ child: Child; port: number }> {
  const { functions, idlePods } = population;
  const server = await start(process.execPath, [
    entry('server'),
    String(functions),
    String(idlePods),
    ...timed,
  ]);
  children.push(server);
  const { port, podPort, pods } = await readyLine<{
    port: number;
    podPort: number;
    pods: FakePod[];
  }>(server);
  const client = await start(process.execPath, [entry('pods'), String(podPort)]);
  children.push(client);
  client.process.stdin?.write(`${JSON.stringify(pods)}\n`);
  await readyLine(client);
  return { child: server, port };
}

async function measure(
  context: Context,
  servers: readonly { population: Population; port: number }[],
): Promise<Fact[]> {
  const load = (server: (typeof servers)[number], connections: number, ms: number) =>
    context.generator.run({
      port: server.port,
      method: 'POST',
      paths: Array.from({ length: server.population.functions }, (_, i) => invokePath(`f${i}`)),
      pathZipf: ZIPF_EXPONENT,
      bodyBytes: 256,
      warmupMs: 200,
      durationMs: ms,
      mode: { loop: 'closed', connections },
    });
  for (const server of servers) await load(server, 32, 2_000);
  context.log('growth: rounds');
  const idle = servers.map((): LoadResult[] => []);
  const busy = servers.map((): LoadResult[] => []);
  for (let round = 0; round < MIN_ROUNDS; round++) {
    for (const [i, server] of servers.entries()) {
      (idle[i] as LoadResult[]).push(await load(server, 1, 1_000));
      (busy[i] as LoadResult[]).push(await load(server, 64, 1_000));
    }
  }
  const facts: Fact[] = [];
  const baseP50 = (idle[0] as LoadResult[]).map((r) => r.ok.p50Ms);
  const baseRate = (busy[0] as LoadResult[]).map((r) => r.throughput);
  for (const [i, { population }] of servers.entries()) {
    const scenario = `scheduler with ${population.label}`;
    const p50 = (idle[i] as LoadResult[]).map((r) => r.ok.p50Ms);
    const rate = (busy[i] as LoadResult[]).map((r) => r.throughput);
    facts.push(
      fact(scenario, 'idle p50', 'ms', median(p50), { note: beside(ratios(p50, baseP50)) }),
      fact(scenario, 'throughput at 64 connections', '/s', median(rate), {
        note: beside(ratios(rate, baseRate)),
      }),
    );
  }
  const all = [...idle, ...busy].flat();
  facts.push(
    fact('scheduler with all of these', 'failures', '', failures(all), {
      limit: { op: '<=', value: 0 },
    }),
  );
  return facts;
}

function beside(list: readonly number[]): string {
  const s = spread(list);
  return `${s.median.toFixed(2)} of 1 function and 1 pod [${s.q1.toFixed(2)}–${s.q3.toFixed(2)}]; sockets included`;
}

/** The scheduler's own time for one invocation: in the process, on real sockets; then without any, for comparison. */
export const ownTime: Scenario = {
  name: 'own-time',
  inQuick: true,
  async run(context) {
    context.log("the scheduler's own time");
    const rounds = context.quick ? MIN_ROUNDS : OWN_TIME_ROUNDS;
    return [...(await ownTimeOnSockets(context, rounds)), ...(await ownTimeAlone(rounds))];
  },
};

async function ownTimeOnSockets(context: Context, rounds: number): Promise<Fact[]> {
  const [one, , functions, , pods] = POPULATIONS as [
    Population,
    Population,
    Population,
    Population,
    Population,
  ];
  const children: Child[] = [];
  try {
    const servers: { child: Child; port: number; population: Population; perRequest: number[] }[] =
      [];
    for (const population of [one, functions, pods]) {
      const server = await serve(population, children, ['timed']);
      servers.push({ ...server, population, perRequest: [] });
    }
    for (let round = -1; round < rounds; round++) {
      for (const { child, port, population, perRequest } of servers) {
        await context.generator.run({
          port,
          method: 'POST',
          paths: Array.from({ length: population.functions }, (_, i) => invokePath(`f${i}`)),
          pathZipf: ZIPF_EXPONENT,
          bodyBytes: 256,
          warmupMs: 0,
          durationMs: round < 0 ? 2_000 : 700,
          mode: { loop: 'closed', connections: OWN_TIME_CONNECTIONS },
        });
        child.process.stdin?.write('\n');
        const { ownMs, requests } = await readyLine<{ ownMs: number; requests: number }>(child);
        if (round >= 0) perRequest.push((ownMs * 1_000) / requests);
      }
    }
    const [base, many, connected] = servers.map((s) => s.perRequest) as [
      number[],
      number[],
      number[],
    ];
    const scenario = "scheduler's own time, in the process";
    const limit = { op: '<=', value: 1.1 } as const;
    return [
      fact(scenario, 'for each invocation, 1 function and 1 pod', 'µs', median(base)),
      growthFact(scenario, `${MANY_FUNCTIONS} functions with a pod each`, many, base, limit),
      growthFact(scenario, `${MANY_PODS} pods`, connected, base, limit),
    ];
  } finally {
    await Promise.all(children.map((child) => child.stop()));
  }
}

/** Without sockets the one function's few hundred bytes never leave the nearest cache, so this shows growth at its worst. */
async function ownTimeAlone(rounds: number): Promise<Fact[]> {
  const child = await start(process.execPath, [
    entry('own-time'),
    String(MANY_FUNCTIONS),
    String(MANY_PODS),
    String(rounds),
  ]);
  const found = await readyLine<{ found: OwnTime[] }>(child);
  await child.stop();
  return found.found.flatMap(({ turn, one, functions, pods }) => {
    const scenario = `the same without sockets, ${turn} request${turn === 1 ? '' : 's'} a turn`;
    return [
      fact(scenario, 'for each invocation, 1 function and 1 pod', 'µs', median(one)),
      growthFact(scenario, `${MANY_FUNCTIONS} functions with a pod each`, functions, one),
      growthFact(scenario, `${MANY_PODS} pods`, pods, one),
    ];
  });
}

function growthFact(
  scenario: string,
  what: string,
  many: readonly number[],
  one: readonly number[],
  limit?: Limit,
): Fact {
  const s = spread(ratios(many, one));
  return fact(scenario, `${what}, of 1 function and 1 pod`, 'x', s.median, {
    ...(limit !== undefined && { limit }),
    note: `quartiles ${s.q1.toFixed(3)} to ${s.q3.toFixed(3)}; ${median(many).toFixed(2)} µs`,
  });
}

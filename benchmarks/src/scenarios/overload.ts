/** Ten times what a function can do, with its memory over time: the accepted are served, the rest are refused at once. */
import { invokePath, type SimmerServer, startServer } from '../baselines/simmer.ts';
import { residentMiB } from '../child.ts';
import type { LoadResult } from '../load/recorder.ts';
import type { LoadSpec } from '../load/spec.ts';
import { type Fact, fact } from '../results.ts';
import { median } from '../stats.ts';
import { type Context, failures, type Scenario } from './context.ts';

const OVERLOAD = 10;
const TIMEOUT_MS = 30_000;
const SAMPLE_MS = 250;
/** Bytes of bodies that the function may hold: the manifest's default, named here because the memory is judged by it. */
const BUDGET_MIB = 64;
const MIB = 1_048_576;

interface Case {
  readonly label: string;
  readonly bodyBytes: number;
  /** Slots of the one pod. Fewer for large bodies: the machine must be able to offer ten times what they carry. */
  readonly concurrency: number;
}

const CASES: readonly Case[] = [
  { label: '256 B', bodyBytes: 256, concurrency: 4 },
  { label: '1 MiB', bodyBytes: MIB, concurrency: 1 },
];

/** Ten times overload for a minute. */
export const overload: Scenario = {
  name: 'overload',
  inQuick: true,
  async run(context) {
    const facts: Fact[] = [];
    for (const c of context.quick ? CASES.slice(0, 1) : CASES)
      facts.push(...(await one(context, c)));
    return facts;
  },
};

async function one(context: Context, c: Case): Promise<Fact[]> {
  const server = await startServer([
    {
      name: 'work',
      handler: 'sleep10',
      spec: {
        concurrency: c.concurrency,
        minReplicas: 1,
        maxReplicas: 1,
        overflow: 0,
        timeoutMs: TIMEOUT_MS,
        queue: { maxLength: 100, maxBytes: BUDGET_MIB * MIB },
      },
    },
  ]);
  try {
    return await measure(context, server, c);
  } finally {
    await server.stop();
  }
}

async function measure(context: Context, server: SimmerServer, c: Case): Promise<Fact[]> {
  const load = (mode: LoadSpec['mode'], durationMs: number): Promise<LoadResult> =>
    context.generator.run({
      port: server.port,
      method: 'POST',
      paths: [invokePath('work')],
      bodyBytes: c.bodyBytes,
      warmupMs: 1_000,
      durationMs,
      drainMs: TIMEOUT_MS,
      mode,
    });
  const idleMiB = residentMiB(server.child.pid) as number;
  context.log(`overload, ${c.label}: the level without`);
  // One request more than there are slots keeps every slot busy, and no more than that.
  const level = await load(
    { loop: 'closed', connections: c.concurrency + 1 },
    context.quick ? 2_000 : 8_000,
  );
  const levelMiB = residentMiB(server.child.pid) as number;
  const ratePerS = Math.round(level.throughput * OVERLOAD);
  const durationMs = context.quick ? 5_000 : 60_000;
  context.log(`overload, ${c.label}: ${ratePerS} requests a second`);
  const samples: { atS: number; mib: number }[] = [];
  const start = performance.now();
  const sampler = setInterval(() => {
    const mib = residentMiB(server.child.pid);
    if (mib !== undefined) samples.push({ atS: (performance.now() - start) / 1000, mib });
  }, SAMPLE_MS);
  const result = await load({ loop: 'open', ratePerS, maxConnections: 512 }, durationMs);
  clearInterval(sampler);

  const scenario = `10x overload, ${c.label}`;
  const atS = context.quick ? 2 : 10;
  const early = median(samples.filter((s) => Math.abs(s.atS - atS) < 1).map((s) => s.mib));
  const late = Math.max(...samples.filter((s) => s.atS >= atS).map((s) => s.mib));
  const peak = Math.max(...samples.map((s) => s.mib));
  const shown = samples.filter((_, i) => i % Math.ceil(samples.length / 12) === 0);
  return [
    fact(
      scenario,
      'accepted throughput, of its level without overload',
      'x',
      result.throughput / level.throughput,
      {
        limit: { op: '>=', value: 0.9 },
        note: `${result.throughput.toFixed(0)} of ${level.throughput.toFixed(0)} a second, ${ratePerS} offered`,
      },
    ),
    fact(scenario, 'p99 of refusals', 'ms', result.refused.p99Ms, {
      limit: { op: '<=', value: 50 },
      note: `${result.byStatus['429'] ?? 0} of ${result.sent}; ${JSON.stringify(result.byCode)}; counted from when they were due, of which the generator's own delay is ${result.late.p99Ms.toFixed(1)} ms at p99`,
    }),
    fact(scenario, 'longest accepted', 'ms', result.ok.maxMs, {
      limit: { op: '<=', value: TIMEOUT_MS },
      note: `p50 ${result.ok.p50Ms.toFixed(0)} ms`,
    }),
    fact(scenario, 'neither served nor refused with 429', '', failures([result], [429]), {
      limit: { op: '<=', value: 0 },
      note: `errors ${JSON.stringify(result.errors)}, unfinished ${result.unfinished}, by status ${JSON.stringify(result.byStatus)}`,
    }),
    fact(scenario, 'refusals without Retry-After', '', result.retryAfter.without, {
      limit: { op: '<=', value: 0 },
      note: `from ${result.retryAfter.minS} to ${result.retryAfter.maxS} s`,
    }),
    fact(scenario, `most memory after ${atS} s, of its level then`, 'x', late / early, {
      limit: { op: '<=', value: 1.3 },
      note: shown.map((s) => `${s.atS.toFixed(0)} s: ${s.mib.toFixed(0)}`).join(', '),
    }),
    fact(
      scenario,
      'peak memory, over what the same calls take without overload',
      'MiB',
      peak - levelMiB,
      {
        limit: { op: '<=', value: BUDGET_MIB },
        note: `idle ${idleMiB.toFixed(0)} MiB, without overload ${levelMiB.toFixed(0)}, peak ${peak.toFixed(0)}; budget for bodies ${BUDGET_MIB} MiB`,
      },
    ),
  ];
}

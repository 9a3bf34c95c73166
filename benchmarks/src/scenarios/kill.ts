/** Pods are killed with SIGKILL, one a second, under load: what it costs and how fast they are replaced. */
import { setTimeout as sleep } from 'node:timers/promises';
import { invokePath, type SimmerServer, startServer } from '../baselines/simmer.ts';
import { eventually } from '../child.ts';
import { type Fact, fact } from '../results.ts';
import { quantile } from '../stats.ts';
import type { Context, Scenario } from './context.ts';

const PODS = 4;
const CONNECTIONS = 64;
const CONCURRENCY = 32;
const LEVEL_S = 8;
const KILLING_S = 60;
const EVERY_MS = 1_000;
const POLL_MS = 20;
/** The load goes on this long after the last kill; the level without kills is taken before and after them. */
const TAIL_S = 9;
/** The first part of either is left out: warm-up, and the last kill's pod. */
const SKIPPED_S = 2;

/** kill -9 of one of four pods every second for a minute, under 64 connections. */
export const kill: Scenario = {
  name: 'kill',
  inQuick: false,
  async run(context) {
    const server = await startServer([
      {
        name: 'victim',
        handler: 'sleep10',
        spec: {
          concurrency: CONCURRENCY,
          minReplicas: PODS,
          maxReplicas: PODS,
          queue: { maxLength: 1_000 },
        },
      },
    ]);
    try {
      return await measure(context, server);
    } finally {
      await server.stop();
    }
  },
};

/** Process ids of the pods that take work. */
async function ready(server: SimmerServer): Promise<number[]> {
  const pods = await server.pods('victim');
  return pods.filter((p) => p.state === 'idle' || p.state === 'busy').map((p) => p.pid);
}

async function measure(context: Context, server: SimmerServer): Promise<Fact[]> {
  context.log(`kill -9 of a pod every second for ${KILLING_S} s`);
  const loading = context.generator.run({
    port: server.port,
    method: 'POST',
    paths: [invokePath('victim')],
    bodyBytes: 256,
    warmupMs: 1_000,
    durationMs: (LEVEL_S + KILLING_S + TAIL_S - 1) * 1_000,
    mode: { loop: 'closed', connections: CONNECTIONS },
  });
  const start = performance.now();
  await sleep(LEVEL_S * 1_000);
  const recoveries: number[] = [];
  const killed = new Set<number>();
  while (performance.now() - start < (LEVEL_S + KILLING_S) * 1_000) {
    const pids = await ready(server);
    const victim = pids[killed.size % pids.length];
    if (victim === undefined) throw new Error('no pod to kill');
    const at = performance.now();
    killed.add(victim);
    process.kill(victim, 'SIGKILL');
    await eventually(
      'the pool is back at its minimum',
      async () => {
        const left = (await ready(server)).filter((pid) => !killed.has(pid));
        return left.length >= PODS || undefined;
      },
      30_000,
      POLL_MS,
    );
    recoveries.push(performance.now() - at);
    await sleep(Math.max(0, EVERY_MS - (performance.now() - at)));
  }
  const result = await loading;

  const perSecond = result.okBySecond;
  const rate = (from: number, to: number) => {
    const part = perSecond.slice(from, to);
    return part.reduce((a, b) => a + b, 0) / part.length;
  };
  const killsEnd = LEVEL_S + KILLING_S;
  const before = rate(SKIPPED_S, LEVEL_S);
  const after = rate(killsEnd + SKIPPED_S, killsEnd + TAIL_S - 1);
  const during = rate(LEVEL_S, killsEnd);
  const ok = result.byStatus['200'] ?? 0;
  const lost = result.byCode['pod_lost'] ?? 0;
  const failed = result.answered - ok;
  const scenario = `kill -9 of a pod a second, ${PODS} pods, ${CONNECTIONS} connections`;
  return [
    fact(scenario, 'requests without an answer', '', result.sent - result.answered, {
      limit: { op: '<=', value: 0 },
      note: `${result.sent} sent; errors ${JSON.stringify(result.errors)}`,
    }),
    fact(scenario, 'failures for each kill', '', failed / killed.size, {
      limit: { op: '<=', value: CONCURRENCY },
      note: `${failed} in ${killed.size} kills; concurrency ${CONCURRENCY}`,
    }),
    fact(scenario, 'failures that are not pod_lost', '', failed - lost, {
      limit: { op: '<=', value: 0 },
      note: JSON.stringify(result.byCode),
    }),
    fact(scenario, 'goodput, of its level before and after', 'x', (2 * during) / (before + after), {
      limit: { op: '>=', value: 0.9 },
      note: `${before.toFixed(0)} a second before, ${during.toFixed(0)} during, ${after.toFixed(0)} after`,
    }),
    fact(
      scenario,
      'longest until the pool was back at its minimum',
      'ms',
      Math.max(...recoveries),
      {
        limit: { op: '<=', value: 2_000 },
        note: `median ${quantile(recoveries, 0.5).toFixed(0)} ms`,
      },
    ),
  ];
}

/** What a steady control plane writes to the API server while its functions are called. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Installation } from '../../../k8s/e2e/support/installation.ts';
import { apply, kubectl } from '../../../k8s/e2e/support/kubectl.ts';
import { Generator } from '../../dist/load/generator-process.js';
import { fact } from '../results.ts';
import { type ClusterScenario, call, ECHO, eventually, fn, invokePath } from './context.ts';

const WANTED_PER_S = 2;
const RATE_PER_S = 500;
const NAMES = ['writes-a', 'writes-b', 'writes-c'] as const;
/** Statuses of the new functions are written by then. */
const SETTLE_MS = 10_000;
const SECOND_MS = 1_000;

/** Writes a second. */
export const writes: ClusterScenario = {
  name: 'writes',
  async run(context) {
    const simmer = await context.simmer();
    const durationMs = context.quick ? 10_000 : 60_000;
    const generator = new Generator();
    try {
      for (const name of NAMES) {
        await apply(
          simmer.tenant,
          fn(name, { source: { inline: ECHO }, concurrency: 10, minReplicas: 1, maxReplicas: 2 }),
        );
      }
      for (const name of NAMES) {
        await eventually(`${name} answers`, async () =>
          call(simmer, name, {}).then(
            ({ status }) => status === 200 || undefined,
            () => undefined,
          ),
        );
      }
      const load = (ms: number) =>
        generator.run({
          port: Number(new URL(simmer.address).port),
          method: 'POST',
          paths: NAMES.map((name) => invokePath(simmer, name)),
          bodyBytes: 256,
          warmupMs: 0,
          durationMs: ms,
          mode: { loop: 'open', ratePerS: RATE_PER_S, maxConnections: 64 },
        });
      await load(SETTLE_MS);
      const before = await written(simmer);
      const from = performance.now();
      const result = await load(durationMs);
      const under = ((await written(simmer)) - before) / ((performance.now() - from) / SECOND_MS);
      await delay(SETTLE_MS);
      const idleFrom = await written(simmer);
      const idleAt = performance.now();
      await delay(context.quick ? SETTLE_MS : 2 * SETTLE_MS);
      const idle =
        ((await written(simmer)) - idleFrom) / ((performance.now() - idleAt) / SECOND_MS);
      const scenario = 'writes to the API server';
      const calls = `${RATE_PER_S} calls a second to ${NAMES.length} functions, ${durationMs / SECOND_MS} s`;
      return [
        fact(scenario, 'under load', '/s', under, {
          limit: { op: '<=', value: WANTED_PER_S },
          note: `${calls}; answers ${JSON.stringify(result.byStatus)}`,
        }),
        fact(scenario, 'idle', '/s', idle, { note: 'renewals of the Lease among them' }),
      ];
    } finally {
      generator.close();
      await kubectl('delete', 'functions.simmer.dev', '-n', simmer.tenant, ...NAMES);
    }
  },
};

async function written({ system }: Installation): Promise<number> {
  const path = `/api/v1/namespaces/${system}/services/simmer-management:8081/proxy/metrics`;
  const text = await kubectl('get', '--raw', path);
  const value = /^simmer_kubernetes_writes_total (\d+)/m.exec(text)?.[1];
  if (value === undefined) throw new Error('no simmer_kubernetes_writes_total');
  return Number(value);
}

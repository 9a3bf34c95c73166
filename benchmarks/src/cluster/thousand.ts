/** A thousand functions that nobody calls: until all have a status, and until all are gone again. */
import { FUNCTIONS, type KubeObject } from '../../../k8s/src/api/api.ts';
import { fact } from '../results.ts';
import { type ClusterScenario, ECHO, eventually } from './context.ts';

const COUNT = 1_000;
const QUICK_COUNT = 100;
/** Creations under way at once. */
const WRITERS = 8;
const WANTED_MS = 60_000;
const POLL_MS = 500;
const GIVE_UP_MS = 240_000;

type Fn = KubeObject & { status?: { conditions?: { type: string; status: string }[] } };

/** A thousand Function objects. */
export const thousand: ClusterScenario = {
  name: 'thousand',
  async run(context) {
    const { api } = context;
    const { tenant } = await context.simmer();
    const count = context.quick ? QUICK_COUNT : COUNT;
    const names = Array.from({ length: count }, (_, i) => `many-${i}`);
    const ours = async () => {
      const { items } = await api.list<Fn>(FUNCTIONS, tenant, { labelSelector: 'simmer-bench' });
      return items;
    };
    const from = performance.now();
    let created = 0;
    let reconciled = 0;
    try {
      await each(names, (name) =>
        api.create(FUNCTIONS, tenant, {
          metadata: { name, labels: { 'simmer-bench': 'many' } },
          spec: { source: { inline: ECHO }, minReplicas: 0 },
        } as KubeObject),
      );
      created = performance.now() - from;
      context.log(`${count} functions created in ${created.toFixed(0)} ms`);
      await eventually(
        `${count} functions have a status`,
        async () => {
          const done = (await ours()).filter(({ status }) =>
            status?.conditions?.some((c) => c.type === 'Ready'),
          );
          return done.length === count;
        },
        POLL_MS,
        GIVE_UP_MS,
      );
      reconciled = performance.now() - from;
      context.log(`all have a status after ${reconciled.toFixed(0)} ms`);
    } finally {
      await each(names, (name) => api.remove(FUNCTIONS, tenant, name));
    }
    const removed = performance.now();
    await eventually('all are gone', async () => (await ours()).length === 0, POLL_MS, GIVE_UP_MS);
    const scenario = `${count} Function objects, minReplicas 0`;
    return [
      fact(scenario, 'until all have a status', 'ms', reconciled, {
        limit: { op: '<=', value: WANTED_MS },
        note: `from the first creation; the creations took ${created.toFixed(0)} ms`,
      }),
      fact(scenario, 'until all are gone', 'ms', performance.now() - removed, {
        note: 'from the last deletion; the control plane lets go of each',
      }),
    ];
  },
};

async function each(names: readonly string[], act: (name: string) => Promise<unknown>) {
  let next = 0;
  const writer = async () => {
    while (next < names.length) await act(names[next++] as string);
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
}

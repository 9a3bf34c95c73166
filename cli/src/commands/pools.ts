/** `simmer pools`: the pods that are warm. */
import { Command } from 'commander';
import { json, list, table } from '../output.ts';
import type { Context } from '../program.ts';

interface PodView {
  readonly id: string;
  readonly label: string | null;
  readonly kind: string;
  readonly state: string;
  readonly inFlight: number;
  readonly ageMs: number;
}

interface PoolView {
  readonly urlName: string;
  readonly kind: string;
  readonly backend: string;
  readonly ready: number;
  readonly busy: number;
  readonly launching: number;
  readonly jobs: number;
  readonly minReplicas: number;
  readonly maxReplicas: number;
  readonly misses: Readonly<Record<string, number>>;
  readonly lastFailure?: { readonly message: string };
  readonly pods: readonly PodView[];
}

const sum = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((a, b) => a + b, 0);

export function poolCommands(context: () => Context): Command {
  const group = new Command('pools').description('the pods that are warm');
  group
    .command('list', { isDefault: true })
    .description('all pools')
    .action(async () => {
      const { server, output } = context();
      const answer = (await server.call('/v1/pools')) as { pools: readonly PoolView[] };
      if (output.json) {
        output.out(json(answer));
        return;
      }
      const rows = answer.pools.map((pool) => [
        pool.urlName,
        pool.kind,
        `${pool.minReplicas}-${pool.maxReplicas}`,
        pool.ready,
        pool.busy,
        pool.launching,
        pool.jobs,
        sum(pool.misses),
        pool.lastFailure?.message ?? '',
      ]);
      const columns = ['NAME', 'KIND', 'REPLICAS', 'READY', 'BUSY', 'LAUNCHING', 'JOBS', 'MISSES'];
      output.out(table([...columns, 'FAILURE'], rows));
    });
  group
    .command('get')
    .description('one pool, with its pods')
    .argument('<name>')
    .option('--kind <kind>', 'Function or WarmPool, where both have the name')
    .action(async (name: string, options: { kind?: string }) => {
      const { server, output } = context();
      const path = `/v1/pools/${encodeURIComponent(name)}`;
      const pool = (await server.call(path, { query: { ...options } })) as PoolView;
      if (output.json) {
        output.out(json(pool));
        return;
      }
      const { urlName, kind, backend, ready, busy, minReplicas, maxReplicas, misses } = pool;
      const failure = pool.lastFailure?.message;
      const replicas = `${minReplicas}-${maxReplicas}`;
      output.out(list({ name: urlName, kind, backend, replicas, ready, busy, misses, failure }));
      if (pool.pods.length === 0) return;
      const rows = pool.pods.map((pod) => [
        pod.id,
        pod.label ?? '',
        pod.kind,
        pod.state,
        pod.inFlight,
        `${Math.round(pod.ageMs / 1_000)}s`,
      ]);
      output.out(`\n${table(['POD', 'LABEL', 'KIND', 'STATE', 'RUNNING', 'AGE'], rows)}`);
    });
  return group;
}

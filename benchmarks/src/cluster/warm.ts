/**
 * A warm call in the cluster, over a NodePort, beside the same image with its process backend in a pod behind a NodePort
 * of its own; and beside an installation whose pods connect without TLS.
 */
import { type Installation, image, install } from '../../../k8s/e2e/support/installation.ts';
import { apply, get, kubectl } from '../../../k8s/e2e/support/kubectl.ts';
import { Generator } from '../../dist/load/generator-process.js';
import type { LoadResult } from '../../dist/load/recorder.js';
import type { LoadSpec } from '../../dist/load/spec.js';
import { type Finding, fact, type Limit } from '../results.ts';
import { ratios, spread } from '../stats.ts';
import {
  type ClusterScenario,
  call,
  ECHO,
  eventually,
  fn,
  invokePath,
  ownAddress,
} from './context.ts';

const OF_PROCESS: Limit = { op: '<=', value: 1.2 };
const ROUNDS = 9;
const QUICK_ROUNDS = 3;
const BODY_BYTES = 256;
const NODE = process.env['SIMMER_TEST_NODE'] ?? '127.0.0.1';

type Place = 'tls' | 'plain' | 'process';
const PLACES: readonly Place[] = ['tls', 'process', 'plain'];
type Address = Pick<Installation, 'address' | 'name'>;

const echo = fn('echo', {
  source: { inline: ECHO },
  concurrency: 100,
  minReplicas: 1,
  maxReplicas: 1,
  queue: { maxLength: 1_000 },
});

/** The warm path, TLS beside plain, pods beside processes. */
export const warm: ClusterScenario = {
  name: 'warm',
  async run(context) {
    const generator = new Generator();
    let plain: Installation | undefined;
    try {
      const tls = await context.simmer();
      const beside = await startProcessBackend(tls);
      plain = await install({
        env: {
          SIMMER_POD_PLAIN: 'true',
          SIMMER_POD_ADDRESS: 'ws://$(POD_IP):8082',
          SIMMER_POD_SERVICE: 'ws://simmer-pods.$(SIMMER_INSTANCE_NAMESPACE).svc:8082',
        },
      });
      for (const { tenant } of [tls, plain]) await apply(tenant, echo);
      const places: Record<Place, Address> = { tls, plain, process: beside };
      for (const place of PLACES) await answers(places[place]);
      // Not that of those who waited for the places to answer.
      const localAddress = ownAddress();
      const drive = (place: Place, load: Omit<LoadSpec, 'port' | 'method' | 'paths'>) =>
        generator.run({
          ...load,
          port: Number(new URL(places[place].address).port),
          localAddress,
          method: 'POST',
          paths: [invokePath(places[place], 'echo')],
        });
      const rounds = context.quick ? QUICK_ROUNDS : ROUNDS;
      const durationMs = context.quick ? 500 : 2_000;
      for (const place of PLACES) {
        await drive(place, shape(32, 0, context.quick ? 500 : 3_000));
      }
      const findings: Finding[] = [];
      for (const connections of [1, 64]) {
        context.log(`warm, ${connections} connections, ${rounds} rounds`);
        const found: Record<Place, LoadResult[]> = { tls: [], plain: [], process: [] };
        for (let round = 0; round < rounds; round++) {
          for (const place of PLACES) {
            found[place].push(await drive(place, shape(connections, 200, durationMs)));
          }
        }
        findings.push(...judge(connections, found));
      }
      return findings;
    } finally {
      generator.close();
      await plain?.remove();
      const { tenant } = await context.simmer();
      await kubectl('delete', 'functions.simmer.dev/echo', '-n', tenant, '--ignore-not-found');
      await kubectl('delete', 'pod/bench-process', '-n', tenant, '--ignore-not-found');
    }
  },
};

const shape = (connections: number, warmupMs: number, durationMs: number) => ({
  bodyBytes: BODY_BYTES,
  warmupMs,
  durationMs,
  mode: { loop: 'closed', connections } as const,
});

function judge(connections: number, found: Record<Place, LoadResult[]>): Finding[] {
  const scenario = `warm, ${connections} connection${connections === 1 ? '' : 's'}, 256 B`;
  const failed = failuresOf(found);
  const of = (what: string, unit: 'ms' | '/s', value: (r: LoadResult) => number, limit?: Limit) => {
    const list = (place: Place) => found[place].map(value);
    const [ours, plain, process] = [list('tls'), list('plain'), list('process')];
    const figures = (values: readonly number[]) =>
      `${spread(values).median.toPrecision(3)} ${unit}`;
    const ratio = (text: string, a: number[], b: number[], judged?: Limit) => {
      const s = spread(ratios(a, b));
      return fact(scenario, `${what}, ${text}`, 'x', s.median, {
        ...(judged === undefined ? {} : { limit: judged }),
        note: `quartiles ${s.q1.toFixed(2)} to ${s.q3.toFixed(2)}; ${figures(a)} and ${figures(b)}`,
      });
    };
    return [
      fact(scenario, what, unit, spread(ours).median),
      ratio('of the process backend', ours, process, limit),
      ratio('with TLS, of without', ours, plain),
      ratio('without TLS, of the process backend', plain, process),
    ];
  };
  return [
    ...(connections === 1
      ? [...of('p50', 'ms', (r) => r.ok.p50Ms, OF_PROCESS), ...of('p99', 'ms', (r) => r.ok.p99Ms)]
      : of('throughput', '/s', (r) => r.throughput)),
    fact(scenario, 'failures', '', failed.count, {
      limit: { op: '<=', value: 0 },
      ...(failed.count > 0 && { note: failed.kinds }),
    }),
  ];
}

/** What was not answered 200: how many, and what became of them, by place. */
function failuresOf(found: Record<Place, LoadResult[]>): { count: number; kinds: string } {
  const kinds: Record<string, number> = {};
  let count = 0;
  for (const place of PLACES) {
    for (const { errors, byStatus, unfinished } of found[place]) {
      const { '200': _, ...others } = byStatus;
      for (const [kind, n] of Object.entries({ ...errors, ...others, unfinished })) {
        if (n === 0) continue;
        count += n;
        kinds[`${place}: ${kind}`] = (kinds[`${place}: ${kind}`] ?? 0) + n;
      }
    }
  }
  return { count, kinds: JSON.stringify(kinds) };
}

/** The control plane's image with the process backend, in a pod; it goes with the namespace. */
async function startProcessBackend({ tenant }: Installation): Promise<Address> {
  const name = 'bench-process';
  const labels = { app: name };
  await apply(
    tenant,
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name },
      // JSON is YAML.
      data: { 'echo.yaml': JSON.stringify(echo) },
    },
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, labels },
      spec: {
        automountServiceAccountToken: false,
        enableServiceLinks: false,
        containers: [
          {
            name: 'simmer',
            image: image('control-plane'),
            args: ['--functions', '/functions', '--host', '0.0.0.0', '--allow-anonymous'],
            volumeMounts: [{ name: 'functions', mountPath: '/functions' }],
          },
        ],
        volumes: [{ name: 'functions', configMap: { name } }],
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name },
      spec: { type: 'NodePort', selector: labels, ports: [{ port: 8080 }] },
    },
  );
  await kubectl('wait', '-n', tenant, '--for=condition=Ready', `pod/${name}`, '--timeout=60s');
  const service = await get(tenant, 'service', name);
  return {
    address: `http://${NODE}:${service['spec'].ports[0].nodePort}`,
    name: (functionName) => functionName,
  };
}

const answers = (place: Address): Promise<true> =>
  eventually(`${place.address} answers`, () =>
    call(place, 'echo', {}).then(
      ({ status }) => status === 200 || undefined,
      () => undefined,
    ),
  ) as Promise<true>;

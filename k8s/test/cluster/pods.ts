/** What the tests of the backend on a real cluster share. Their pods run a few lines of Node on the image below. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { BackendEvent, LaunchRequest } from '@simmer/protocol/backend';
import type { Test } from 'tap';
import { KubernetesBackend, type KubernetesBackendOptions } from '../../src/backend/backend.ts';
import { specOf } from '../backend-fixtures.ts';
import { Api, keptLog, ownNamespace, until } from './cluster.ts';

/** With Node, and run as root where nothing is said: what our images are made from. */
export const IMAGE = 'docker.io/library/node:22-bookworm-slim';

/** Does what its function's name says. */
const SCRIPT = `
const name = process.env.SIMMER_FUNCTION.split('/')[1];
const forever = setInterval(() => {}, 1000);
if (name === 'stubborn') process.on('SIGTERM', () => {});
else process.on('SIGTERM', () => setTimeout(() => process.exit(0), name === 'slow' ? 1500 : 0));
if (name === 'crashes') throw new Error('no database');
if (name === 'exits') { console.error('giving up'); process.exit(3); }
if (name === 'tells-environment') console.log(JSON.stringify(process.env));
console.log('up');
`;

/** A spec of a function of the image above. */
export const nodeSpec = (more: Record<string, unknown> = {}) => {
  const { template, ...rest } = more;
  return specOf({
    image: IMAGE,
    template: {
      command: ['node', '-e', SCRIPT],
      runAsUser: 1000,
      ...(template as object | undefined),
    },
    ...rest,
  });
};

let launched = 0;

export function requestIn(
  namespace: string,
  name: string,
  more: Partial<LaunchRequest> = {},
): LaunchRequest {
  return {
    podId: `${name}-${++launched}`,
    kind: 'pool',
    functionKey: `${namespace}/${name}`,
    spec: nodeSpec(),
    revision: 'r1',
    baseDir: '',
    credential: 'credential',
    address: 'ws://10.244.0.1:1',
    ...more,
  };
}

/** A backend of its own over a namespace; what it told, in order. */
export function makeBackend(
  t: Test,
  api: Api,
  namespace: string,
  options: Partial<KubernetesBackendOptions> = {},
) {
  const log = keptLog();
  const backend = new KubernetesBackend({
    api,
    namespaces: [namespace],
    runtimeImage: IMAGE,
    caPem: '',
    log,
    functionUid: () => undefined,
    maxTimeoutMs: 30_000,
    ...options,
  });
  const events: BackendEvent[] = [];
  backend.onEvent((event) => void events.push(event));
  t.teardown(() => backend.close());
  const of = (podId: string) => events.filter((e) => e.podId === podId);
  const typesOf = (podId: string) => of(podId).map((e) => e.type);
  async function told<Type extends BackendEvent['type']>(podId: string, type: Type) {
    const find = () => of(podId).find((e) => e.type === type);
    await until(`${podId} is told to be ${type} (so far: ${typesOf(podId)})`, find);
    return find() as BackendEvent & { type: Type };
  }
  return { backend, log, events, of, typesOf, told };
}

export async function setUp(t: Test, options: Partial<KubernetesBackendOptions> = {}) {
  const api = Api.load();
  const namespace = await ownNamespace(t, api);
  return { api, namespace, ...makeBackend(t, api, namespace, options) };
}

export const kubectl = async (...args: string[]) =>
  (await promisify(execFile)('kubectl', args)).stdout;

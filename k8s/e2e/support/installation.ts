/**
 * Simmer, installed from k8s/manifests in a namespace of its own, serving one other namespace. Both are removed at the
 * end, with what is in them.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { get, kubectl, until } from './kubectl.ts';

const MANIFESTS = fileURLToPath(new URL('../../manifests', import.meta.url));
const IMAGES = process.env['SIMMER_IMAGE_PREFIX'] ?? 'localhost/simmer';
const TAG = process.env['SIMMER_IMAGE_TAG'] ?? 'dev';
/** Where NodePorts answer. */
const NODE = process.env['SIMMER_TEST_NODE'] ?? '127.0.0.1';

/** As the Deployment has them. Here too, and first: an environment may name with `$(...)` only what stands before it. */
const FROM_FIELDS = [
  { name: 'POD_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
  {
    name: 'SIMMER_INSTANCE_NAMESPACE',
    valueFrom: { fieldRef: { fieldPath: 'metadata.namespace' } },
  },
];

export const image = (name: string): string => `${IMAGES}/${name}:${TAG}`;

export interface Installation {
  /** Of the control plane. */
  readonly system: string;
  /** Of the functions. */
  readonly tenant: string;
  /** Another one of functions; there only where it was asked for. */
  readonly second: string;
  /** `http://host:port` of the Service for clients. */
  readonly address: string;
  /** How a URL names a function of `tenant`. */
  name(functionName: string): string;
  /** Headers that show its first key, as it is now; none where it asks nobody who calls. */
  credentials(): Promise<Record<string, string>>;
  /** Removes everything. */
  remove(): Promise<void>;
}

interface Options {
  readonly replicas?: number;
  /** Serve a second namespace, too. */
  readonly second?: boolean;
  /** Callers need API keys, as the manifests have it. Without, everybody may call. */
  readonly keys?: boolean;
  /** More of the Deployment's environment. */
  readonly env?: Readonly<Record<string, string>>;
}

export function newNames(): { system: string; tenant: string } {
  const suffix = randomBytes(3).toString('hex');
  return { system: `simmer-test-${suffix}`, tenant: `simmer-test-${suffix}-fn` };
}

/** Installs and waits until the Deployment is rolled out and a leader serves. */
export async function install(options: Options = {}): Promise<Installation> {
  const { system, tenant } = newNames();
  const second = `${tenant}-2`;
  const tenants = options.second ? [tenant, second] : [tenant];
  const folder = mkdtempSync(join(tmpdir(), 'simmer-e2e-'));
  const remove = async () => {
    rmSync(folder, { recursive: true, force: true });
    await removeNamespaces(system, tenants);
  };
  try {
    // What a user would write to install under other names.
    for (const name of tenants) {
      await kubectl('create', 'namespace', name);
      overlay(join(folder, name), 'tenant', name, [
        {
          target: { kind: 'RoleBinding' },
          patch: [{ op: 'replace', path: '/subjects/0/namespace', value: system }],
        },
      ]);
    }
    const env = {
      SIMMER_NAMESPACES: tenants.join(','),
      SIMMER_RUNTIME_IMAGE: image('runtime'),
      ...(options.keys !== true && { SIMMER_API_KEYS_SECRET: '', SIMMER_ALLOW_ANONYMOUS: 'true' }),
      ...options.env,
    };
    overlay(join(folder, 'control-plane'), 'control-plane', system, [
      {
        target: { kind: 'Deployment' },
        patch: {
          apiVersion: 'apps/v1',
          kind: 'Deployment',
          metadata: { name: 'simmer' },
          spec: {
            replicas: options.replicas ?? 1,
            template: {
              spec: {
                containers: [
                  {
                    name: 'simmer',
                    image: image('control-plane'),
                    env: [
                      ...FROM_FIELDS,
                      ...Object.entries(env).map(([name, value]) => ({ name, value })),
                    ],
                  },
                ],
              },
            },
          },
        },
      },
      {
        target: { kind: 'Service', name: 'simmer' },
        patch: [{ op: 'add', path: '/spec/type', value: 'NodePort' }],
      },
    ]);
    for (const part of [...tenants, 'control-plane']) {
      await kubectl('apply', '-k', join(folder, part));
    }
    await kubectl('rollout', 'status', '-n', system, 'deployment/simmer', '--timeout=120s');
    const service = await get(system, 'service', 'simmer');
    const address = `http://${NODE}:${service['spec'].ports[0].nodePort}`;
    const credentials = options.keys === true ? () => firstKeyOf(system) : async () => ({});
    await until(`${address} answers`, async () => {
      const headers = await credentials();
      const answer = await fetch(`${address}/v1/functions`, { headers }).catch(() => undefined);
      return answer?.ok;
    });
    const name = (functionName: string) => `${functionName}.${tenant}`;
    return { system, tenant, second, address, name, credentials, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Headers that show the key that its first start has made; none where there is none yet. */
export async function firstKeyOf(system: string): Promise<Record<string, string>> {
  const name = ['get', 'secret', 'simmer-api-keys-first-key', '-n', system, '--ignore-not-found'];
  const stored = await kubectl(...name, '-o', 'jsonpath={.data.key}');
  if (stored === '') return {};
  return { 'x-api-key': Buffer.from(stored, 'base64').toString() };
}

/** Functions first, while a control plane is there to let go of them. */
async function removeNamespaces(system: string, tenants: readonly string[]): Promise<void> {
  const kinds = 'functions.simmer.dev,warmpools.simmer.dev';
  const gone = ['--ignore-not-found', '--wait=true', '--timeout=60s'];
  try {
    for (const tenant of tenants) await kubectl('delete', kinds, '--all', '-n', tenant, ...gone);
  } finally {
    await kubectl('delete', 'namespace', ...tenants, system, '--ignore-not-found', '--wait=false');
  }
}

/** A kustomization on top of k8s/manifests/`base`. */
function overlay(folder: string, base: string, namespace: string, patches: object[]): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    join(folder, 'kustomization.yaml'),
    JSON.stringify({
      namespace,
      resources: [relative(folder, join(MANIFESTS, base))],
      patches: patches.map((p) => ({
        ...p,
        patch: JSON.stringify((p as { patch: object }).patch),
      })),
    }),
  );
}

/** What the tests on a real cluster share: whether there is one, a namespace of their own, and waiting for conditions. */
import { randomBytes } from 'node:crypto';
import type { Test } from 'tap';
import {
  Api,
  CONFIG_MAPS,
  CUSTOM_RESOURCE_DEFINITIONS,
  type KubeLog,
  type KubeObject,
  NAMESPACES,
  type Resource,
  SIMMER_GROUP,
  SIMMER_VERSION,
} from '../../src/api/api.ts';

/** `t.plan(0, NO_CLUSTER)` where it is a string. */
export const NO_CLUSTER: string | undefined = process.env['KUBECONFIG']
  ? undefined
  : 'needs a Kubernetes cluster: $KUBECONFIG is not set';

/** A safety net; conditions hold much sooner. */
const LIMIT_MS = 30_000;

/** Waits until `condition` gives something true, and gives that. @throws with `what` after a generous limit */
export async function until<T>(
  what: string,
  condition: () => T | undefined | false | Promise<T | undefined | false>,
  limitMs = LIMIT_MS,
): Promise<T> {
  const end = performance.now() + limitMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > end) throw new Error(`waited ${limitMs} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A namespace that is removed with the test. */
export async function ownNamespace(t: Test, api: Api): Promise<string> {
  const name = `simmer-test-${randomBytes(4).toString('hex')}`;
  await api.create(NAMESPACES, '', { metadata: { name } });
  t.teardown(async () => {
    await api.remove(NAMESPACES, '', name);
    api.close();
  });
  return name;
}

/** A CRD for the kind that takes anything, where the real one is not installed. */
export async function ensureCrd(api: Api, resource: Resource): Promise<void> {
  const name = `${resource.plural}.${SIMMER_GROUP}`;
  if (await api.find(CUSTOM_RESOURCE_DEFINITIONS, '', name)) return;
  const open = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  const crd: KubeObject = {
    metadata: { name },
    spec: {
      group: SIMMER_GROUP,
      scope: 'Namespaced',
      names: {
        plural: resource.plural,
        singular: resource.kind.toLowerCase(),
        kind: resource.kind,
      },
      versions: [
        {
          name: SIMMER_VERSION,
          served: true,
          storage: true,
          schema: { openAPIV3Schema: { ...open, properties: { spec: open, status: open } } },
          subresources: { status: {} },
        },
      ],
    },
  };
  await api.create(CUSTOM_RESOURCE_DEFINITIONS, '', crd).catch((error) => {
    if (error.reason !== 'AlreadyExists') throw error;
  });
  await until(`the API server to serve ${name}`, () =>
    api.list(resource, 'default').then(
      () => true,
      () => false,
    ),
  );
}

export function configMap(name: string, data: Record<string, string>): KubeObject {
  return { metadata: { name }, data };
}

export { Api, CONFIG_MAPS };

export interface Line {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
}

/** A log that keeps its lines. */
export function keptLog(): KubeLog & { readonly lines: Line[] } {
  const lines: Line[] = [];
  const at = (level: Line['level']) => (_: object, message: string) => {
    lines.push({ level, message });
  };
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** What the tests on a real cluster share: whether there is one, a namespace of their own, and waiting for conditions. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Test } from 'tap';
import { parse } from 'yaml';
import {
  Api,
  CONFIG_MAPS,
  CUSTOM_RESOURCE_DEFINITIONS,
  FUNCTIONS,
  type KubeObject,
  NAMESPACES,
  WARM_POOLS,
} from '../../src/api/api.ts';
import { until } from '../until.ts';

/** `t.plan(0, NO_CLUSTER)` where it is a string. */
export const NO_CLUSTER: string | undefined = process.env['KUBECONFIG']
  ? undefined
  : 'needs a Kubernetes cluster: $KUBECONFIG is not set';

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

/** Simmer's own CRDs, where they are not installed. */
export async function ensureCrds(api: Api): Promise<void> {
  const folder = new URL('../../manifests/crds/', import.meta.url);
  for (const { plural, group } of [FUNCTIONS, WARM_POOLS]) {
    const name = `${plural}.${group}`;
    if (await api.find(CUSTOM_RESOURCE_DEFINITIONS, '', name)) continue;
    const crd = parse(readFileSync(new URL(`${plural}.yaml`, folder), 'utf8')) as KubeObject;
    await api.create(CUSTOM_RESOURCE_DEFINITIONS, '', crd).catch((error) => {
      // Another test was first.
      if (error.reason !== 'AlreadyExists') throw error;
    });
  }
  await until('the API server to serve them', () =>
    Promise.all([api.list(FUNCTIONS, 'default'), api.list(WARM_POOLS, 'default')]).then(
      () => true,
      () => false,
    ),
  );
}

export function configMap(name: string, data: Record<string, string>): KubeObject {
  return { metadata: { name }, data };
}

export { keptLog, type Line } from '../fakes.ts';
export { until } from '../until.ts';
export { Api, CONFIG_MAPS };

/** A Function object; of a handler in an image where the spec says nothing else. */
export function fn(name: string, spec: object, metadata: object = {}): KubeObject {
  const code = 'source' in spec ? {} : { handler: 'handler.js' };
  return { metadata: { name, ...metadata }, spec: { ...code, ...spec } };
}

/** As a person who waits no longer: finalizers of what the test leaves are taken off, so that its namespace can go. */
export async function releaseFunctions(api: Api, namespace: string): Promise<void> {
  for (const { metadata } of (await api.list(FUNCTIONS, namespace)).items) {
    await api
      .patch(FUNCTIONS, namespace, metadata.name ?? '', { metadata: { finalizers: null } })
      .catch(() => {});
  }
}

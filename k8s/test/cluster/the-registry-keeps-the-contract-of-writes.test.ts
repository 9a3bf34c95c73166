import type { RegistrySnapshot } from '@simmer/protocol/registry';
import t, { type Test } from 'tap';
import {
  registryWriteContract,
  writeOf,
} from '../../../control-plane/test/control/registry-write-contract.ts';
import { FUNCTIONS } from '../../src/api/api.ts';
import { KubernetesRegistry } from '../../src/registry/registry.ts';
import {
  Api,
  ensureCrds,
  keptLog,
  NO_CLUSTER,
  ownNamespace,
  releaseFunctions,
  until,
} from './cluster.ts';

async function setUp(t: Test, mayWrite = () => true) {
  const api = Api.load();
  await ensureCrds(api);
  const namespace = await ownNamespace(t, api);
  const bundles = new Map<string, Uint8Array>();
  const registry = new KubernetesRegistry({
    ...{
      api,
      namespaces: [namespace],
      log: keptLog(),
      stockImage: 'stock:1',
      bundles: { get: (digest) => bundles.get(digest), prepare: async () => false },
      mayWrite,
    },
  });
  t.teardown(async () => {
    await registry.close();
    await releaseFunctions(api, namespace);
  });
  const snapshots: RegistrySnapshot[] = [];
  await registry.start((snapshot) => snapshots.push(snapshot));
  const last = () => snapshots.at(-1) as RegistrySnapshot;
  return { api, registry, namespace, last, bundles };
}

const inline = (text: string) => ({ source: { inline: text } });
const yes = () => true;

if (NO_CLUSTER) t.plan(0, NO_CLUSTER);
else {
  t.test('the contract of writes', (t) => registryWriteContract(t, (t) => setUp(t)));

  t.test('only what a manifest says is replaced', async (t) => {
    const { api, registry, namespace } = await setUp(t);
    const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration';
    await api.create(FUNCTIONS, namespace, {
      metadata: {
        name: 'a',
        annotations: { [lastApplied]: '{}', mine: '1' },
        finalizers: ['example.com/other'],
      },
      spec: inline('1'),
    });
    t.teardown(() => api.patch(FUNCTIONS, namespace, 'a', { metadata: { finalizers: null } }));
    await api.apply(
      FUNCTIONS,
      namespace,
      { metadata: { name: 'a' }, status: { queued: 3 } },
      { subresource: 'status' },
    );
    const { created } = await registry.put(writeOf(namespace, 'a', inline('2')));
    t.equal(created, false, 'it is replaced, though it was made a moment ago');
    const { metadata, spec, status } = (await api.get(FUNCTIONS, namespace, 'a')) as {
      metadata: { annotations?: object; labels?: object; finalizers?: string[] };
      spec?: unknown;
      status?: unknown;
    };
    t.strictSame(metadata.annotations, { [lastApplied]: '{}' });
    t.strictSame(metadata.labels, { team: 'a' });
    t.ok(metadata.finalizers?.includes('example.com/other'));
    t.match(spec, inline('2'));
    t.match(status, { queued: 3 });
  });

  t.test('what the API server says is told as one of our codes', async (t) => {
    const { api, registry, namespace } = await setUp(t);
    const labelled = writeOf(namespace, 'a', inline('1'));
    const labels = { team: 'no label has spaces' };
    const manifest = { ...labelled.manifest, metadata: { ...labelled.manifest.metadata, labels } };
    await t.rejects(registry.put({ ...labelled, manifest }), {
      code: 'invalid_manifest',
      message: /no label has spaces/,
      issues: [{ field: 'metadata.labels', reason: /no label has spaces/ }],
    });
    await t.rejects(registry.put(writeOf('elsewhere', 'a', inline('1'))), {
      code: 'invalid_manifest',
      issues: [{ field: 'metadata.namespace' }],
    });
    t.equal(await registry.remove('elsewhere/a', yes), false);

    const metadata = { name: 'held', finalizers: ['example.com/other'] };
    await api.create(FUNCTIONS, namespace, { metadata, spec: inline('1') });
    t.teardown(() => api.patch(FUNCTIONS, namespace, 'held', { metadata: { finalizers: null } }));
    await until('it is removed', () => registry.remove(`${namespace}/held`, yes));
    await t.rejects(registry.put(writeOf(namespace, 'held', inline('2'))), {
      code: 'write_conflict',
      message: /is being deleted/,
    });
    t.equal(await registry.remove(`${namespace}/held`, yes), false);
  });

  t.test('nothing is written while another may lead', async (t) => {
    const { registry, namespace } = await setUp(t, () => false);
    const refused = { code: 'registry_unavailable' };
    await t.rejects(registry.put(writeOf(namespace, 'a', inline('1'))), refused);
    await t.rejects(registry.remove(`${namespace}/a`, yes), refused);
  });

  t.test('code that is not there is told once the object is', async (t) => {
    const { registry, namespace } = await setUp(t);
    const source = { configMap: { name: 'nowhere', key: 'a.js' } };
    const written = await registry.put(writeOf(namespace, 'a', { handler: 'a.js', source }));
    const issues = await until('it is refused', () => {
      const taken = written.taken();
      return typeof taken !== 'boolean' && taken;
    });
    t.match(issues, [{ field: 'spec.source.configMap', reason: /no ConfigMap nowhere/ }]);
  });
}

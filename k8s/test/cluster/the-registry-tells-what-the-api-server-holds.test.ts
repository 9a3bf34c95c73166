import { NO_BUNDLES, type RegistrySnapshot } from '@simmer/protocol/registry';
import t from 'tap';
import { FUNCTIONS, SECRETS } from '../../src/api/api.ts';
import { KubernetesRegistry } from '../../src/registry/registry.ts';
import {
  Api,
  CONFIG_MAPS,
  configMap,
  ensureCrds,
  fn,
  keptLog,
  NO_CLUSTER,
  ownNamespace,
  releaseFunctions,
  until,
} from './cluster.ts';

const DRAIN = 'simmer.dev/drain';

async function served(t: import('tap').Test) {
  const api = Api.load();
  await ensureCrds(api);
  const namespace = await ownNamespace(t, api);
  const log = keptLog();
  const registry = new KubernetesRegistry({
    api,
    namespaces: [namespace],
    log,
    stockImage: 'stock:1',
    bundles: NO_BUNDLES,
  });
  t.teardown(async () => {
    await registry.close();
    await releaseFunctions(api, namespace);
  });
  const snapshots: RegistrySnapshot[] = [];
  const start = () => registry.start((snapshot) => snapshots.push(snapshot));
  const last = () => snapshots.at(-1) as RegistrySnapshot;
  const find = (name: string) => last().functions.find((f) => f.key === `${namespace}/${name}`);
  return { api, namespace, registry, snapshots, start, last, find, log };
}

if (NO_CLUSTER !== undefined) {
  t.plan(0, NO_CLUSTER);
} else {
  t.test('functions come, change and go; the listener hears only of differences', async (t) => {
    const { api, namespace, snapshots, start, last, find } = await served(t);
    const made = await api.create(FUNCTIONS, namespace, fn('a', { image: 'x:1' }));
    await start();
    t.equal(snapshots.length, 1);
    t.match(find('a'), { baseDir: '', uid: made.metadata.uid, revision: /^[0-9a-f]{16}$/ });
    t.match(find('a')?.manifest, { metadata: { name: 'a', namespace }, spec: { concurrency: 1 } });

    await api.create(FUNCTIONS, namespace, fn('b', { source: { inline: 'export default 1' } }));
    const b = await until('b', () => find('b'));
    t.match(b.source, { entry: 'handler.js', digest: /^[0-9a-f]{64}$/ });
    t.equal(Buffer.from(b.source?.bytes ?? []).toString(), 'export default 1');

    const before = find('a');
    await api.patch(FUNCTIONS, namespace, 'a', { spec: { maxReplicas: 7 } });
    await until('the new maximum', () => find('a')?.manifest.spec.maxReplicas === 7);
    t.equal(find('a')?.revision, before?.revision, 'running pods take it over');
    t.equal(find('b'), b, 'what did not change is the same object');

    const count = snapshots.length;
    const status = { metadata: { name: 'a' }, status: { queued: 3 } };
    await api.apply(FUNCTIONS, namespace, status, { subresource: 'status' });
    await api.patch(FUNCTIONS, namespace, 'a', { spec: { image: 'x:2' } });
    await until('the new image', () => find('a')?.manifest.spec.image === 'x:2');
    t.not(find('a')?.revision, before?.revision);
    t.equal(snapshots.length, count + 1, 'a status is none of its business');

    await api.remove(FUNCTIONS, namespace, 'b');
    await until('b to be gone', () => find('b') === undefined);
    t.equal(last().functions.length, 1);
  });

  t.test('a revision follows the contents of what is read', async (t) => {
    const { api, namespace, start, find } = await served(t);
    const stringData = { user: 'u' };
    await api.create(SECRETS, namespace, { metadata: { name: 's' }, stringData });
    await api.create(CONFIG_MAPS, namespace, configMap('all', { x: '1' }));
    await api.create(CONFIG_MAPS, namespace, configMap('code', { 'f.ts': 'export default 1' }));
    const secretKeyRef = { name: 's', key: 'user' };
    await api.create(
      FUNCTIONS,
      namespace,
      fn('a', {
        handler: 'f.ts',
        source: { configMap: { name: 'code', key: 'f.ts' } },
        env: [{ name: 'USER', valueFrom: { secretKeyRef } }],
        template: {
          envFrom: [{ configMapRef: { name: 'all' } }],
          volumes: [{ name: 'v', projected: { sources: [{ secret: { name: 'mounted' } }] } }],
        },
      }),
    );
    await start();
    const seen = [find('a')?.revision];
    const next = async (what: string) => {
      const before = seen.at(-1);
      seen.push(await until(what, () => find('a')?.revision !== before && find('a')?.revision));
    };
    await api.patch(SECRETS, namespace, 's', { stringData: { user: 'v' } });
    await next('another value of the key');
    await api.patch(CONFIG_MAPS, namespace, 'all', { data: { y: '1' } });
    await next('another key of the ConfigMap');
    await api.create(SECRETS, namespace, { metadata: { name: 'mounted' }, stringData: { k: '1' } });
    await next('the Secret that was absent');
    await api.patch(CONFIG_MAPS, namespace, 'code', { data: { 'f.ts': 'export default 2' } });
    await next('another code');
    t.equal(Buffer.from(find('a')?.source?.bytes ?? []).toString(), 'export default 2');
    t.equal(find('a')?.source?.entry, 'f.ts');
    t.equal(new Set(seen).size, 5);

    const again = new KubernetesRegistry({
      api,
      namespaces: [namespace],
      log: keptLog(),
      stockImage: 'stock:1',
      bundles: NO_BUNDLES,
    });
    t.teardown(() => again.close());
    let other: RegistrySnapshot | undefined;
    await again.start((snapshot) => {
      other = snapshot;
    });
    t.equal(other?.functions[0]?.revision, seen.at(-1), 'the same in another process');
  });

  t.test('a function whose code is missing is refused, and keeps what it was', async (t) => {
    const { api, namespace, registry, start, last, find } = await served(t);
    const source = { configMap: { name: 'code', key: 'f.js' } };
    await api.create(FUNCTIONS, namespace, fn('a', { source }));
    await start();
    t.match(last().refused, [
      {
        source: `Function ${namespace}/a`,
        issues: [{ field: 'spec.source.configMap', reason: 'there is no ConfigMap code' }],
      },
    ]);
    t.equal(find('a'), undefined);
    await api.create(CONFIG_MAPS, namespace, configMap('code', { 'f.js': '1' }));
    const valid = await until('a to be valid', () => find('a'));
    t.strictSame(last().refused, []);
    await api.remove(CONFIG_MAPS, namespace, 'code');
    await until('a to be refused', () => last().refused.length === 1);
    t.equal(find('a'), valid);
    t.match(registry.issues(`${namespace}/a`), [{ reason: /no ConfigMap/ }]);
  });

  t.test('a deleted function is held until its pods are gone', async (t) => {
    const { api, namespace, registry, start, last, find } = await served(t);
    await api.create(FUNCTIONS, namespace, fn('a', {}, { finalizers: ['example.com/other'] }));
    await start();
    const key = `${namespace}/a`;
    const finalizers = async () => (await api.find(FUNCTIONS, namespace, 'a'))?.metadata.finalizers;
    registry.finish(new Set());
    await until('the finalizer', async () => (await finalizers())?.includes(DRAIN));
    t.strictSame(await finalizers(), ['example.com/other', DRAIN]);
    await api.remove(FUNCTIONS, namespace, 'a');
    await until('a to be left out', () => find('a') === undefined);
    t.strictSame(last().functions, []);
    registry.finish(new Set([key]));
    t.ok((await finalizers())?.includes(DRAIN));
    await until('the finalizer to go', async () => {
      registry.finish(new Set());
      return !(await finalizers())?.includes(DRAIN);
    });
    t.strictSame(await finalizers(), ['example.com/other']);
  });

  t.test('what may not be read is named, and the rest is served', async (t) => {
    const { api: admin, namespace } = await served(t);
    const RBAC = 'rbac.authorization.k8s.io';
    const ROLES = { group: RBAC, version: 'v1', plural: 'roles', kind: 'Role' };
    const BINDINGS = { group: RBAC, version: 'v1', plural: 'rolebindings', kind: 'RoleBinding' };
    const rule = (apiGroup: string, resource: string) => ({
      apiGroups: [apiGroup],
      resources: [resource],
      verbs: ['get', 'list', 'watch'],
    });
    const rules = [rule('simmer.dev', 'functions'), rule('', 'configmaps')];
    await admin.create(ROLES, namespace, { metadata: { name: 'r' }, rules });
    await admin.create(BINDINGS, namespace, {
      metadata: { name: 'r' },
      roleRef: { apiGroup: RBAC, kind: 'Role', name: 'r' },
      subjects: [{ apiGroup: RBAC, kind: 'User', name: 'half' }],
    });
    const secretKeyRef = { name: 's', key: 'k' };
    await admin.create(FUNCTIONS, namespace, fn('plain', {}));
    const env = [{ name: 'K', valueFrom: { secretKeyRef } }];
    await admin.create(FUNCTIONS, namespace, fn('reads', { env }));

    const api = Api.load();
    Object.assign(api.config.getCurrentUser() ?? {}, { impersonateUser: 'half' });
    const log = keptLog();
    const registry = new KubernetesRegistry({
      api,
      namespaces: [namespace, 'default'],
      log,
      stockImage: '',
      bundles: NO_BUNDLES,
    });
    t.teardown(async () => {
      await registry.close();
      api.close();
    });
    let snapshot: RegistrySnapshot | undefined;
    await until('the role to be known', () =>
      api.list(FUNCTIONS, namespace).then(
        () => true,
        () => false,
      ),
    );
    await registry.start((s) => {
      snapshot = s;
    });
    t.strictSame(
      snapshot?.functions.map((f) => f.manifest.metadata.name),
      ['plain'],
    );
    t.match(
      snapshot?.refused[0]?.issues[0]?.reason,
      /reads Secret s: no permission to list secrets/,
    );
    const errors = log.lines.filter((line) => line.level === 'error').map((line) => line.message);
    t.ok(
      errors.some((m) => m.includes(`verb "list", resource "secrets", namespace "${namespace}"`)),
    );
    t.ok(errors.some((m) => m.includes('resource "functions.simmer.dev", namespace "default"')));
  });
}

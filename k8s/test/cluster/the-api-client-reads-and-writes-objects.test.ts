import t from 'tap';
import { Api, ApiError, type KubeObject, PODS, SECRETS } from '../../src/api/api.ts';
import { CONFIG_MAPS, configMap, NO_CLUSTER, ownNamespace, until } from './cluster.ts';

if (NO_CLUSTER !== undefined) {
  t.plan(0, NO_CLUSTER);
} else {
  t.test('objects are created, read, replaced, patched and removed', async (t) => {
    const api = Api.load();
    const namespace = await ownNamespace(t, api);
    const created = await api.create(CONFIG_MAPS, namespace, configMap('a', { x: '1' }));
    t.match(created, { kind: 'ConfigMap', data: { x: '1' }, metadata: { uid: /-/ } });
    t.match(await api.get(CONFIG_MAPS, namespace, 'a'), { data: { x: '1' } });
    t.equal(await api.find(CONFIG_MAPS, namespace, 'b'), undefined);

    const replaced = await api.replace(CONFIG_MAPS, namespace, {
      ...created,
      data: { x: '2' },
    });
    t.match(replaced, { data: { x: '2' } });
    const stale = api.replace(CONFIG_MAPS, namespace, { ...created, data: { x: '3' } });
    await t.rejects(stale, { code: 'refused', status: 409, reason: 'Conflict' });

    const patched = await api.patch(CONFIG_MAPS, namespace, 'a', { data: { x: null, y: '1' } });
    t.strictSame(patched['data'], { y: '1' });

    t.equal(await api.remove(CONFIG_MAPS, namespace, 'a', { uid: 'another' }), false);
    t.equal(
      await api.remove(CONFIG_MAPS, namespace, 'a', { uid: created.metadata.uid ?? '' }),
      true,
    );
    t.equal(await api.remove(CONFIG_MAPS, namespace, 'a'), false);
    t.equal(api.writes.get('create configmaps'), 1);
    t.equal(api.writes.get('update configmaps'), 2);
    t.equal(api.writes.get('patch configmaps'), 1);
    t.equal(api.writes.get('delete configmaps'), 3);
  });

  t.test('server-side apply makes, changes and takes back its own fields alone', async (t) => {
    const api = Api.load();
    const namespace = await ownNamespace(t, api);
    await api.create(CONFIG_MAPS, namespace, configMap('a', { theirs: '1' }));
    await api.apply(CONFIG_MAPS, namespace, configMap('a', { ours: '1', also: '1' }), {
      fieldManager: 'tester',
    });
    const again = await api.apply(CONFIG_MAPS, namespace, configMap('a', { ours: '2' }), {
      fieldManager: 'tester',
    });
    t.strictSame(again['data'], { theirs: '1', ours: '2' });
    const contested = api.apply(CONFIG_MAPS, namespace, configMap('a', { ours: '3' }), {
      fieldManager: 'another',
      force: false,
    });
    await t.rejects(contested, { code: 'refused', reason: 'Conflict' });
  });

  t.test('a list holds every page, with kinds, and is selected by labels', async (t) => {
    const api = Api.load();
    const namespace = await ownNamespace(t, api);
    const names = Array.from({ length: 520 }, (_, i) => `c-${i}`);
    await Promise.all(
      names.map((name, i) => {
        const labels = { odd: String(i % 2) };
        return api.create(CONFIG_MAPS, namespace, { metadata: { name, labels } });
      }),
    );
    const all = await api.list(CONFIG_MAPS, namespace);
    const ours = all.items.filter((item) => item.metadata.name?.startsWith('c-'));
    t.equal(ours.length, 520);
    t.match(ours[0], { apiVersion: 'v1', kind: 'ConfigMap' });
    t.match(all.resourceVersion, /^\d+$/);
    const odd = await api.list(CONFIG_MAPS, namespace, { labelSelector: 'odd=1' });
    t.equal(odd.items.length, 260);
  });

  t.test('a refusal says what was refused', async (t) => {
    const api = Api.load();
    const namespace = await ownNamespace(t, api);
    const missing = api.get(SECRETS, namespace, 'none');
    await t.rejects(missing, {
      reason: 'NotFound',
      status: 404,
      message: /get secrets none in namespace/,
    });
    await api.create(CONFIG_MAPS, namespace, configMap('a', {}));
    const twice = api.create(CONFIG_MAPS, namespace, configMap('a', {}));
    await t.rejects(twice, { code: 'refused', reason: 'AlreadyExists' });
    const bad = api.create(CONFIG_MAPS, namespace, configMap('Not A Name', {}));
    await t.rejects(bad, { code: 'refused', reason: 'Invalid' });
    const quota: KubeObject = { metadata: { name: 'none' }, spec: { hard: { pods: '0' } } };
    const QUOTAS = { group: '', version: 'v1', plural: 'resourcequotas', kind: 'ResourceQuota' };
    await api.create(QUOTAS, namespace, quota);
    await until(
      'the quota to be counted',
      async () =>
        ((await api.get(QUOTAS, namespace, 'none')) as { status?: { hard?: object } }).status?.hard,
    );
    const pod: KubeObject = {
      metadata: { name: 'p' },
      spec: { containers: [{ name: 'c', image: 'none' }] },
    };
    const over = await api.create(PODS, namespace, pod).catch((error: ApiError) => error);
    t.ok(over instanceof ApiError);
    t.match(over, { reason: 'Forbidden', denied: false, message: /exceeded quota/ });
  });

  t.test('a missing permission is named: verb, resource and namespace', async (t) => {
    const admin = Api.load();
    const namespace = await ownNamespace(t, admin);
    const api = Api.load();
    t.teardown(() => api.close());
    const user = api.config.getCurrentUser();
    Object.assign(user ?? {}, { impersonateUser: 'nobody-at-all' });
    const refused = await api
      .create(PODS, namespace, { metadata: { name: 'p' }, spec: {} })
      .catch((e) => e);
    t.match(refused, { reason: 'Forbidden', denied: true, code: 'refused' });
    t.match(refused.message, `verb "create", resource "pods", namespace "${namespace}"`);
  });

  t.test('certificates that were replaced are used from the next request on', async (t) => {
    const api = Api.load();
    t.teardown(() => api.close());
    const cluster = api.config.getCurrentCluster();
    const good = cluster?.caData;
    const certificate = api.config.getCurrentUser()?.certData;
    await api.list(CONFIG_MAPS, 'default');
    // Some certificate that signed nothing.
    Object.assign(cluster ?? {}, { caData: certificate });
    const fresh = new Api(api.config);
    t.teardown(() => fresh.close());
    await t.rejects(fresh.list(CONFIG_MAPS, 'default'), { code: 'unreachable' });
    Object.assign(cluster ?? {}, { caData: good });
    t.ok((await fresh.list(CONFIG_MAPS, 'default')).resourceVersion);
  });
}

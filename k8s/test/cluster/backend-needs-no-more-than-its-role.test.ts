import { readFileSync } from 'node:fs';
import { KubeConfig } from '@kubernetes/client-node';
import { warmPoolKey } from '@simmer/protocol/names';
import t, { type Test } from 'tap';
import { parse } from 'yaml';
import { Api, PODS, type Resource, SECRETS, SERVICE_ACCOUNTS } from '../../src/api/api.ts';
import { LABEL } from '../../src/backend/names.ts';
import { NO_CLUSTER, ownNamespace, until } from './cluster.ts';
import { kubectl, makeBackend, nodeSpec, requestIn } from './pods.ts';

const rbac = (plural: string, kind: string): Resource => ({
  group: 'rbac.authorization.k8s.io',
  version: 'v1',
  plural,
  kind,
});
const ROLES = rbac('roles', 'Role');
const BINDINGS = rbac('rolebindings', 'RoleBinding');

interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}

/** The role of a served namespace, as it is installed. */
function installedRules(): Rule[] {
  const text = readFileSync(new URL('../../manifests/tenant/role.yaml', import.meta.url), 'utf8');
  return (parse(text.split(/^---$/m)[0] ?? '') as { rules: Rule[] }).rules;
}

/** An Api that may do what `rules` allow in a namespace of its own. */
async function bounded(t: Test, rules: readonly Rule[]) {
  const admin = Api.load();
  const namespace = await ownNamespace(t, admin);
  const metadata = { name: 'simmer' };
  await admin.create(SERVICE_ACCOUNTS, namespace, { metadata });
  await admin.create(ROLES, namespace, { metadata, rules });
  await admin.create(BINDINGS, namespace, {
    metadata,
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'simmer' },
    subjects: [{ kind: 'ServiceAccount', name: 'simmer', namespace }],
  });
  const token = (await kubectl('create', 'token', 'simmer', '-n', namespace)).trim();
  const cluster = admin.config.getCurrentCluster();
  if (!cluster) throw new Error('no cluster');
  const config = new KubeConfig();
  config.loadFromClusterAndUser(cluster, { name: 'simmer', token });
  const api = new Api(config);
  t.teardown(() => api.close());
  return { admin, api, namespace };
}

if (NO_CLUSTER) t.plan(0, NO_CLUSTER);
else {
  t.test('with the installed role everything works', async (t) => {
    const { admin, api, namespace } = await bounded(t, installedRules());
    const { backend, told, log } = makeBackend(t, api, namespace);
    for (const kind of ['pool', 'job'] as const) {
      const request = requestIn(namespace, 'f', { kind });
      await backend.launch(request);
      await told(request.podId, 'started');
    }
    const generic = requestIn(namespace, 'g', { functionKey: warmPoolKey(namespace, 'warm') });
    await backend.launch(generic);
    await told(generic.podId, 'started');
    backend.claimed(generic.podId, `${namespace}/f`, 'r1');
    await until('it is marked', async () => {
      const pod = await admin.find(PODS, namespace, generic.podId);
      return pod?.metadata.labels?.[LABEL.function] === 'f';
    });
    const template = {
      volumes: [{ name: 'v', configMap: { name: 'nowhere' } }],
      volumeMounts: [{ name: 'v', mountPath: '/v' }],
    };
    const stuck = requestIn(namespace, 'f', { kind: 'job', spec: nodeSpec({ template }) });
    await backend.launch(stuck);
    await told(stuck.podId, 'stuck');
    const left = await backend.list();
    await backend.close();
    const second = makeBackend(t, api, namespace);
    t.equal((await second.backend.adopt()).length, 4);
    await admin.remove(SECRETS, namespace, 'simmer-pool-f');
    for (const { podId } of left) {
      await second.backend.terminate(podId, 0);
      await second.told(podId, 'exited');
    }
    const warnings = [...log.lines, ...second.log.lines].filter((l) => l.level === 'warn');
    t.strictSame(warnings, []);
  });

  t.test('a verb that is missing is named', async (t) => {
    const without = (resource: string, verb: string) =>
      installedRules().map((rule) =>
        rule.resources.includes(resource)
          ? { ...rule, verbs: rule.verbs.filter((v) => v !== verb) }
          : rule,
      );
    for (const [resource, verb, kind] of [
      ['pods', 'create', 'pool'],
      ['jobs', 'create', 'job'],
      ['secrets', 'get', 'pool'],
      ['secrets', 'create', 'pool'],
    ] as const) {
      const { api, namespace } = await bounded(t, without(resource, verb));
      const { backend } = makeBackend(t, api, namespace);
      await t.rejects(backend.launch(requestIn(namespace, 'f', { kind })), {
        code: 'launch_failed',
        message: new RegExp(`verb "${verb}", resource "${resource}[.a-z]*", namespace`),
      });
    }
  });
}

import t from 'tap';
import { applyFunction, fn, invoke, send } from './support/call.ts';
import { type Installation, install } from './support/installation.ts';
import { apply, get, kubectl, list, until } from './support/kubectl.ts';

let simmer: Installation;
t.before(async () => {
  simmer = await install();
});
t.teardown(() => simmer?.remove());

const SHOWS = `export default () => ({
  pod: process.env.HOSTNAME,
  seen: Object.keys(process.env).filter((name) => name.startsWith('OF_')),
  secret: process.env.OF_SECRET,
  config: process.env.OF_CONFIG,
  key: process.env.SIMMER_POOL_KEY ?? null,
});`;

const secret = (value: string) => ({
  ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'credentials' } },
  stringData: { password: value },
});
const READS = [
  { name: 'OF_SECRET', valueFrom: { secretKeyRef: { name: 'credentials', key: 'password' } } },
  { name: 'OF_CONFIG', valueFrom: { configMapKeyRef: { name: 'settings', key: 'mode' } } },
];

async function running(selector: string) {
  const pods = await list(simmer.tenant, 'pods', selector);
  return pods.filter(
    ({ status, metadata }) =>
      status.phase === 'Running' && metadata.deletionTimestamp === undefined,
  );
}
const GENERIC = 'simmer.dev/pool=warm';
const OWN = 'simmer.dev/function=shows';

/** Undefined, too, while nobody answers: after a control plane is killed the Service leads to nobody for a moment. */
const shown = async (path: string) =>
  (await send(simmer, 'GET', path).catch(() => undefined))?.body;
const warmPools = async (name: string) =>
  (await shown(`/v1/functions/${simmer.name(name)}`))?.status?.warmPools;
const pool = () => shown(`/v1/pools/${simmer.name('warm')}?kind=WarmPool`);

async function ready(count: number): Promise<void> {
  await until(`${count} generic pods`, async () => (await pool())?.idle === count);
}

t.test('with its secrets, which no pod had before', async (t) => {
  const { tenant } = simmer;
  await apply(
    tenant,
    secret('first'),
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'settings' }, data: { mode: 'fast' } },
    {
      ...{ apiVersion: 'simmer.dev/v1alpha1', kind: 'WarmPool', metadata: { name: 'warm' } },
      spec: { minReplicas: 2, maxReplicas: 5 },
    },
    fn('other', { source: { inline: SHOWS }, env: [{ name: 'OF_OTHER', value: 'x' }] }),
  );
  await applyFunction(simmer, 'shows', { source: { inline: SHOWS }, env: READS });
  await ready(2);
  await until('its secrets are read', async () => (await warmPools('shows'))?.pools.length === 1);
  // Whatever the kubelet has said of them by now: they are connected.
  const generic = (await list(tenant, 'pods', GENERIC)).map(({ metadata }) => metadata.name);
  const { status, body } = await invoke(simmer, 'shows', {});
  t.equal(status, 200, JSON.stringify(body));
  t.ok(generic.includes(body.output.pod), 'no pod was launched for it');
  t.match(body.output, { secret: 'first', config: 'fast', key: null });
  const { body: execution } = await send(simmer, 'GET', `/v1/executions/${body.executionId}`);
  t.match(execution.attempts, [{ placement: 'generic' }]);
  const other = await invoke(simmer, 'other', {});
  t.not(other.body.output.pod, body.output.pod);
  t.same(other.body.output.seen, ['OF_OTHER'], 'nothing of the other');
});

t.test("it is marked as its function's, and the pool is refilled", async (t) => {
  const { body } = await invoke(simmer, 'shows', {});
  const marked = await until('the mark', async () => (await running(OWN))[0]);
  t.equal(marked.metadata.name, body.output.pod);
  t.match(marked.metadata, {
    ownerReferences: [{ kind: 'Function', name: 'shows', controller: true }],
    labels: { 'simmer.dev/claimed-from': 'warm' },
  });
  t.equal(marked.metadata.labels?.['simmer.dev/pool'], undefined);
  await ready(2);
  t.match(await pool(), { claimed: 2 });
});

t.test('a secret that is rotated reaches it', async (t) => {
  await apply(simmer.tenant, secret('second'));
  const { body } = await until('the new one', async () => {
    const answer = await invoke(simmer, 'shows', {});
    t.equal(answer.status, 200);
    return answer.body.output.secret === 'second' && answer;
  });
  t.match(body.output, { config: 'fast' });
});

t.test(
  'after a control plane that was killed it serves on, and generic pods are others',
  async (t) => {
    const { system } = simmer;
    const claimed = 'simmer.dev/function=other,simmer.dev/claimed-from=warm';
    const [before] = await until('the mark', async () => {
      const pods = await running(claimed);
      return pods.length > 0 && pods;
    });
    const others = (await running('simmer.dev/function=other')).map((p) => p.metadata.name);
    await ready(2);
    const generic = (await running(GENERIC)).map(({ metadata }) => metadata.uid);
    await kubectl('delete', 'pod', '--all', '-n', system, '--grace-period=0', '--force');
    await kubectl('rollout', 'status', '-n', system, 'deployment/simmer', '--timeout=120s');
    await until('other generic pods', async () => {
      const now = (await running(GENERIC)).map(({ metadata }) => metadata.uid);
      return now.length === 2 && !now.some((uid) => generic.includes(uid));
    });
    const answer = await until('an answer', async () => {
      const given = await invoke(simmer, 'other', {}).catch(() => undefined);
      return given?.status === 200 && given;
    });
    t.ok(others.includes(answer.body.output.pod), answer.body.output.pod);
    const [after] = await running(claimed);
    t.equal(after?.metadata.uid, before?.metadata.uid);
    await until('what the one before has claimed counts', async () => {
      return ((await pool())?.claimed ?? 0) >= 1;
    });
  },
);

t.test(
  'killed between claim and mark: whom the pod served is not known, and it ends',
  async (t) => {
    const { system, tenant } = simmer;
    const role = await get(tenant, 'role', 'simmer-functions');
    const rules = role['rules'] as { resources: string[]; verbs: string[] }[];
    const replace = (value: object) =>
      kubectl(
        ...['patch', 'role', 'simmer-functions', '-n', tenant, '--type=json', '-p'],
        JSON.stringify([{ op: 'replace', path: '/rules', value }]),
      );
    // So that there is no mark, however long it takes.
    await replace(
      rules.map((rule) =>
        rule.resources.includes('pods')
          ? { ...rule, verbs: rule.verbs.filter((verb) => verb !== 'patch') }
          : rule,
      ),
    );
    await applyFunction(simmer, 'unmarked', { source: { inline: SHOWS } });
    await ready(2);
    await until('it fits', async () => (await warmPools('unmarked'))?.pools.length === 1);
    const { body } = await invoke(simmer, 'unmarked', {});
    const { pod } = body.output;
    const generic = await list(tenant, 'pods', GENERIC);
    t.ok(
      generic.some(({ metadata }) => metadata.name === pod),
      'it looks generic',
    );
    await kubectl('delete', 'pod', '--all', '-n', system, '--grace-period=0', '--force');
    await kubectl('rollout', 'status', '-n', system, 'deployment/simmer', '--timeout=120s');
    await until('it is ended', async () => {
      const pods = await list(tenant, 'pods', 'simmer.dev/pod-id');
      return !pods.some(
        ({ metadata, status }) => metadata.name === pod && status.phase === 'Running',
      );
    });
    await replace(rules);
    const again = await until('an answer', async () => {
      const given = await invoke(simmer, 'unmarked', {}).catch(() => undefined);
      return given?.status === 200 && given;
    });
    t.not(again.body.output.pod, pod);
  },
);

t.test('a function that it does not fit says why', async (t) => {
  await apply(
    simmer.tenant,
    fn('account', { source: { inline: SHOWS }, template: { serviceAccountName: 'mine' } }),
    fn('lacks', {
      source: { inline: SHOWS },
      env: [{ name: 'S', valueFrom: { secretKeyRef: { name: 'no-such', key: 'k' } } }],
    }),
  );
  t.match(await until('account', () => warmPools('account')), {
    pools: [],
    reason: /another serviceAccountName/,
  });
  await until('its condition', async () => {
    const { status } = await get(simmer.tenant, 'functions.simmer.dev', 'account');
    const found = status?.conditions?.find((c: { type: string }) => c.type === 'Claimable');
    return /another serviceAccountName/.test(found?.message ?? '');
  });
  t.match(await until('lacks', () => warmPools('lacks')), {
    pools: [],
    reason: /no key k in a Secret no-such/,
  });
});

t.test('it goes with its function', async (t) => {
  const { tenant } = simmer;
  await kubectl(
    'delete',
    'functions.simmer.dev/other',
    '-n',
    tenant,
    '--wait=true',
    '--timeout=60s',
  );
  await until('no pod', async () => {
    return (await list(tenant, 'pods', 'simmer.dev/function=other')).length === 0;
  });
  await ready(2);
  t.pass('the pool stays');
});

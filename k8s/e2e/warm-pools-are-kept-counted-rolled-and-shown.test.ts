import t from 'tap';
import { fn, invoke, WAITS } from './support/call.ts';
import { type Installation, image, install } from './support/installation.ts';
import { apply, get, kubectl, list, until } from './support/kubectl.ts';

let simmer: Installation;
t.before(async () => {
  simmer = await install();
});
t.teardown(() => simmer?.remove());

const pool = (spec: object): object => ({
  apiVersion: 'simmer.dev/v1alpha1',
  kind: 'WarmPool',
  metadata: { name: 'generic' },
  spec,
});

const SELECTOR = 'simmer.dev/pool=generic';

async function running() {
  const pods = await list(simmer.tenant, 'pods', SELECTOR);
  return pods.filter(
    ({ status, metadata }) =>
      status.phase === 'Running' && metadata.deletionTimestamp === undefined,
  );
}

const status = async () => (await get(simmer.tenant, 'warmpools.simmer.dev', 'generic'))['status'];

async function ready(count: number): Promise<void> {
  await until(`${count} ready`, async () => {
    const now = await status();
    return now?.readyReplicas === count && now.replicas === count;
  });
}

t.test('its pods are kept, restricted, and shown', async (t) => {
  const { tenant } = simmer;
  // A function of the same name has a pool of its own.
  await apply(
    tenant,
    pool({ minReplicas: 2 }),
    fn('generic', { minReplicas: 1, source: { inline: WAITS } }),
  );
  await ready(2);
  t.match(await status(), { desiredReplicas: 2, selector: new RegExp(SELECTOR) });
  t.match(await kubectl('get', 'wp', '-n', tenant), /generic +2 +2 +0 +\d+ +0 +Serving/);
  const pods = await running();
  t.equal(pods.length, 2);
  for (const { metadata, spec } of pods) {
    t.match(metadata, { ownerReferences: [{ kind: 'WarmPool', name: 'generic' }] });
    t.equal(spec.containers[0].image, image('runtime'));
    t.equal(spec.automountServiceAccountToken, false);
    t.same(spec.volumes ?? [], []);
  }
  const answer = await until('the function', async () => {
    const given = await invoke(simmer, 'generic', { ms: 0 });
    return given.status === 200 && given;
  });
  t.notOk(pods.some(({ metadata }) => metadata.name === answer.body.output));
});

t.test('a pod that is deleted is replaced', async (t) => {
  const [first] = await running();
  const gone = first?.metadata.name ?? '';
  await kubectl('delete', 'pod', gone, '-n', simmer.tenant, '--wait=false');
  await until('another', async () => {
    const pods = await running();
    return pods.length === 2 && !pods.some(({ metadata }) => metadata.name === gone);
  });
  await ready(2);
  t.match(await status(), { conditions: [{ type: 'Ready', status: 'True' }] });
});

t.test('kubectl scales it', async (t) => {
  const { tenant } = simmer;
  await kubectl('scale', '-n', tenant, 'wp/generic', '--replicas=3');
  await ready(3);
  await kubectl('scale', '-n', tenant, 'wp/generic', '--replicas=1');
  await ready(1);
  t.equal((await running()).length, 1);
});

t.test('a changed template replaces its pods, the new one first', async (t) => {
  const [before] = await running();
  await apply(simmer.tenant, pool({ minReplicas: 1, template: { labels: { tier: 'gold' } } }));
  const after = await until('the new pod', async () => {
    const pods = await running();
    t.ok(pods.length > 0, 'never none');
    return pods.length === 1 && pods[0]?.metadata.labels?.['tier'] === 'gold' && pods[0];
  });
  t.not(after.metadata.uid, before?.metadata.uid);
});

t.test('it is replaced with its control plane: nobody knows whom its pods served', async (t) => {
  const { system } = simmer;
  const [before] = await running();
  await kubectl('delete', 'pod', '--all', '-n', system, '--grace-period=0', '--force');
  await kubectl('rollout', 'status', '-n', system, 'deployment/simmer', '--timeout=120s');
  const after = await until('another', async () => {
    const pods = await running();
    return pods.length === 1 && pods[0]?.metadata.uid !== before?.metadata.uid && pods[0];
  });
  t.equal(after.status.containerStatuses[0].restartCount, 0);
  await ready(1);
});

t.test('deleted, it leaves nothing', async (t) => {
  const { tenant } = simmer;
  await kubectl('delete', 'wp', 'generic', '-n', tenant, '--wait=true', '--timeout=60s');
  await until('no pod', async () => (await list(tenant, 'pods', SELECTOR)).length === 0);
  const secrets = await list(tenant, 'secrets', SELECTOR);
  t.equal(secrets.length, 0, 'its key went before the object');
  t.match(await invoke(simmer, 'generic', { ms: 0 }), { status: 200 }, 'the function stays');
});

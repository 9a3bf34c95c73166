/** The Lease on a real API server: two that would lead, and pods that bear the leader's label. */
import t, { type Test } from 'tap';
import { Api, LEASES, PODS } from '../../src/api/api.ts';
import { LeaderElection } from '../../src/lease/election.ts';
import { keptLog, NO_CLUSTER, ownNamespace, until } from './cluster.ts';

/** Pods that never run: no node has their label. */
async function addPod(api: Api, namespace: string, name: string): Promise<void> {
  await api.create(PODS, namespace, {
    metadata: { name },
    spec: {
      nodeSelector: { 'simmer.dev/test': 'nowhere' },
      containers: [{ name: 'c', image: 'none' }],
    },
  });
}

async function setUp(t: Test) {
  const api = Api.load();
  const namespace = await ownNamespace(t, api);
  const join = async (identity: string) => {
    await addPod(api, namespace, identity);
    const election = new LeaderElection({
      api,
      namespace,
      identity,
      address: `wss://${identity}:8082`,
      clientAddress: `http://${identity}:8080`,
      log: keptLog(),
    });
    t.teardown(() => election.close());
    return election;
  };
  const labelled = async () => {
    const labelSelector = 'simmer.dev/leader=true';
    const { items } = await api.list(PODS, namespace, { labelSelector });
    return items.map((pod) => pod.metadata.name);
  };
  return { api, namespace, join, labelled };
}

if (NO_CLUSTER !== undefined) {
  t.plan(0, NO_CLUSTER);
} else {
  t.test('the first leads; the next takes over when it is told to succeed', async (t) => {
    const { join, labelled } = await setUp(t);
    const [a, b] = [await join('a'), await join('b')];
    await a.lead();
    await a.serving();
    t.strictSame(await labelled(), ['a']);
    let bLeads = false;
    const leading = b.lead().then(() => {
      bLeads = true;
    });
    t.equal(bLeads, false);
    const successor = a.succeed(20_000);
    await leading;
    t.strictSame(await labelled(), ['a'], 'clients still find the one that serves');
    await b.serving();
    t.match(await successor, { address: 'wss://b:8082', clientAddress: 'http://b:8080' });
    t.strictSame(await labelled(), ['b']);
  });

  t.test('with nobody to follow there is no successor', async (t) => {
    const { join } = await setUp(t);
    const a = await join('a');
    await a.lead();
    await a.serving();
    t.equal(await a.succeed(20_000), null);
  });

  t.test('a leader whose Lease another has taken is deposed', async (t) => {
    const { join, api, namespace } = await setUp(t);
    const a = await join('a');
    await a.lead();
    await a.serving();
    const certain: boolean[] = [];
    const deposed: string[] = [];
    a.onCertainty((leads) => certain.push(leads));
    a.onDeposed(({ address }) => deposed.push(address));
    await api.patch(LEASES, namespace, 'simmer', {
      metadata: { annotations: { 'simmer.dev/address': 'wss://x:1', 'simmer.dev/serving': 'x' } },
      spec: { holderIdentity: 'x' },
    });
    await until('it is told', () => deposed.length > 0);
    t.strictSame(certain, [false]);
    t.strictSame(deposed, ['wss://x:1']);
    t.equal(a.leads, false);
  });

  t.test('one whose pod is gone is not waited for', async (t) => {
    const { join, api, namespace } = await setUp(t);
    const [a, b] = [await join('a'), await join('b')];
    await a.lead();
    await api.remove(PODS, namespace, 'a', { graceSeconds: 0 });
    await b.lead();
    t.equal(b.leads, true);
    await until('a hears of it', () => !a.leads);
  });

  t.test('what a closed one held is free at once', async (t) => {
    const { join } = await setUp(t);
    const a = await join('a');
    await a.lead();
    await a.close();
    const b = await join('b');
    await b.lead();
    t.equal(b.leads, true);
  });
}

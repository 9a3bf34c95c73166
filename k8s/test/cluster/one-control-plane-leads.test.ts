/** Who leads while time passes and the API server is away; handing over is one-control-plane-leads-and-hands-over. */
import t, { type Test } from 'tap';
import { type Api as ApiClient, LEASES, PODS } from '../../src/api/api.ts';
import { LEASE_NAME, LeaderElection } from '../../src/lease/election.ts';
import { LEASE_MS, type Lease, RENEW_DEADLINE_MS, RETRY_MS } from '../../src/lease/record.ts';
import { ManualClock } from '../fakes.ts';
import { Api, keptLog, NO_CLUSTER, ownNamespace, until } from './cluster.ts';
import { severableApi } from './severable.ts';

async function setUp(t: Test) {
  const api = Api.load();
  const namespace = await ownNamespace(t, api);
  /** With a pod, which never runs (whose pod is gone is not waited for), and a time of its own. */
  const join = async (identity: string, through: ApiClient = api) => {
    if (!(await api.find(PODS, namespace, identity))) {
      await api.create(PODS, namespace, {
        metadata: { name: identity },
        spec: {
          nodeSelector: { 'simmer.dev/test': 'nowhere' },
          containers: [{ name: 'c', image: 'none' }],
        },
      });
    }
    const clock = new ManualClock();
    const log = keptLog();
    const address = `wss://${identity}:8082`;
    const clientAddress = `http://${identity}:8080`;
    const election = new LeaderElection({
      ...{ api: through, namespace, identity, address, clientAddress, log, clock },
    });
    t.teardown(() => election.close());
    const heard: string[] = [];
    election.onCertainty((leads) => heard.push(leads ? 'certain' : 'uncertain'));
    election.onDeposed(({ address: by }) => heard.push(`deposed by ${by}`));
    const leading = election.lead().then(() => {
      heard.push('leads');
    });
    return { election, clock, log, heard, leading, identity };
  };
  const lease = () => api.get<Lease>(LEASES, namespace, LEASE_NAME);
  /** Its copy of the Lease is as new as the API server's. */
  const seen = async ({ election }: { election: LeaderElection }) => {
    const { resourceVersion } = (await lease()).metadata;
    const copy = election as unknown as { lease?: Lease };
    await until(
      'the Lease to be seen',
      () => copy.lease?.metadata.resourceVersion === resourceVersion,
    );
  };
  return { api, namespace, join, lease, seen };
}

/** Moves its time on until the condition holds. */
function passing(clock: ManualClock, what: string, condition: () => boolean): Promise<unknown> {
  return until(what, () => {
    if (condition()) return true;
    clock.advance(500);
    return false;
  });
}

if (NO_CLUSTER !== undefined) {
  t.plan(0, NO_CLUSTER);
} else {
  t.test('of three that start at once one leads', async (t) => {
    const { join, lease, seen } = await setUp(t);
    const all = await Promise.all([join('a'), join('b'), join('c')]);
    const leader = await until('one to lead', () => all.find((x) => x.election.leads));
    await Promise.all(all.map(seen));
    t.equal(all.filter((x) => x.election.leads).length, 1);
    t.match((await lease()).spec, { holderIdentity: leader.identity, leaseTransitions: 0 });
  });

  t.test('a leader that stops renewing is replaced after its time, and learns it', async (t) => {
    const { join, seen } = await setUp(t);
    const a = await join('a');
    await a.leading;
    // Its time stands still from here on: as of a process that was stopped.
    const b = await join('b');
    await seen(b);
    b.clock.advance(LEASE_MS - 1_000);
    t.notOk(b.election.leads);
    await passing(b.clock, 'b to lead', () => b.election.leads);
    await b.election.serving();
    await until('a to hear of it', () => a.heard.length === 3);
    t.strictSame(a.heard, ['leads', 'uncertain', 'deposed by wss://b:8082']);
    t.notOk(a.election.leads);
  });

  t.test('a leader that renews is not replaced', async (t) => {
    const { join, lease, seen } = await setUp(t);
    const a = await join('a');
    await a.leading;
    const b = await join('b');
    await seen(b);
    for (let passed = 0; passed < 3 * LEASE_MS; passed += RETRY_MS) {
      const before = (await lease()).metadata.resourceVersion;
      await passing(a.clock, 'the renewal', () => renewedSince(a.election, before));
      await seen(b);
      b.clock.advance(RETRY_MS);
    }
    t.ok(a.election.leads);
    t.strictSame(b.heard, []);
    t.strictSame(a.heard, ['leads']);
  });

  t.test(
    'away from the API server the lead becomes uncertain in time, and certain again',
    async (t) => {
      const { join } = await setUp(t);
      const link = await severableApi(t);
      const a = await join('a', link.api);
      await a.leading;
      // Nothing is refused: requests hang, as behind a firewall that drops.
      link.silence();
      a.clock.advance(RENEW_DEADLINE_MS - 1);
      t.ok(a.election.leads);
      a.clock.advance(1);
      t.notOk(a.election.leads, 'not a moment later, although the renewal still hangs');
      link.mend();
      await passing(a.clock, 'a to lead again', () => a.election.leads);
      t.strictSame(a.heard, ['leads', 'uncertain', 'certain']);
    },
  );

  t.test('a standby does not take over because the API server was away', async (t) => {
    const { join, seen } = await setUp(t);
    const a = await join('a');
    await a.leading;
    const link = await severableApi(t, 500);
    const b = await join('b', link.api);
    await seen(b);
    link.cut();
    const { informer } = b.election as unknown as { informer: { problem: string | undefined } };
    await passing(b.clock, 'b to notice', () => informer.problem !== undefined);
    for (let passed = 0; passed < 60_000; passed += RETRY_MS) b.clock.advance(RETRY_MS);
    link.mend();
    await passing(b.clock, 'b to be back', () =>
      b.log.lines.some((line) => line.message.includes('watched again')),
    );
    b.clock.advance(LEASE_MS - RETRY_MS - 500);
    await a.election.serving();
    await seen(b);
    t.strictSame(b.heard, []);
    t.ok(a.election.leads);
  });

  t.test('a Lease that somebody deletes or empties stays with its leader', async (t) => {
    const { api, namespace, join, lease } = await setUp(t);
    const a = await join('a');
    await a.leading;
    await a.election.serving();
    const { uid } = (await lease()).metadata;
    await api.remove(LEASES, namespace, LEASE_NAME);
    let found: Lease | undefined;
    await until('another Lease', async () => {
      a.clock.advance(100);
      found = await api.find<Lease>(LEASES, namespace, LEASE_NAME);
      return found !== undefined && found.metadata.uid !== uid;
    });
    t.match(found, {
      spec: { holderIdentity: 'a' },
      metadata: { annotations: { 'simmer.dev/serving': 'a' } },
    });
    await api.patch(LEASES, namespace, LEASE_NAME, { spec: { holderIdentity: '' } });
    await until('a to take it', async () => {
      a.clock.advance(100);
      return (await lease()).spec?.holderIdentity === 'a';
    });
    t.strictSame(a.heard, ['leads']);
  });

  t.test('another container of the same pod takes over at once', async (t) => {
    const { join } = await setUp(t);
    await (await join('a')).leading;
    const after = await join('a');
    await after.leading;
    t.ok(after.election.leads);
  });
}

function renewedSince(election: LeaderElection, version: string | undefined): boolean {
  const { lease } = election as unknown as { lease?: Lease };
  return lease?.metadata.resourceVersion !== version;
}

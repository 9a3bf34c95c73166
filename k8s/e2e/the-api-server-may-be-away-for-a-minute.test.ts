/**
 * The API server is stopped, for real: run where SIMMER_CLUSTER_CONTROL names a command that is given `stop apiserver` and
 * `start apiserver`. Nothing else may need the cluster meanwhile: test-k8s.mjs runs this file by itself, last.
 */
import t from 'tap';
import { fn, invoke, send, WAITS } from './support/call.ts';
import { type Installation, install } from './support/installation.ts';
import {
  apply,
  command,
  get,
  type KubeObject,
  kubectl,
  list,
  podsOf,
  until,
} from './support/kubectl.ts';
import { breakConnection, notOnTheNode } from './support/node.ts';

const CONTROL = process.env['SIMMER_CLUSTER_CONTROL']?.trim() ?? '';
/** Longer than a Lease lasts, and than any probe waits. */
const AWAY_MS = 60_000;
const CALLERS = 4;
/** What each call runs for. */
const CALL_MS = 100;
const PODS = 2;
/** Have never run when it goes; each claims a pod of the WarmPool, and is given a secret. */
const NEVER_RUN = ['never-a', 'never-b', 'never-c'];
const TELLS = `export default () => ({ pod: process.env.HOSTNAME, secret: process.env.OF_SECRET });`;
const SECRET_ENV = [
  { name: 'OF_SECRET', valueFrom: { secretKeyRef: { name: 'credentials', key: 'password' } } },
];
/** The scheduler of Kubernetes and the kubelet ask again every half minute or so. */
const CATCH_UP_MS = 240_000;

const control = (what: 'stop' | 'start') =>
  // The command may be several words.
  command('/bin/sh', ['-c', `${CONTROL} "$@"`, 'control', what, 'apiserver']);

/** Serves only those that name it. */
const WARM_POOL = {
  ...{ apiVersion: 'simmer.dev/v1alpha1', kind: 'WarmPool', metadata: { name: 'warm' } },
  spec: { minReplicas: NEVER_RUN.length, maxReplicas: 10, tenancy: 'Named' },
};

interface PoolView {
  readonly ready: number;
  readonly pods: readonly { readonly label: string; readonly state: string }[];
}

if (CONTROL === '') {
  t.plan(0, 'SIMMER_CLUSTER_CONTROL names no command that stops the API server');
} else {
  let simmer: Installation;
  let running = true;
  const start = async () => {
    if (!running) await control('start');
    running = true;
  };
  t.before(async () => {
    simmer = await install({ replicas: 2 });
  });
  t.teardown(async () => {
    await start();
    await until('the API server answers', () => list('default', 'pods').catch(() => undefined));
    await simmer?.remove();
  });

  const pool = async (name: string): Promise<PoolView> => {
    const answer = await fetch(`${simmer.address}/v1/pools/${simmer.name(name)}`);
    return (await answer.json()) as PoolView;
  };
  const identities = (pods: readonly KubeObject[]) =>
    pods
      .map(({ metadata, status }) => {
        const restarts = status.containerStatuses.map(
          (c: { restartCount: number }) => c.restartCount,
        );
        return `${metadata.uid} restarted ${restarts}`;
      })
      .sort();

  t.test('warm and first calls go on, pods come back to it, and it catches up', async (t) => {
    const { system, tenant } = simmer;
    const source = { inline: WAITS };
    const spec = { minReplicas: PODS, maxReplicas: PODS, concurrency: 10, source };
    await apply(tenant, fn('waits', spec), fn('quiet', { minReplicas: 1, source }));
    await until('its pods', async () => (await pool('waits').catch(() => undefined))?.ready === 2);
    await until('the quiet one', async () => (await pool('quiet')).ready === 1);
    await apply(
      tenant,
      {
        ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'credentials' } },
        stringData: { password: 'known ahead' },
      },
      WARM_POOL,
      ...NEVER_RUN.map((name) =>
        fn(name, { source: { inline: TELLS }, env: SECRET_ENV, pool: 'warm' }),
      ),
    );
    const view = async (path: string) => (await send(simmer, 'GET', path)).body;
    await until('generic pods', async () => {
      const { idle } = await view(`/v1/pools/${simmer.name('warm')}?kind=WarmPool`);
      return idle === NEVER_RUN.length;
    });
    for (const name of NEVER_RUN) {
      await until(`the secret of ${name} is read`, async () => {
        const { status } = await view(`/v1/functions/${simmer.name(name)}`);
        return status?.warmPools?.pools.length === 1;
      });
    }
    const functionPods = identities(await podsOf(tenant, 'waits'));
    const systemPods = identities(await list(system, 'pods'));

    running = false;
    await control('stop');
    const end = Date.now() + AWAY_MS;
    const ends: (number | string)[] = [];
    const callers = Array.from({ length: CALLERS }, async () => {
      while (Date.now() < end) {
        const answer = await invoke(simmer, 'waits', { ms: CALL_MS }).catch((e: Error) => e);
        ends.push(answer instanceof Error ? answer.message : answer.status);
      }
    });
    const write = await send(simmer, 'PUT', `/v1/functions/${simmer.name('quiet')}`, {
      spec: { minReplicas: 1, source },
    });
    t.match(write, { status: 503, body: { code: 'registry_unavailable' } });
    let reconnected: string | undefined;
    if (notOnTheNode() === false) {
      const [pod] = (await pool('quiet')).pods;
      // It dials again within milliseconds: only the pod's log tells of it, and the API server, who would show that, is away.
      const before = await invoke(simmer, 'quiet', { ms: 0 });
      breakConnection(pod?.label ?? '');
      const after = await until('it is let in again', async () => {
        const answer = await invoke(simmer, 'quiet', { ms: 0 });
        return answer.status === 200 && answer;
      });
      t.equal(after.body.output, before.body.output, 'the same pod');
      reconnected = pod?.label;
    }
    // A claim asks nobody: nothing of it can have waited for the API server.
    const claimed = await Promise.all(NEVER_RUN.map((name) => invoke(simmer, name, {})));
    for (const { status, body } of claimed) {
      t.match(
        { status, secret: body.output?.secret },
        { status: 200, secret: 'known ahead' },
        JSON.stringify(body),
      );
      const { attempts } = await view(`/v1/executions/${body.executionId}`);
      t.match(attempts, [{ placement: 'generic', pod: body.output?.pod }]);
    }
    await Promise.all(callers);
    t.ok(ends.length > 0);
    t.strictSame([...new Set(ends)], [200], `${ends.length} calls`);

    const began = Date.now();
    const after = (what: string) => t.comment(`${what} after ${Date.now() - began} ms`);
    await start();
    await until('the API server answers', () => list(tenant, 'pods').catch(() => undefined));
    after('the API server answers');
    await apply(tenant, fn('late', { minReplicas: 1, source }));
    await until(
      'a new function is served',
      async () => {
        const answer = await invoke(simmer, 'late', { ms: 0 }).catch(() => undefined);
        return answer?.status === 200;
      },
      CATCH_UP_MS,
    );
    after('a new function is served');
    await until('the mark of each pod that was claimed', async () => {
      const pods = await Promise.all(NEVER_RUN.map((name) => podsOf(tenant, name)));
      const marked = pods.map(([pod]) => pod?.metadata.name);
      return marked.every((pod, i) => pod === claimed[i]?.body.output.pod);
    });
    after('the claims are marked');
    await until('its status is told', async () => {
      const { status } = await get(tenant, 'functions.simmer.dev', 'late');
      return status?.readyReplicas === 1;
    });
    if (reconnected !== undefined) {
      t.match(await kubectl('logs', '-n', tenant, reconnected), /connected .* again/);
    }
    t.strictSame(identities(await podsOf(tenant, 'waits')), functionPods);
    t.strictSame(identities(await list(system, 'pods')), systemPods);
  });
}

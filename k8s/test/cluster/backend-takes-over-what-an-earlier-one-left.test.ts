import { warmPoolKey } from '@simmer/protocol/names';
import { RUNTIME_ENV } from '@simmer/protocol/runtime-environment';
import t from 'tap';
import { CONFIG_MAPS, FUNCTIONS, JOBS, PODS, SECRETS } from '../../src/api/api.ts';
import { LABEL } from '../../src/backend/names.ts';
import { ensureCrds, fn, NO_CLUSTER, until } from './cluster.ts';
import { IMAGE, kubectl, makeBackend, nodeSpec, requestIn, setUp } from './pods.ts';

if (NO_CLUSTER) t.plan(0, NO_CLUSTER);
else {
  t.test('pods and Jobs that run are found again, with what proves them', async (t) => {
    const { api, namespace, ...first } = await setUp(t);
    const pool = requestIn(namespace, 'f', { revision: 'r7' });
    const job = requestIn(namespace, 'g', { kind: 'job' });
    const bare = requestIn(namespace, 'g', {
      kind: 'job',
      spec: nodeSpec({ overflowKind: 'Pod' }),
    });
    const over = requestIn(namespace, 'exits');
    const overJob = requestIn(namespace, 'exits', { kind: 'job' });
    const all = [pool, job, bare, over, overJob];
    await Promise.all(all.map((request) => first.backend.launch(request)));
    for (const { podId } of all) await first.told(podId, 'started');
    for (const { podId } of [over, overJob]) await first.told(podId, 'exited');
    await first.backend.close();
    t.strictSame((await api.list(JOBS, namespace)).items.length, 2, 'an overflow may be no Job');

    const second = makeBackend(t, api, namespace);
    const found = await second.backend.adopt();
    const identified = first.events.filter((e) => e.type === 'identified');
    for (const request of [pool, job, bare]) {
      const { podId, kind, functionKey, revision } = request;
      const who = identified.find((e) => e.podId === podId);
      const label = podId === job.podId ? /^g-\d+-\w{5}$/ : podId;
      const { uid, proofKey } = who as { uid: string; proofKey: string };
      t.match(
        found.find((pod) => pod.podId === podId),
        { podId, kind, functionKey, revision, label, uids: [uid], proofKey, launchedAt: Number },
      );
      t.ok(proofKey.length >= 43, '256 bits');
    }
    t.equal(found.length, 3, 'what has ended is not found');
    t.same(new Set((await second.backend.list()).map((p) => p.podId)).size, 3);
    await until(
      'the pod that had ended is gone',
      async () => !(await api.find(PODS, namespace, over.podId)),
    );

    await second.backend.terminate(pool.podId, 0);
    await second.told(pool.podId, 'exited');
    const { label } = (await second.backend.list()).find((p) => p.podId === job.podId) ?? {};
    await api.remove(PODS, namespace, label ?? '', { graceSeconds: 1 });
    t.match(await second.told(job.podId, 'exited'), { blameless: true });
    t.notOk(second.typesOf(bare.podId).includes('exited'));

    // Whoever takes it over too late to hear of its end is told when he asks for it.
    await second.backend.terminate(job.podId, 0);
    await second.backend.terminate(job.podId, 0);
    t.equal(second.typesOf(job.podId).filter((type) => type === 'exited').length, 2);
  });

  t.test("a pod that was claimed is found as its function's, once it is marked", async (t) => {
    const { api, namespace, ...first } = await setUp(t);
    const warm = warmPoolKey(namespace, 'warm');
    const requests = ['one', 'two'].map((podId) =>
      requestIn(namespace, 'pool.warm', { podId, functionKey: warm }),
    );
    for (const request of requests) {
      await first.backend.launch(request);
      await first.told(request.podId, 'started');
    }
    first.backend.claimed('one', `${namespace}/f`, 'r7');
    const marked = await until('it is marked', async () => {
      const pod = await api.find(PODS, namespace, 'one');
      return pod?.metadata.labels?.[LABEL.function] === 'f' ? pod : undefined;
    });
    t.equal(marked.metadata.labels?.[LABEL.pool], undefined);
    await first.backend.close();
    const found = await makeBackend(t, api, namespace).backend.adopt();
    const of = (podId: string) => found.find((pod) => pod.podId === podId);
    t.match(of('one'), { functionKey: `${namespace}/f`, revision: 'r7', origin: warm });
    t.match(of('two'), { functionKey: warm, origin: undefined });
  });

  t.test('two functions have two keys, one function one, also for another backend', async (t) => {
    const { api, namespace, backend, told } = await setUp(t);
    const keyOf = async (name: string, on: { backend: typeof backend; told: typeof told }) => {
      const request = requestIn(namespace, name);
      await on.backend.launch(request);
      return (await on.told(request.podId, 'identified')).proofKey;
    };
    const other = makeBackend(t, api, namespace);
    const both = [keyOf('f', { backend, told }), keyOf('f', other)];
    const [a, b] = await Promise.all(both);
    t.equal(a, b, 'made by two at once');
    t.equal(await keyOf('f', { backend, told }), a);
    t.not(await keyOf('g', { backend, told }), a);
  });

  t.test(
    'a pod knows who it is; its key comes from the Secret, also after that was lost',
    async (t) => {
      const caPem = '-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n';
      const { api, namespace, backend, told } = await setUp(t, {
        caPem,
        fallbackAddress: 'wss://s:1',
      });
      const spec = nodeSpec({ env: [{ name: 'A', value: 'a' }], handler: 'h.mjs', concurrency: 3 });
      for (const round of ['first', 'after the Secret was deleted']) {
        const request = requestIn(namespace, 'tells-environment', { spec });
        await backend.launch(request);
        const { uid, proofKey } = await told(request.podId, 'identified');
        await told(request.podId, 'started');
        const env = await until('it tells', async () => {
          const text = await kubectl('logs', '-n', namespace, request.podId).catch(() => '');
          return text.startsWith('{') && (JSON.parse(text.split('\n')[0] ?? '') as object);
        });
        t.match(
          env,
          {
            A: 'a',
            [RUNTIME_ENV.address]: 'ws://10.244.0.1:1',
            [RUNTIME_ENV.fallbackAddress]: 'wss://s:1',
            [RUNTIME_ENV.ca]: caPem,
            [RUNTIME_ENV.podUid]: uid,
            [RUNTIME_ENV.poolKey]: proofKey,
            [RUNTIME_ENV.token]: 'credential',
            [RUNTIME_ENV.function]: `${namespace}/tells-environment`,
            [RUNTIME_ENV.handler]: 'h.mjs',
            [RUNTIME_ENV.capacity]: '3',
          },
          round,
        );
        t.notOk('KUBERNETES_SERVICE_ACCOUNT' in env);
        await api.remove(SECRETS, namespace, 'simmer-pool-tells-environment');
      }
    },
  );

  t.test('what is made for a function goes with it', async (t) => {
    const uids = new Map<string, string>();
    const { api, namespace, backend, told } = await setUp(t, {
      functionUid: (key) => uids.get(key),
    });
    await ensureCrds(api);
    const make = async () => {
      const made = await api.create(FUNCTIONS, namespace, fn('f', { image: IMAGE }));
      uids.set(`${namespace}/f`, made.metadata.uid ?? '');
    };
    await make();
    const [pod, job] = [requestIn(namespace, 'f'), requestIn(namespace, 'f', { kind: 'job' })];
    for (const request of [pod, job]) {
      await backend.launch(request);
      await told(request.podId, 'started');
    }
    await api.remove(FUNCTIONS, namespace, 'f');
    // A namesake before the garbage collector came: it keeps the Secret, which is its own now.
    await make();
    const next = requestIn(namespace, 'f');
    await backend.launch(next);
    await told(next.podId, 'started');
    for (const { podId } of [pod, job]) t.match(await told(podId, 'exited'), { blameless: true });
    const secret = await api.get(SECRETS, namespace, 'simmer-pool-f');
    t.equal(secret.metadata.ownerReferences?.[0]?.uid, uids.get(`${namespace}/f`));
    await api.remove(FUNCTIONS, namespace, 'f');
    await told(next.podId, 'exited');
    await until('nothing is left', async () => {
      const lists = await Promise.all([PODS, JOBS, SECRETS].map((r) => api.list(r, namespace)));
      return lists.every(({ items }) => items.length === 0);
    });
  });

  t.test('one that stands down writes no more, and still tells', async (t) => {
    const { api, namespace, backend, told, typesOf } = await setUp(t);
    const request = requestIn(namespace, 'f');
    await backend.launch(request);
    await told(request.podId, 'started');
    backend.standDown();
    const writes = api.writeCount;
    await t.rejects(backend.launch(requestIn(namespace, 'f')), {
      message: /another control plane/,
    });
    await backend.terminate(request.podId, 0);
    t.equal(api.writeCount, writes);
    await api.remove(PODS, namespace, request.podId, { graceSeconds: 1 });
    await told(request.podId, 'exited');
    t.ok(typesOf(request.podId).includes('exited'));
  });

  t.test('objects of others, however they are labelled, are not ours', async (t) => {
    const { api, namespace, backend, told, of } = await setUp(t);
    const request = requestIn(namespace, 'f', { kind: 'job' });
    await backend.launch(request);
    await told(request.podId, 'started');
    const job = await api.get(JOBS, namespace, request.podId);
    const containers = [{ name: 'function', image: IMAGE, command: ['sleep', '60'] }];
    const metadata = { name: 'stranger', labels: job.metadata.labels ?? {} };
    const stranger = await api.create(PODS, namespace, { metadata, spec: { containers } });
    await until('the stranger runs', async () => {
      const pod = await api.get(PODS, namespace, 'stranger');
      return (pod['status'] as { phase?: string }).phase === 'Running';
    });
    await api.create(CONFIG_MAPS, namespace, { metadata: { name: 'later' }, data: {} });
    t.notOk(
      of(request.podId).some((e) => e.type === 'identified' && e.uid === stranger.metadata.uid),
    );
    await api.remove(PODS, namespace, 'stranger', { graceSeconds: 0 });
    t.equal((await backend.list()).length, 1);
  });
}

import { warmPoolKey } from '@simmer/protocol/names';
import type { RegisteredFunction } from '@simmer/protocol/registry';
import t from 'tap';
import { keeperWith, manifestOf, turn } from './fakes.ts';

const WARM = warmPoolKey('default', 'warm');

function warm(spec: Record<string, unknown> = {}, revision = 'p1'): RegisteredFunction {
  return {
    ...{ key: WARM, baseDir: '/tmp', revision },
    manifest: manifestOf('warm', { source: { inline: 'x' }, keepAliveMs: 0, ...spec }),
    pool: { tenancy: 'Shared', maxShare: 40, preload: ['early'] },
  };
}

function fn(name = 'f', spec: Record<string, unknown> = {}, revision = 'r1'): RegisteredFunction {
  return {
    ...{ key: `default/${name}`, baseDir: '/tmp', revision },
    manifest: manifestOf(name, { source: { inline: 'x' }, ...spec }),
    source: { entry: 'handler.js', digest: 'd', bytes: Buffer.from('x') },
  };
}

function setUp() {
  const { clock, backend, keeper, sent, of } = keeperWith();
  const ids = () => backend.launched.map((l) => l.podId);
  const claim = (podId: string, functionKey = 'default/f', revision = 'r1') =>
    keeper.onPodClaimed({ type: 'pod-claimed', podId, functionKey, revision });
  return { clock, backend, keeper, sent, of, ids, claim };
}

t.test('the scheduler is told which pools fit, and again when that changes', async (t) => {
  const { keeper, of, backend } = setUp();
  keeper.apply([fn(), warm({ minReplicas: 1 })]);
  t.match(of('functions')[0]?.upsert, [
    { key: 'default/f', claim: { pools: [WARM] } },
    { key: WARM, maxShare: 40 },
  ]);
  t.same(backend.launched[0]?.preload, ['early']);
  keeper.apply([fn()]);
  const last = of('functions').at(-1);
  t.same(last?.remove, [WARM]);
  t.equal(last?.upsert[0]?.claim, undefined);
  t.match(keeper.pool('default/f')?.fit, { reason: /no WarmPool/ });
});

t.test("a claimed pod is its function's, and the pool is refilled up to its maximum", async (t) => {
  const { keeper, ids, claim, backend, of, clock } = setUp();
  keeper.apply([fn(), warm({ minReplicas: 2, maxReplicas: 3 })]);
  await turn();
  for (const podId of ids()) keeper.onPodReady(podId);
  const [first = '', second = ''] = ids();
  claim(first);
  t.same(backend.claims, [[first, 'default/f', 'r1']]);
  t.equal(ids().length, 2, 'not while the claimed one loads');
  clock.advance(100);
  t.equal(ids().length, 3, 'one more');
  t.match(keeper.pool('default/f')?.pods.get(first), { origin: WARM, revision: 'r1' });
  t.notOk(keeper.pool(WARM)?.pods.has(first));
  claim(second);
  clock.advance(100);
  t.equal(ids().length, 3, 'it is at its maximum');
  keeper.need({ type: 'need', functionKey: WARM, kind: 'pool', count: 1 });
  t.match(of('launch-refused'), [{ functionKey: WARM, reason: /maximum \(3\)/ }]);
  keeper.onPodReady(first);
  backend.exit(first, 'signal SIGKILL');
  t.equal(ids().length, 4, 'its place is free');
});

t.test('a pool is refilled when the claimed pod has loaded, and had time to answer', async (t) => {
  const { keeper, ids, claim, clock } = setUp();
  keeper.apply([fn(), warm({ minReplicas: 1 })]);
  await turn();
  const [first = ''] = ids();
  keeper.onPodReady(first);
  claim(first);
  clock.advance(10);
  keeper.onPodReady(first);
  clock.advance(19);
  t.equal(ids().length, 1);
  clock.advance(1);
  t.equal(ids().length, 2);
});

t.test('what is launched for those who wait is not retired when they take it', async (t) => {
  const { keeper, ids, claim, of } = setUp();
  keeper.apply([fn(), warm({ minReplicas: 0 })]);
  keeper.need({ type: 'need', functionKey: WARM, kind: 'pool', count: 1 });
  await turn();
  claim(ids()[0] as string);
  keeper.onPodReady(ids()[0] as string);
  t.same(of('retire'), []);
  t.same(of('drain-pod'), []);
  t.equal(keeper.pool('default/f')?.pods.size, 1);
});

t.test("one that does not load its function is that function's failure", async (t) => {
  const { keeper, ids, claim, backend, of } = setUp();
  keeper.apply([fn(), warm({ minReplicas: 1 })]);
  await turn();
  const [podId = ''] = ids();
  keeper.onPodReady(podId);
  claim(podId);
  keeper.onPodFailed(podId, 'handler_not_loaded', 'why');
  backend.exit(podId, 'exit code 1');
  t.match(of('launch-refused'), [
    { functionKey: 'default/f', kind: 'pool', reason: /handler_not_loaded: why/, hopeless: true },
    { functionKey: 'default/f', kind: 'job' },
  ]);
  t.match(keeper.pool(WARM), { backoff: { state: 'healthy' }, lastFailure: undefined });
});

t.test("it is replaced with its function's revision, and ended with its function", async (t) => {
  const { keeper, ids, claim, of, backend } = setUp();
  keeper.apply([fn(), fn('g'), warm({ minReplicas: 2 })]);
  await turn();
  const [first = '', second = ''] = ids();
  for (const podId of [first, second]) keeper.onPodReady(podId);
  claim(first);
  claim(second, 'default/g');
  for (const podId of [first, second]) keeper.onPodReady(podId);
  keeper.apply([fn('f', {}, 'r2'), warm({ minReplicas: 2 })]);
  t.match(of('drain-pod'), [{ podId: second }]);
  await turn();
  const next = backend.launched.find((l) => l.functionKey === 'default/f')?.podId ?? '';
  keeper.onPodReady(next);
  t.match(of('drain-pod').at(-1), { podId: first });
});

t.test('claimed by a function that is gone, it ends', async (t) => {
  const { keeper, ids, claim, backend } = setUp();
  keeper.apply([warm({ minReplicas: 1 })]);
  await turn();
  const [podId = ''] = ids();
  keeper.onPodReady(podId);
  claim(podId, 'default/gone');
  t.match(backend.terminated, [{ podId, graceMs: 0 }]);
});

t.test(
  "of an earlier process's pods generic ones end, and claimed ones count for their pool",
  async (t) => {
    const { keeper, backend, of } = setUp();
    const found = { kind: 'pool', label: 'x', uids: [], proofKey: '', launchedAt: 0 } as const;
    backend.left = [
      { ...found, podId: 'generic', functionKey: WARM, revision: 'p1' },
      { ...found, podId: 'claimed', functionKey: 'default/f', revision: 'r1', origin: WARM },
    ];
    await keeper.findPods();
    keeper.apply([fn(), warm({ minReplicas: 2, maxReplicas: 2 })]);
    t.match(backend.terminated, [{ podId: 'generic' }]);
    t.match(of('pod-expected'), [
      { podId: 'claimed', functionKey: 'default/f', origin: WARM, credential: '' },
      { functionKey: WARM },
    ]);
    t.equal(of('pod-expected').length, 2, 'one place of two is taken');
  },
);

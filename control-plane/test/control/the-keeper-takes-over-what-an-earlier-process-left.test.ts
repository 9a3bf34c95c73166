/** Pods that outlive the control plane, and what a backend tells of pods from outside: stuck, leaving, lost without blame. */
import type { FoundPod } from '@simmer/protocol/backend';
import t from 'tap';
import { keeperWith, registered, ScriptedBackend, turn } from './fakes.ts';

function setUp(left: readonly FoundPod[] = []) {
  const backend = new ScriptedBackend();
  backend.left = left;
  backend.identifies = true;
  backend.outlives = true;
  const { clock, keeper, sent, lines, of } = keeperWith({ backend });
  return { clock, backend, keeper, sent, lines, of };
}

function foundPod(podId: string, functionName: string, revision = 'r1'): FoundPod {
  return {
    podId,
    kind: 'pool',
    functionKey: `default/${functionName}`,
    label: podId,
    revision,
    uids: [`uid-of-${podId}`],
    proofKey: 'key',
    launchedAt: 1,
  };
}

t.test('pods of a function that is there are taken over before any is launched', async (t) => {
  const s = setUp([foundPod('f-old-1', 'f'), foundPod('f-old-2', 'f'), foundPod('g-old-1', 'g')]);
  await s.keeper.findPods();
  t.strictSame(s.sent, [], 'nothing happens before the functions are known');
  s.keeper.apply([registered('f', { minReplicas: 2 })]);
  t.strictSame(s.backend.launched, [], 'the minimum is there');
  t.match(s.sent.slice(0, 3), [
    { type: 'functions' },
    { type: 'pod-expected', podId: 'f-old-1', credential: '', identified: true, needed: false },
    { type: 'pod-identified', podId: 'f-old-1', uid: 'uid-of-f-old-1', proofKey: 'key' },
  ]);
  t.match(s.backend.terminated, [{ podId: 'g-old-1', graceMs: 0 }], 'an orphan is ended');
  s.keeper.onPodReady('f-old-1');
  s.keeper.onPodReady('f-old-2');
  t.strictSame(s.keeper.notReady(), []);
});

t.test('one that does not come back is replaced, which is no crash', async (t) => {
  const s = setUp([foundPod('f-old-1', 'f')]);
  await s.keeper.findPods();
  s.keeper.apply([registered('f', { minReplicas: 1 })]);
  s.clock.advance(30_000);
  t.match(s.backend.terminated, [{ podId: 'f-old-1' }]);
  t.equal(s.backend.launched.length, 1);
  t.match(s.keeper.pool('default/f'), { backoff: { state: 'healthy' }, lastFailure: undefined });
});

t.test('one of an older revision is rolled like any other', async (t) => {
  const s = setUp([foundPod('f-old-1', 'f', 'r0')]);
  await s.keeper.findPods();
  s.keeper.apply([registered('f', { minReplicas: 1 })]);
  s.keeper.onPodReady('f-old-1');
  t.equal(s.backend.launched.length, 1);
  t.strictSame(s.of('drain-pod'), [], 'it serves until its successor does');
  s.keeper.onPodReady(s.backend.launched[0]?.podId as string);
  t.match(s.of('drain-pod'), [{ podId: 'f-old-1' }]);
});

t.test('stopping leaves them running', async (t) => {
  const s = setUp();
  s.keeper.apply([registered('f', { minReplicas: 2 })]);
  await s.keeper.stop(0);
  t.strictSame(s.backend.terminated, []);
});

t.test('a pod that can never start fails at once, with its reason', async (t) => {
  const s = setUp();
  s.keeper.apply([registered('f', { minReplicas: 1 })]);
  const podId = s.backend.launched[0]?.podId as string;
  s.backend.tell({ type: 'stuck', podId, reason: 'no such image', hopeless: true });
  t.match(s.backend.terminated, [{ podId, graceMs: 0 }]);
  t.match(s.keeper.pool('default/f')?.lastFailure, {
    code: 'launch_failed',
    message: 'no such image',
  });
  t.match(s.of('launch-refused').at(-1), { hopeless: true, reason: /no such image/ });
  const types = s.sent.map((m) => m.type);
  t.ok(
    types.lastIndexOf('launch-refused') < types.indexOf('drain-pod'),
    'the reason first, then that none comes',
  );
});

t.test('a caller’s pod that finds no room is given up before the caller is', async (t) => {
  const s = setUp();
  s.keeper.apply([registered('f', { minReplicas: 1, startupTimeoutMs: 60_000 })]);
  s.keeper.need({ type: 'need', functionKey: 'default/f', kind: 'pool', count: 1 });
  const [kept, needed] = s.backend.launched.map((l) => l.podId) as [string, string];
  for (const podId of [kept, needed]) {
    s.backend.tell({ type: 'stuck', podId, reason: 'no node has room', hopeless: false });
  }
  s.clock.advance(5_000);
  t.match(s.backend.terminated, [{ podId: needed }], 'the other may make the cluster grow');
  t.match(s.of('launch-refused').at(-1), { hopeless: true, reason: /no node has room/ });
});

t.test('a pod that is sent away from outside finishes and is replaced at once', async (t) => {
  const s = setUp();
  s.keeper.apply([registered('f', { minReplicas: 1 })]);
  const podId = s.backend.launched[0]?.podId as string;
  await turn();
  s.keeper.onPodReady(podId);
  s.backend.tell({ type: 'leaving', podId, reason: 'evicted' });
  t.match(s.of('drain-pod'), [{ podId }]);
  t.equal(s.backend.launched.length, 2);
  t.strictSame(s.backend.terminated, [], 'nothing cuts it short');
});

t.test('a pod that its node lost before it was ready is no crash', async (t) => {
  const s = setUp();
  s.keeper.apply([registered('f', { minReplicas: 1 })]);
  const podId = s.backend.launched[0]?.podId as string;
  s.backend.tell({ type: 'exited', podId, reason: 'its node is gone', at: 0, blameless: true });
  t.match(s.keeper.pool('default/f'), { backoff: { state: 'healthy' } });
  t.equal(s.backend.launched.length, 2);
});

t.test('what becomes of a pod before its function is known is not forgotten', async (t) => {
  const s = setUp([foundPod('f-old-1', 'f')]);
  await s.keeper.findPods();
  s.backend.tell({ type: 'exited', podId: 'f-old-1', reason: 'evicted', at: 0, blameless: true });
  s.keeper.apply([registered('f', { minReplicas: 1 })]);
  t.match(s.of('pod-exited'), [{ podId: 'f-old-1', reason: 'evicted' }]);
  t.equal(s.backend.launched.length, 1);
});

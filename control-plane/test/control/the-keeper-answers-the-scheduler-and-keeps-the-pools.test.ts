/** The keeper with a scripted backend, a clock that stands still, and the messages that a scheduler would send. */
import t from 'tap';
import type { PoolKeeper } from '../../src/control/pools/keeper.ts';
import type { NeedMessage } from '../../src/shared/messages.ts';
import { keeperWith, registered, ScriptedBackend, turn } from './fakes.ts';

function setUp(config: Partial<PoolKeeper['options']['config']> = {}, name = 'process') {
  const backend = Object.assign(new ScriptedBackend(), { name });
  const { clock, keeper, sent, lines, of } = keeperWith({ backend, config });
  const ids = () => backend.launched.map((l) => l.podId);
  const need = (count: number, kind: NeedMessage['kind'] = 'pool', name = 'f') =>
    keeper.need({ type: 'need', functionKey: `default/${name}`, kind, count });
  /** What was sent since the last call. */
  const news = () => sent.splice(0);
  return { clock, backend, keeper, sent, lines, of, ids, need, news };
}

t.test(
  'a minimum is launched, announced before the backend is asked, and replaced when it dies',
  async (t) => {
    const { keeper, backend, news, ids, lines } = setUp();
    keeper.apply([registered('f', { minReplicas: 2 })]);
    const [functions, first, second] = news();
    t.match(functions, { type: 'functions', upsert: [{ key: 'default/f', slot: 1 }], remove: [] });
    t.match(
      [first, second],
      [
        { type: 'pod-expected', kind: 'pool', needed: false, revision: 'r1', backend: 'process' },
        { type: 'pod-expected', podId: 'f-boot-2' },
      ],
    );
    t.strictSame(ids(), ['f-boot-1', 'f-boot-2']);
    t.match(first, { podId: ids()[0], credential: backend.launched[0]?.credential });
    t.not(backend.launched[0]?.credential, backend.launched[1]?.credential);
    t.equal(Buffer.from(backend.launched[0]?.credential ?? '', 'base64url').length, 32);

    await turn();
    t.strictSame(keeper.notReady(), ['default/f']);
    backend.start('f-boot-1');
    for (const podId of ids()) keeper.onPodReady(podId);
    t.strictSame(keeper.notReady(), []);
    backend.exit('f-boot-1', 'signal SIGKILL');
    t.match(news(), [
      { type: 'pod-started', podId: 'f-boot-1', label: 'pid-of-f-boot-1' },
      { type: 'pod-exited', podId: 'f-boot-1', reason: 'signal SIGKILL' },
      { type: 'pod-expected', podId: 'f-boot-3' },
    ]);
    t.match(keeper.pool('default/f'), { backoff: { state: 'healthy' }, lastFailure: undefined });
    t.match(lines.at(-1), {
      level: 'warn',
      message: 'pod exited: signal SIGKILL',
      podId: 'f-boot-1',
    });
    t.strictSame(keeper.notReady(), [], 'readiness was reached once and stays');
  },
);

t.test(
  'each unit of a need is answered once: launched up to the maximum, or refused',
  async (t) => {
    const { keeper, need, news, of } = setUp();
    keeper.apply([registered('f', { maxReplicas: 3, overflow: 2 })]);
    news();
    need(2);
    t.match(
      news().map((m) => m.type),
      ['pod-expected', 'pod-expected'],
    );
    need(4);
    t.match(of('pod-expected'), [{ needed: true, kind: 'pool' }]);
    t.match(of('launch-refused'), [
      {
        kind: 'pool',
        count: 3,
        code: 'no_capacity',
        reason: /at its maximum \(3\)/,
        hopeless: false,
      },
    ]);
    news();
    need(3, 'job');
    t.equal(of('pod-expected').length, 2);
    t.match(of('launch-refused'), [{ kind: 'job', count: 1, reason: /overflow: 2/ }]);
    news();
    need(1, 'pool', 'unknown');
    t.match(news(), [{ count: 1, code: 'function_deleted', hopeless: true }]);
  },
);

t.test('Jobs of all functions together are bounded', async (t) => {
  const { keeper, need, backend, of, news, ids } = setUp({ maxJobs: 3 });
  keeper.apply([registered('f', { overflow: 2 }), registered('g', { overflow: 2 })]);
  need(2, 'job');
  need(2, 'job', 'g');
  t.match(of('launch-refused'), [{ functionKey: 'default/g', count: 1, reason: /max-jobs: 3/ }]);
  await turn();
  keeper.onPodReady(ids()[0] as string);
  backend.exit(ids()[0] as string, 'exit code 0');
  news();
  need(1, 'job', 'g');
  t.equal(of('pod-expected').length, 1, 'an ended Job makes room');
});

t.test('a crash loop is suspended, says why, and ends with hope lost', async (t) => {
  const { keeper, backend, clock, need, of, news, ids, lines } = setUp();
  keeper.apply([registered('f')]);
  const delays: number[] = [];
  for (let i = 0; i < 4; i++) {
    news();
    need(1);
    await turn();
    const podId = ids().at(-1) as string;
    backend.exit(podId, 'exit code 1: Error: no database');
    const [refused] = of('launch-refused');
    t.match(refused, {
      count: 0,
      code: 'no_capacity',
      reason: /exited_before_ready: exit code 1: Error: no database/,
      hopeless: i >= 2,
    });
    delays.push(refused?.retryAfterMs ?? 0);
    news();
    need(2);
    t.match(news(), [{ type: 'launch-refused', count: 2, hopeless: i >= 2 }], 'asked too early');
    clock.advance(refused?.retryAfterMs ?? 0);
  }
  t.strictSame(delays, [500, 1_000, 2_000, 4_000]);
  t.equal(ids().length, 4);
  t.match(keeper.pool('default/f')?.lastFailure, {
    code: 'exited_before_ready',
    message: 'exit code 1: Error: no database',
    count: 4,
  });
  t.equal(lines.filter((l) => l.message.startsWith('pod failed')).length, 4, 'one line each');

  need(3);
  t.match(
    news(),
    [{ type: 'pod-expected' }, { type: 'launch-refused', count: 2, hopeless: false }],
    'one is tried at a time',
  );
  await turn();
  keeper.onPodReady(ids().at(-1) as string);
  need(3);
  t.equal(of('pod-expected').length, 3, 'one that got ready ends it');
});

t.test('a minimum that crashes is tried again by itself and counts as said', async (t) => {
  const { keeper, backend, clock, ids } = setUp();
  keeper.apply([registered('f', { minReplicas: 2 })]);
  await turn();
  for (const podId of [...ids()]) backend.exit(podId, 'exit code 1');
  t.match(keeper.pool('default/f')?.backoff, { failures: 1 }, 'launched together, failed once');
  t.strictSame(keeper.notReady(), []);
  clock.advance(499);
  t.equal(ids().length, 2);
  clock.advance(1);
  t.equal(ids().length, 3, 'one first');
  await turn();
  keeper.onPodReady(ids().at(-1) as string);
  t.equal(ids().length, 4, 'then the rest');
});

t.test('a handler that does not load is hopeless at once, until its code changes', async (t) => {
  const { keeper, need, of, news, ids, backend, clock } = setUp();
  keeper.apply([registered('f')]);
  need(1);
  await turn();
  const [podId] = ids() as [string];
  news();
  keeper.onPodFailed(podId, 'handler_not_loaded', "Cannot find module './x.js'");
  t.match(of('launch-refused'), [
    { kind: 'pool', hopeless: true },
    { kind: 'job', hopeless: true },
  ]);
  clock.advance(1_000);
  t.match(backend.terminated, [{ podId, graceMs: 0 }], 'it did not exit by itself');
  t.match(keeper.pool('default/f')?.backoff, { failures: 1 }, 'counted once');
  news();
  keeper.apply([registered('f', {}, 'r2')]);
  need(1);
  t.equal(of('pod-expected').length, 1);
  t.equal(of('launch-refused').length, 0);
});

t.test('a pod that is not ready in time is killed, one the backend refuses is gone', async (t) => {
  const { keeper, need, of, news, backend, clock, ids } = setUp();
  keeper.apply([registered('f', { startupTimeoutMs: 700 })]);
  need(1);
  await turn();
  clock.advance(700);
  t.match(backend.terminated, [{ podId: ids()[0], graceMs: 0 }]);
  t.match(keeper.pool('default/f')?.lastFailure, { code: 'ready_timeout', message: /700 ms/ });
  clock.advance(500);
  news();
  backend.refusal = 'out of processes';
  need(1);
  await turn();
  t.match(of('pod-exited'), [{ podId: 'f-boot-2', reason: 'out of processes' }]);
  t.match(keeper.pool('default/f')?.lastFailure, { code: 'launch_failed', count: 2 });
});

t.test('an unknown backend is a failure that names those there are', async (t) => {
  const { keeper } = setUp();
  keeper.apply([registered('f', { minReplicas: 1, backend: 'mainframe' })]);
  await turn();
  t.match(keeper.pool('default/f')?.lastFailure, {
    code: 'launch_failed',
    message: 'there is no backend mainframe here, only process',
  });
});

t.test('a new revision takes over pod by pod', async (t) => {
  const { keeper, news, of, backend, ids } = setUp();
  keeper.apply([registered('f', { minReplicas: 2 })]);
  await turn();
  for (const podId of ids()) keeper.onPodReady(podId);
  news();
  keeper.apply([registered('f', { minReplicas: 2 }, 'r2')]);
  await turn();
  t.match(of('functions'), [{ upsert: [{ revision: 'r2' }] }]);
  t.match(of('pod-expected'), [{ revision: 'r2' }, { revision: 'r2' }]);
  t.strictSame(of('drain-pod'), [], 'the old serve until then');
  keeper.onPodReady('f-boot-3');
  t.match(of('drain-pod'), [{ podId: 'f-boot-1' }]);
  keeper.onPodDraining('f-boot-1', 'replaced');
  backend.exit('f-boot-1', 'exit code 0');
  keeper.onPodReady('f-boot-4');
  t.match(of('drain-pod'), [{ podId: 'f-boot-1' }, { podId: 'f-boot-2' }]);
  keeper.onPodDraining('f-boot-2', 'replaced');
  backend.exit('f-boot-2', 'exit code 0');
  t.equal(ids().length, 4, 'nothing more is launched');
});

t.test('settings that pods need not know apply at once, to the pods there are', async (t) => {
  const { keeper, news, ids } = setUp();
  keeper.apply([registered('f', { minReplicas: 1 })]);
  await turn();
  keeper.onPodReady(ids()[0] as string);
  news();
  keeper.apply([registered('f', { minReplicas: 1 })]);
  t.strictSame(news(), [], 'nothing changed, nothing said');
  keeper.apply([registered('f', { minReplicas: 1, maxReplicas: 20, queue: { maxLength: 7 } })]);
  t.match(news(), [{ type: 'functions', upsert: [{ spec: { queue: { maxLength: 7 } } }] }]);
  keeper.apply([registered('f', { minReplicas: 3, maxReplicas: 20 })]);
  t.equal(ids().length, 3);
});

t.test('a deleted function: told to the scheduler, its pods leave, its name is free', async (t) => {
  const { keeper, news, of, backend, ids, need } = setUp();
  keeper.apply([registered('f', { minReplicas: 2 })]);
  await turn();
  keeper.onPodReady('f-boot-1');
  news();
  keeper.apply([]);
  t.match(news(), [
    { type: 'functions', upsert: [], remove: ['default/f'] },
    { type: 'drain-pod', podId: 'f-boot-2' },
    { type: 'drain-pod', podId: 'f-boot-1' },
  ]);
  t.equal(keeper.pool('default/f'), undefined);
  keeper.onPodDraining('f-boot-2', 'its function was deleted');
  t.match(backend.terminated, [{ podId: 'f-boot-2' }], 'one that never connected cannot hear it');
  keeper.apply([registered('f')]);
  t.match(of('functions'), [{ upsert: [{ slot: 2 }] }], 'the old block rests');
  news();
  backend.exit('f-boot-1', 'exit code 0');
  t.match(news(), [{ type: 'pod-exited', podId: 'f-boot-1' }]);
  need(1);
  t.equal(ids().length, 3);
});

t.test('a lost pod is killed and replaced; one that does not leave is killed', async (t) => {
  const { keeper, backend, clock, ids, news } = setUp({ maxTimeoutMs: 60_000 });
  keeper.apply([registered('f', { minReplicas: 1, graceMs: 2_000 })]);
  await turn();
  keeper.onPodReady('f-boot-1');
  keeper.onPodLost('f-boot-1', 'missed two heartbeats');
  t.match(backend.terminated, [{ podId: 'f-boot-1', graceMs: 0 }]);
  t.equal(ids().length, 2);
  t.equal(keeper.pool('default/f')?.lastFailure, undefined, 'it had been ready');
  await turn();
  keeper.onPodReady('f-boot-2');
  keeper.onPodDraining('f-boot-2', 'its handler held on');
  t.equal(ids().length, 3, 'replaced as soon as it takes no more work');
  await turn();
  keeper.onPodReady('f-boot-3');
  news();
  clock.advance(62_999);
  t.equal(backend.terminated.length, 1, 'what it runs may take its whole time');
  clock.advance(1);
  t.match(backend.terminated[1], { podId: 'f-boot-2', graceMs: 0 });
});

t.test('a pod that would not die is told again', async (t) => {
  const { keeper, backend, clock } = setUp();
  backend.obedient = false;
  keeper.apply([registered('f', { minReplicas: 1 })]);
  await turn();
  keeper.onPodLost('f-boot-1', 'frozen');
  clock.advance(5_000);
  const told = backend.terminated.filter((x) => x.podId === 'f-boot-1');
  t.equal(told.length, 2);
});

t.test('idle pods over the minimum are retired after their keep-alive', async (t) => {
  const { keeper, clock, of, need, ids } = setUp();
  keeper.apply([registered('f', { minReplicas: 1, keepAliveMs: 10_000 })]);
  need(1);
  await turn();
  for (const podId of ids()) keeper.onPodReady(podId);
  clock.advance(10_999);
  t.strictSame(of('retire'), [], 'that it idles is seen within a second');
  clock.advance(1);
  t.match(of('retire'), [{ functionKey: 'default/f', count: 1, idleMs: 10_000 }]);
  clock.advance(1_000);
  t.equal(of('retire').length, 2, 'asked again while there are more');
  keeper.onPodDraining(ids()[1] as string, 'idle');
  clock.advance(5_000);
  t.equal(of('retire').length, 2);
});

t.test('only so many launches at once, and each function has its turn', async (t) => {
  const { keeper, backend, clock, ids, need } = setUp({ maxConcurrentLaunches: 4 });
  keeper.apply([registered('a', { maxReplicas: 50 }), registered('b')]);
  need(20, 'pool', 'a');
  t.equal(ids().length, 3, 'a place is left for others');
  need(1, 'pool', 'b');
  t.equal(ids().at(-1), 'b-boot-l');
  need(1, 'pool', 'b');
  t.equal(ids().length, 4);
  await turn();
  backend.exit('a-boot-1', 'exit code 1');
  t.equal(keeper.pool('default/a')?.pods.size, 2, 'what was to follow a crash is not launched');
  t.equal(ids().at(-1), 'b-boot-m');
  clock.advance(2_000);
  need(1, 'pool', 'b');
  t.equal(ids().length, 6, 'a slow start gives its place up after a while');
});

t.test('pods on other machines have a limit of their own', async (t) => {
  const limits = { maxConcurrentLaunches: 1, maxConcurrentPodLaunches: 8 };
  const { keeper, ids } = setUp(limits, 'kubernetes');
  keeper.apply([registered('a', { minReplicas: 7, maxReplicas: 7 })]);
  t.equal(ids().length, 6, 'three quarters');
});

t.test('draining launches nothing more; stopping ends every pod', async (t) => {
  const { keeper, backend, news, of, need, ids } = setUp({ maxConcurrentLaunches: 1 });
  keeper.apply([registered('f', { minReplicas: 3 })]);
  await turn();
  keeper.onPodReady('f-boot-1');
  await turn();
  news();
  keeper.drain();
  t.strictSame(
    of('pod-exited').map((m) => m.podId),
    ['f-boot-3'],
    'what had not begun',
  );
  need(1);
  t.match(of('launch-refused'), [{ code: 'draining', hopeless: true, count: 1 }]);
  backend.exit('f-boot-1', 'exit code 1');
  t.equal(ids().length, 2);
  backend.obedient = false;
  let stopped = false;
  const stopping = keeper.stop(1_500).then(() => {
    stopped = true;
  });
  t.match(backend.terminated, [{ podId: 'f-boot-2', graceMs: 1_500 }]);
  await turn();
  t.equal(stopped, false);
  backend.exit('f-boot-2', 'exit code 0');
  await stopping;
  t.equal(ids().length, 2);
});

t.test('a pod ended before its backend had it is ended all the same', async (t) => {
  const { keeper, backend } = setUp();
  keeper.apply([registered('f', { minReplicas: 1 })]);
  const stopping = keeper.stop(1_000);
  await turn();
  await stopping;
  t.match(backend.terminated.at(-1), { podId: 'f-boot-1' });
});

t.test(
  'more functions than blocks share one; a freed block is cleared and used again',
  async (t) => {
    const { keeper, clock, of } = setUp();
    const many = Array.from({ length: 12 }, (_, i) => registered(`f${i}`));
    keeper.apply(many);
    t.strictSame(
      of('functions')[0]?.upsert.map((f) => f.slot),
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 0],
    );
    keeper.apply(many.slice(1));
    keeper.apply([...many.slice(1), registered('early')]);
    clock.advance(10_000);
    keeper.apply([...many.slice(1), registered('early'), registered('late')]);
    t.match(of('functions').slice(2), [{ upsert: [{ slot: 0 }] }, { upsert: [{ slot: 1 }] }]);
  },
);

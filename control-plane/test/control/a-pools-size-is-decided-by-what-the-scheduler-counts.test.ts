/** The keeper samples the counters that the scheduler writes; here the test writes them, and moves the clock. */
import t from 'tap';
import { desiredOf } from '../../src/control/pool-status.ts';
import type { PoolKeeper } from '../../src/control/pools/keeper.ts';
import { FunctionCounters } from '../../src/shared/counters.ts';
import { keeperWith, registered, turn } from './fakes.ts';

function setUp(
  spec: Record<string, unknown>,
  maxConcurrentLaunches = 100,
  namespaceIdleBytes = 0,
  others = 0,
) {
  const { clock, backend, keeper, memory, sent } = keeperWith({
    config: { maxConcurrentLaunches, namespaceIdleBytes },
    slots: 1 + others,
  });
  const names = Array.from({ length: others }, (_, i) => `g${i}`);
  keeper.apply(['f', ...names].map((name) => registered(name, spec)));
  const counters = new FunctionCounters(memory, 1);
  const readied = new Set<string>();
  /** Every pod that was launched is ready by the end of the turn. */
  const settle = async () => {
    await turn();
    for (const { podId } of [...backend.launched]) {
      if (!readied.has(podId)) keeper.onPodReady(podId);
      readied.add(podId);
    }
  };
  /** Seconds in each of which so many calls of `serviceMs` come and go. */
  const load = async (seconds: number, calls: number, serviceMs = 100) => {
    for (let s = 0; s < seconds; s++) {
      for (let i = 0; i < calls; i++) {
        counters.count('accepted');
        counters.countPlacement('warm');
        counters.addSlotMs(serviceMs);
      }
      clock.advance(1_000);
      await settle();
    }
  };
  /** As the scheduler does: those that were to be retired leave. */
  const leave = () => {
    const order = sent.splice(0).findLast((m) => m.type === 'retire');
    const ready = [...pool().pods.values()].filter((p) => p.phase.name === 'ready');
    for (const { podId } of ready.slice(0, order?.count ?? 0)) {
      keeper.onPodDraining(podId, 'idle');
      backend.exit(podId, 'exit code 0');
    }
  };
  const pool = () => keeper.pool('default/f') as NonNullable<ReturnType<PoolKeeper['pool']>>;
  const need = (count: number) =>
    keeper.need({ type: 'need', functionKey: 'default/f', kind: 'pool', count });
  return { clock, backend, keeper, counters, memory, settle, load, leave, pool, need, sent };
}

t.test(
  'the load has its pods before anybody misses them, and loses them after a delay',
  async (t) => {
    const { load, leave, pool, settle, need } = setUp({
      maxReplicas: 50,
      scaling: { scaleDownDelayMs: 30_000, stableWindowMs: 30_000 },
    });
    need(1);
    await settle();
    await load(40, 200);
    t.equal(pool().pods.size, 25, '200 calls a second of 100 ms, at 80 per cent');
    t.match(pool().size, { desired: 25, decidedBy: 'load' });
    await load(29, 1);
    leave();
    t.equal(pool().pods.size, 25);
    await load(15, 1);
    leave();
    t.ok(pool().pods.size < 25, `fewer after the delay: ${pool().pods.size}`);
    for (let i = 0; i < 60; i++) {
      await load(1, 1);
      leave();
    }
    t.equal(pool().pods.size, 1);
  },
);

t.test('nothing is launched ahead where pods of a WarmPool can be claimed', async (t) => {
  const { load, backend, pool } = setUp({ maxReplicas: 50 });
  pool().fit = {
    claim: { pools: ['default/pool.warm'], env: [], secrets: [], memoryBytes: 0 },
  };
  await load(20, 200);
  t.equal(backend.launched.length, 0);
  pool().fit = undefined;
  await load(1, 200);
  t.ok(backend.launched.length > 0, 'otherwise it is');
});

t.test('what a miss launched stays at least the stable window', async (t) => {
  const { load, leave, need, settle, pool } = setUp({ scaling: { scaleDownDelayMs: 0 } });
  need(1);
  await settle();
  await load(5, 1);
  need(6);
  t.equal(desiredOf(pool()), 7, 'it counts at once');
  await settle();
  await load(59, 1);
  leave();
  t.equal(pool().pods.size, 7);
  await load(3, 1);
  leave();
  t.equal(pool().pods.size, 1);
});

t.test('a burst that is over launches no more of what it had ordered', async (t) => {
  const { load, need, settle, pool, counters, backend } = setUp({ maxReplicas: 50 }, 4);
  need(1);
  await settle();
  await load(2, 1);
  need(20);
  counters.addGauge('queued', 30);
  await load(1, 1);
  t.ok(pool().pods.size > 20, 'while somebody waits, all of it is wanted');
  counters.addGauge('queued', -30);
  await load(1, 1);
  const { length } = backend.launched;
  t.ok(length < 15, `${length} launched`);
  t.equal(pool().pods.size, length, 'the rest was taken back');
});

t.test(
  'an idle function keeps one pod for its keep-alive, and pays for none after it',
  async (t) => {
    const { load, leave, need, settle, pool, clock, backend } = setUp({ keepAliveMs: 120_000 });
    need(4);
    await settle();
    await load(10, 20);
    clock.advance(100_000);
    leave();
    t.equal(pool().pods.size, 1);
    t.match(pool().size, { decidedBy: 'keep-alive', ahead: 0 });
    const { length } = backend.launched;
    for (const podId of pool().pods.keys()) backend.exit(podId, 'signal SIGKILL');
    clock.advance(2_000);
    t.equal(backend.launched.length, length, 'one that dies meanwhile is not replaced');
    need(1);
    await settle();
    await load(1, 1);
    clock.advance(123_000);
    leave();
    t.equal(pool().pods.size, 0);
    t.match(pool().size, { desired: 0, decidedBy: 'keep-alive' });
  },
);

t.test(
  'a function that is called with a rhythm has a pod again just before the next call',
  async (t) => {
    const minutes = 30;
    const { load, leave, need, settle, pool, clock, backend } = setUp({});
    /** Seconds in which nothing calls; in how many of them there was a pod. */
    const rest = async (seconds: number) => {
      let kept = 0;
      for (let s = 0; s < seconds; s++) {
        clock.advance(1_000);
        await settle();
        leave();
        if (pool().pods.size > 0) kept++;
      }
      return kept;
    };
    let missed = 0;
    let kept = 0;
    for (let call = 0; call < 12; call++) {
      if (pool().pods.size === 0) {
        missed = call;
        need(1);
        await settle();
      }
      await load(1, 1);
      kept = await rest(minutes * 60 - 1);
    }
    t.ok(missed <= 4, `learned after call ${missed}: no cold start since`);
    t.ok(kept < 0.6 * minutes * 60, `a pod for ${kept} s of ${minutes} min`);
    t.match(pool().size, { decidedBy: 'keep-alive', desired: 1 });
    t.ok(backend.launched.length > 8, 'each time a new one');
  },
);

t.test('where idle pods hold too much memory, those of rarely called functions go', async (t) => {
  const MIB = 1_048_576;
  const { keeper, memory, clock, settle, load, need, leave, pool } = setUp(
    { keepAliveMs: 3_600_000 },
    100,
    2 * 64 * MIB,
    3,
  );
  need(1);
  for (const g of ['g0', 'g1', 'g2']) {
    keeper.need({ type: 'need', functionKey: `default/${g}`, kind: 'pool', count: 1 });
  }
  await settle();
  for (let slot = 2; slot <= 4; slot++) {
    const counters = new FunctionCounters(memory, slot);
    for (let i = 0; i < slot * 10; i++) {
      counters.count('accepted');
      counters.countPlacement('warm');
      counters.addSlotMs(5);
    }
  }
  await load(1, 1);
  clock.advance(2_000);
  const desired = ['f', 'g0', 'g1', 'g2'].map(
    (name) => keeper.pool(`default/${name}`)?.size?.desired,
  );
  t.same(desired, [0, 0, 1, 1], 'two of 64 MiB have room');
  t.match(pool().size?.explain(), /idle pods of its namespace hold more memory/);
  leave();
  clock.advance(5_000);
  t.match(pool().size, { desired: 0, decidedBy: 'keep-alive' });
  need(1);
  await load(1, 1);
  t.match(pool().size, { desired: 1 }, 'until it is called again');
});

t.test('where counters are shared the keep-alive alone decides', async (t) => {
  const { keeper, clock, sent } = setUp({});
  keeper.apply([registered('f'), registered('g', { keepAliveMs: 5_000 })]);
  keeper.need({ type: 'need', functionKey: 'default/g', kind: 'pool', count: 2 });
  await turn();
  for (const podId of [...(keeper.pool('default/g')?.pods.keys() ?? [])]) keeper.onPodReady(podId);
  clock.advance(5_000);
  t.equal(keeper.pool('default/g')?.size, undefined);
  t.match(
    sent.filter((m) => m.type === 'retire'),
    [{ functionKey: 'default/g', count: 2, idleMs: 5_000 }],
  );
});

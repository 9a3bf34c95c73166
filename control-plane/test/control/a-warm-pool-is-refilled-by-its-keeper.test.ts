import { warmPoolKey } from '@simmer/protocol/names';
import t from 'tap';
import type { PoolKeeper } from '../../src/control/pools/keeper.ts';
import { keeperWith, manifestOf, registered, turn } from './fakes.ts';

const WARM = warmPoolKey('default', 'warm');

/** A WarmPool and functions `f0`, `f1`, ... that claim its pods. */
async function setUp(spec: Record<string, unknown>, idle: number | undefined, scaledBy?: string) {
  const { clock, keeper, sent } = keeperWith({
    config: { maxConcurrentLaunches: 4 },
    slots: 100,
  });
  keeper.apply([
    {
      ...{ key: WARM, baseDir: '/tmp', revision: 'p1' },
      manifest: manifestOf('warm', { source: { inline: 'x' }, keepAliveMs: 0, ...spec }),
      pool: {
        ...{ tenancy: 'Shared', maxShare: 50, preload: [] },
        ...(idle !== undefined && { idle }),
      },
      ...(scaledBy !== undefined && { scaledBy }),
    },
    ...Array.from({ length: 50 }, (_, i) => registered(`f${i}`)),
  ]);
  const pool = () => keeper.pool(WARM) as NonNullable<ReturnType<PoolKeeper['pool']>>;
  /** All that were launched are ready, and those that waited for their turn. */
  const settle = async () => {
    for (;;) {
      await turn();
      const starting = [...pool().pods.values()].filter((p) => p.phase.name === 'starting');
      if (starting.length === 0) return;
      for (const { podId } of starting) keeper.onPodReady(podId);
    }
  };
  await settle();
  let claims = 0;
  const claim = (count: number) => {
    const ready = [...pool().pods.values()].filter((p) => p.phase.name === 'ready');
    for (const { podId } of ready.slice(0, count)) {
      const functionKey = `default/f${claims++}`;
      keeper.onPodClaimed({ type: 'pod-claimed', podId, functionKey, revision: 'r1' });
    }
  };
  const seconds = async (count: number, claimed = 0) => {
    for (let i = 0; i < count; i++) {
      claim(claimed);
      clock.advance(1_000);
      await settle();
    }
  };
  const need = (count: number) =>
    keeper.need({ type: 'need', functionKey: WARM, kind: 'pool', count });
  return { keeper, pool, seconds, claim, need, settle, clock, sent };
}

t.test('it keeps its idle pods ready, and launches ahead what is claimed meanwhile', async (t) => {
  const { pool, seconds } = await setUp({ minReplicas: 1, maxReplicas: 40 }, 6);
  t.equal(pool().pods.size, 1, 'its minimum at once');
  await seconds(2);
  t.equal(pool().pods.size, 6);
  t.match(pool().size, { desired: 6, decidedBy: 'load' });
  await seconds(5, 4);
  t.equal(pool().pods.size, 7, 'four a second, and a start takes a fifth of one');
  t.match(pool().size?.explain(), '6 idle, and 1 for 4.0 claims a second while others start.');
});

t.test('its minimum is its idle pods where it says no more', async (t) => {
  const { pool, seconds } = await setUp({ minReplicas: 2, maxReplicas: 40 }, undefined);
  await seconds(2);
  t.match(pool().size, { desired: 2, decidedBy: 'minReplicas' });
  const scaled = await setUp({ minReplicas: 2, maxReplicas: 40 }, undefined, 'kubectl');
  await scaled.seconds(2);
  t.match(scaled.pool().size, { desired: 2, decidedBy: 'scale' });
});

t.test('claimed pods count towards its maximum', async (t) => {
  const { pool, seconds } = await setUp({ minReplicas: 0, maxReplicas: 6 }, 4);
  await seconds(2);
  await seconds(1, 4);
  t.equal(pool().pods.size, 2);
  t.match(pool().size, { desired: 2, decidedBy: 'maxReplicas' });
});

t.test('what callers ordered is not taken back, though it waits for its turn', async (t) => {
  const { pool, seconds, need, clock } = await setUp({ minReplicas: 1, maxReplicas: 40 }, 1);
  await seconds(2);
  need(12);
  clock.advance(3_000);
  t.equal(pool().pods.size, 13);
  await seconds(3);
  t.equal(pool().size?.desired, 1, 'those that nobody has claimed may go');
});

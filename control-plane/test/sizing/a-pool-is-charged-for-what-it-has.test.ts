import { warmPoolKey } from '@simmer/protocol/names';
import t from 'tap';
import { poolStatus } from '../../src/control/pool-status.ts';
import { HEALTHY } from '../../src/control/pools/backoff.ts';
import type { Pod, PodPhase, Pool } from '../../src/control/pools/pool.ts';
import { CounterSlots } from '../../src/control/pools/slots.ts';
import { newCost } from '../../src/control/sizing/cost.ts';
import { costOf, PoolCosts } from '../../src/control/sizing/pool-costs.ts';
import { allocateCounters, FunctionCounters, HISTOGRAM } from '../../src/shared/counters.ts';
import { registered } from '../control/fakes.ts';

const READY: PodPhase = { name: 'ready', since: 0 };
const QUEUED: PodPhase = { name: 'queued' };
const DRAINING: PodPhase = { name: 'draining', killAt: 1, wasReady: true };

function setUp(phases: readonly PodPhase[], spec: Record<string, unknown> = {}, warm = false) {
  const memory = allocateCounters(1);
  const slots = new CounterSlots(memory, 1);
  const slot = slots.take(0);
  const pods = phases.map((phase, i): [string, Pod] => [
    `p${i}`,
    {
      ...{ podId: `p${i}`, kind: 'pool', revision: 'r1', backend: 'process', credential: '' },
      ...{ launchedAt: 0, adopted: false, needed: false, origin: undefined, stuck: undefined },
      ...{ label: String(100 + i), phase },
    },
  ]);
  const pool: Pool = {
    ...{ key: warm ? warmPoolKey('default', 'f') : 'default/f', slot },
    registered: {
      ...registered('f', spec),
      ...(warm && { pool: { tenancy: 'Shared', maxShare: 50, preload: [] } }),
    },
    ...{ pods: new Map(pods), backoff: HEALTHY, lastFailure: undefined, rollTarget: 0 },
    ...{ lastRetireAt: 0, claimed: new Map(), claims: 0, fit: undefined, size: undefined },
    ...{ grown: 0, cost: newCost(0), deleted: false, wakeAt: 0 },
  };
  return { pool, slots, counters: new FunctionCounters(memory, slot) };
}

t.test('pods that are there, those that idle, and their memory, over time', async (t) => {
  const { pool, slots, counters } = setUp([READY, READY, READY, DRAINING, QUEUED], {
    template: { resources: { requests: { memory: '100Mi' } } },
  });
  const costs = new PoolCosts(slots, () => undefined);
  counters.addGauge('podsIdle', 2);
  costs.charge([pool], 10_000);
  counters.addGauge('podsIdle', -2);
  costs.charge([pool], 15_000);
  t.match(costOf(pool, counters), {
    podSeconds: 4 * 15,
    idlePodSeconds: 2 * 10,
    idleMibSeconds: 2 * 10 * 100,
    memoryMib: 400,
    coldStarts: 0,
    savedSeconds: 0,
  });
});

t.test('what warm pods saved: a cold start for each call that they served', async (t) => {
  const { pool, counters } = setUp([READY]);
  for (const ms of [100, 300]) counters.observe(HISTOGRAM.ready, ms);
  for (let i = 0; i < 50; i++) counters.countPlacement('warm');
  counters.countPlacement('grown');
  t.match(costOf(pool, counters), { coldStarts: 2, coldStartSeconds: 0.2, savedSeconds: 10 });
});

t.test('processes of this machine are measured', async (t) => {
  const { pool, slots, counters } = setUp([READY, READY, QUEUED]);
  const costs = new PoolCosts(slots, (pid) => (pid === 100 ? 50 : 70));
  for (let second = 1; second <= 10; second++) costs.charge([pool], second * 1_000);
  t.equal(costOf(pool, counters).memoryMib, 120, 'two that are there, of 60 MiB on average');
  const real = setUp([READY]);
  const own = real.pool.pods.get('p0') as Pod;
  own.label = String(process.pid);
  const measured = new PoolCosts(real.slots);
  for (let second = 1; second <= 10; second++) measured.charge([real.pool], second * 1_000);
  t.ok(costOf(real.pool, real.counters).memoryMib > 10, 'by the system itself');
});

t.test(
  'a WarmPool idles until it is claimed, and its status says what that comes to',
  async (t) => {
    const { pool, slots, counters } = setUp([READY, READY], {}, true);
    const costs = new PoolCosts(slots, () => undefined);
    costs.charge([pool], 3_600_000);
    counters.observe(HISTOGRAM.ready, 400);
    pool.claims = 321;
    t.match(poolStatus(pool, counters), {
      cost: { claims: 321, idlePodMinutes: 120, savedSeconds: 130 },
    });
    t.equal(poolStatus(setUp([READY]).pool, counters).cost, undefined, 'functions have metrics');
  },
);

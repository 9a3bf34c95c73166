import fc from 'fast-check';
import t from 'tap';
import { HEALTHY, onFailure } from '../../src/control/pools/backoff.ts';
import {
  isLive,
  type Pod,
  type PodPhase,
  type Pool,
  type PoolSize,
} from '../../src/control/pools/pool.ts';
import { isSettled, type Upkeep, upkeep } from '../../src/control/pools/upkeep.ts';
import { newCost } from '../../src/control/sizing/cost.ts';
import { registered } from './fakes.ts';

let ids = 0;
const pod = (phase: PodPhase, revision = 'r1', kind: Pod['kind'] = 'pool'): Pod => ({
  podId: `pod-${++ids}`,
  kind,
  revision,
  backend: 'process',
  credential: 'x',
  launchedAt: 0,
  adopted: false,
  needed: false,
  stuck: undefined,
  origin: undefined,
  label: undefined,
  phase,
});
const queued: PodPhase = { name: 'queued' };
const starting = (deadline = 1e9): PodPhase => ({ name: 'starting', deadline });
const ready = (since = 0): PodPhase => ({ name: 'ready', since });
const draining = (killAt = 1e9): PodPhase => ({ name: 'draining', killAt, wasReady: true });
const ending = (killAt = 1e9): PodPhase => ({ name: 'ending', killAt });

function poolOf(spec: Record<string, unknown>, pods: Pod[], more: Partial<Pool> = {}): Pool {
  return {
    key: 'default/f',
    slot: 1,
    registered: registered('f', spec),
    pods: new Map(pods.map((p) => [p.podId, p])),
    backoff: HEALTHY,
    lastFailure: undefined,
    rollTarget: 0,
    lastRetireAt: Number.NEGATIVE_INFINITY,
    claimed: new Map(),
    claims: 0,
    fit: undefined,
    size: undefined,
    grown: 0,
    cost: newCost(0),
    deleted: false,
    wakeAt: Number.POSITIVE_INFINITY,
    ...more,
  };
}
const NOTHING: Upkeep = {
  launch: 0,
  cancel: [],
  drain: [],
  late: [],
  kill: [],
  retire: 0,
  idleMs: 0,
  rolling: false,
  wakeAt: Number.POSITIVE_INFINITY,
};

t.test('the minimum is launched, and what died is replaced', async (t) => {
  t.strictSame(upkeep(poolOf({}, []), 0), NOTHING);
  t.match(upkeep(poolOf({ minReplicas: 3 }, []), 0), { launch: 3 });
  t.match(upkeep(poolOf({ minReplicas: 3 }, [pod(queued), pod(starting())]), 0), { launch: 1 });
  const leaving = [pod(ready()), pod(draining()), pod(ending())];
  t.match(upkeep(poolOf({ minReplicas: 3 }, leaving), 0), { launch: 2 });
  const jobs = [pod(ready(), 'r1', 'job'), pod(ready())];
  t.match(upkeep(poolOf({ minReplicas: 2 }, jobs), 0), { launch: 1 }, 'Jobs are no pool pods');
});

t.test('while its pods crash, the minimum waits, then is tried one at a time', async (t) => {
  const backoff = onFailure(HEALTHY, 0, 10);
  const pool = poolOf({ minReplicas: 3 }, [], { backoff });
  t.strictSame(upkeep(pool, 20), { ...NOTHING, wakeAt: 510 });
  t.match(upkeep(pool, 510), { launch: 1 });
  const trying = poolOf({ minReplicas: 3 }, [pod(starting())], { backoff });
  t.match(upkeep(trying, 510), { launch: 0 });
  const waiting = pod(queued);
  const suspended = poolOf({ minReplicas: 3 }, [waiting], { backoff });
  t.strictSame(upkeep(suspended, 20).cancel, [waiting], 'what was to follow is not launched');
});

t.test('an old revision leaves pod by pod as the new one gets ready', async (t) => {
  const old = [pod(ready(), 'r0'), pod(ready(), 'r0'), pod(ready(), 'r0')];
  const rolling = (current: Pod[], spec = {}) =>
    upkeep(poolOf({ maxReplicas: 5, ...spec }, [...old, ...current], { rollTarget: 3 }), 0);
  t.match(rolling([]), { launch: 3, drain: [], rolling: true }, 'the old serve meanwhile');
  t.match(rolling([pod(starting()), pod(queued), pod(queued)]), { launch: 0, drain: [] });
  t.same(rolling([pod(ready()), pod(starting()), pod(queued)]).drain, [old[0]]);
  t.same(rolling([pod(ready()), pod(ready()), pod(ready())]).drain, old);
  t.match(rolling([], { maxReplicas: 2 }), { launch: 2 }, 'no more than the new maximum');
});

t.test('an old revision goes on while the new one crashes', async (t) => {
  const pods = [pod(ready(), 'r0'), pod(ready(), 'r0')];
  const backoff = onFailure(HEALTHY, 0, 0);
  const pool = poolOf({ minReplicas: 1 }, pods, { rollTarget: 2, backoff });
  t.match(upkeep(pool, 100), { launch: 0, drain: [], cancel: [] });
  t.match(upkeep(pool, 600), { launch: 1, drain: [], cancel: [] });
});

t.test('pods of an old revision that are not ready go first', async (t) => {
  const [waiting, coming, serving] = [pod(queued, 'r0'), pod(starting(), 'r0'), pod(ready(), 'r0')];
  const pods = [serving, coming, waiting, pod(ready())];
  const plan = upkeep(poolOf({}, pods, { rollTarget: 2 }), 0);
  t.same(plan.cancel, [waiting]);
  t.same(plan.drain, [coming]);
});

t.test('a smaller maximum, and deletion, make pods leave', async (t) => {
  const pods = [pod(ready()), pod(starting()), pod(queued)];
  const shrunk = upkeep(poolOf({ maxReplicas: 1 }, pods), 0);
  t.same([shrunk.cancel, shrunk.drain], [[pods[2]], [pods[1]]]);
  const all = [...pods, pod(ready(), 'r1', 'job')];
  const deleted = upkeep(poolOf({ minReplicas: 2 }, all, { deleted: true }), 0);
  t.match(deleted, { launch: 0, retire: 0 });
  t.same(deleted.cancel, [pods[2]]);
  t.same(new Set(deleted.drain), new Set([pods[0], pods[1], all[3]]));
});

const sized = (desired: number, ahead: number): PoolSize => ({
  ...{ desired, ahead, idleMs: 0, decidedBy: 'load', wakeAt: 0 },
  explain: () => '',
});

t.test('a pool has the size that was decided: no more, and ahead of misses no less', async (t) => {
  const pods = [pod(ready()), pod(ready()), pod(ready())];
  t.match(upkeep(poolOf({}, pods, { size: sized(5, 5) }), 0), { launch: 2, retire: 0 });
  t.match(upkeep(poolOf({}, pods, { size: sized(5, 2) }), 0), { launch: 0 }, 'nor for what was');
  t.match(upkeep(poolOf({ maxReplicas: 4 }, pods, { size: sized(5, 5) }), 0), { launch: 1 });
  t.match(upkeep(poolOf({ minReplicas: 4 }, pods, { size: sized(2, 0) }), 0), { launch: 1 });
  const over = poolOf({}, pods, { size: { ...sized(1, 1), idleMs: 70 }, lastRetireAt: 500 });
  t.match(upkeep(over, 1_000), { retire: 0, wakeAt: 1_500 });
  t.match(upkeep(over, 1_500), { retire: 2, idleMs: 70 });
  const grown = poolOf({}, pods, { size: sized(1, 1), grown: 3 });
  t.match(upkeep(grown, 1_500), { retire: 0 }, 'what a miss launched since is wanted');
  const rolling = poolOf({}, [...pods, pod(ready(), 'r0')], { size: sized(1, 1) });
  t.match(upkeep(rolling, 1_500), { retire: 0 }, 'not while pods are replaced');
});

t.test('a launch that has not begun is taken back where fewer pods are enough', async (t) => {
  const waiting = [pod(queued), pod(queued)];
  const pods = [pod(ready()), pod(starting()), ...waiting];
  t.same(upkeep(poolOf({}, pods, { size: sized(3, 3) }), 0).cancel, [waiting[1]]);
  t.same(upkeep(poolOf({}, pods, { size: sized(1, 1) }), 0).cancel, waiting);
  t.same(upkeep(poolOf({}, pods, { size: sized(1, 1), grown: 4 }), 0).cancel, []);
  t.same(upkeep(poolOf({ minReplicas: 4 }, pods, { size: sized(1, 1) }), 0).cancel, []);
});

t.test(
  'pods over the minimum are retired once they can have idled for the keep-alive',
  async (t) => {
    const spec = { minReplicas: 1, keepAliveMs: 20_000 };
    const pool = poolOf(spec, [pod(ready(0)), pod(ready(5_000)), pod(ready(9_000))]);
    t.strictSame(upkeep(pool, 10_000), { ...NOTHING, wakeAt: 20_000 });
    t.match(upkeep(pool, 20_000), { retire: 2 });
    pool.lastRetireAt = 20_000;
    t.strictSame(upkeep(pool, 20_000), { ...NOTHING, wakeAt: 22_000 }, 'asked again in a while');
    t.match(upkeep(poolOf(spec, [pod(ready(0))]), 1e6), { retire: 0 }, 'the minimum stays');
  },
);

t.test('what is late, or stays although it was to leave, is ended', async (t) => {
  const late = pod(starting(100));
  const stubborn = [pod(draining(100)), pod(ending(100))];
  const pool = poolOf({}, [late, ...stubborn, pod(draining(300)), pod(starting(250))]);
  t.match(upkeep(pool, 99), { late: [], kill: [], wakeAt: 100 });
  const plan = upkeep(pool, 100);
  t.same([plan.late, plan.kill, plan.wakeAt], [[late], stubborn, 250]);
});

t.test('a pool is settled when it has its minimum, or says why not', async (t) => {
  t.equal(isSettled(poolOf({}, [])), true);
  t.equal(isSettled(poolOf({ minReplicas: 1 }, [pod(starting())])), false);
  t.equal(isSettled(poolOf({ minReplicas: 1 }, [pod(ready())])), true);
  t.equal(isSettled(poolOf({ minReplicas: 1 }, [pod(ready(), 'r0')])), true, 'an old one serves');
  const backoff = onFailure(HEALTHY, 0, 0);
  t.equal(isSettled(poolOf({ minReplicas: 1 }, [], { backoff })), true);
});

t.test('carried out, its orders come to rest within its bounds', async (t) => {
  const phase = fc.oneof(
    fc.constant(queued),
    fc.nat(2_000).map(starting),
    fc.nat(1_000).map(ready),
    fc.nat(2_000).map(draining),
    fc.nat(2_000).map(ending),
  );
  const anyPod = fc
    .tuple(phase, fc.constantFrom('r0', 'r1'), fc.constantFrom('pool', 'pool', 'job'))
    .map(([p, revision, kind]) => pod(p, revision, kind as Pod['kind']));
  const spec = fc
    .record({
      minReplicas: fc.nat(4),
      extra: fc.integer({ min: 1, max: 4 }),
      keepAliveMs: fc.nat(3_000),
    })
    .map(({ minReplicas, extra, keepAliveMs }) => ({
      minReplicas,
      maxReplicas: minReplicas + extra,
      keepAliveMs,
    }));
  const NOW = 1_000;
  const counts = { pools: 0, launched: 0, drained: 0 };
  fc.assert(
    fc.property(
      spec,
      fc.array(anyPod, { maxLength: 12 }),
      fc.nat(6),
      fc.boolean(),
      fc.constantFrom(0, 1, 600),
      (spec, pods, rollTarget, deleted, sinceFailure) => {
        const backoff = sinceFailure === 0 ? HEALTHY : onFailure(HEALTHY, 0, NOW - sinceFailure);
        const pool = poolOf(spec, pods, { rollTarget, deleted, backoff });
        counts.pools++;
        const served = pods.filter((p) => p.kind === 'pool' && p.phase.name === 'ready').length;
        for (let looks = 0; ; looks++) {
          if (looks > 3) throw new Error('does not come to rest');
          const plan = upkeep(pool, NOW);
          const acts = [...plan.cancel, ...plan.drain, ...plan.late, ...plan.kill].length;
          if (plan.launch + acts + plan.retire === 0) {
            if (plan.wakeAt <= NOW) throw new Error('would wake at once, for ever');
            break;
          }
          for (let i = 0; i < plan.launch; i++) {
            const p = pod(queued);
            pool.pods.set(p.podId, p);
          }
          counts.launched += plan.launch;
          counts.drained += plan.drain.length;
          for (const p of plan.cancel) pool.pods.delete(p.podId);
          for (const p of plan.drain) p.phase = draining(NOW + 1);
          for (const p of [...plan.late, ...plan.kill]) p.phase = ending(NOW + 1);
          if (plan.retire > 0) pool.lastRetireAt = NOW;
        }
        const live = [...pool.pods.values()].filter(isLive);
        const current = live.filter((p) => p.revision === 'r1');
        const serving = live.filter((p) => p.phase.name === 'ready');
        if (deleted) return live.length === 0;
        if (current.length > spec.maxReplicas) return false;
        // Nobody who served was sent away unless others serve in their place.
        if (served > 0 && serving.length === 0 && rollTarget > 0) return false;
        return sinceFailure !== 0 || current.length >= spec.minReplicas;
      },
    ),
    { numRuns: 2_000 },
  );
  t.ok(counts.launched > 0 && counts.drained > 0, 'the property saw launches and drains');
});

/** Claims in the scheduler's core, with pods that are scripted; then anything in any order. */
import fc from 'fast-check';
import t from 'tap';
import type { FunctionState } from '../../src/scheduler/function-state.ts';
import type { Pod } from '../../src/scheduler/pod.ts';
import { type Call, FakeLink, Harness } from './harness.ts';

function setUp({ pods = 0, max = 10, maxShare = 50 } = {}) {
  const h = new Harness();
  const warm = h.defineWarmPool('warm', max, maxShare);
  const generic = Array.from({ length: pods }, () => h.pod(warm));
  const fn = (name: string, spec = {}) => h.defineClaiming(name, [warm], spec);
  const claims = () => h.posted.filter((m) => m.type === 'pod-claimed');
  const orders = (key: string) =>
    h.posted.reduce(
      (sum, m) => sum + (m.type === 'need' && m.functionKey === key ? m.count : 0),
      0,
    );
  /** Has the pool launch what it was asked for, and each connect. */
  const deliver = () => {
    for (let left = warm.orderedPods; left > 0; left--) h.pod(warm, 'pool', true);
  };
  /** Those that load are loaded. */
  const load = () => {
    for (const fn of h.core.functions.all()) {
      for (const pod of fn.pods) if (!fn.generic && pod.state === 'loading') h.core.pods.ready(pod);
    }
  };
  return { h, warm, generic, fn, claims, orders, deliver, load };
}

t.test('a miss claims a pod at once, and it serves the head when it is loaded', async (t) => {
  const { h, warm, fn, claims, generic } = setUp({ pods: 2 });
  const f = fn('f', { concurrency: 3 });
  const { reply, invocation } = h.call(f);
  t.match(claims(), [{ podId: generic[0]?.id, functionKey: 'default/f', revision: 'r1' }]);
  const pod = generic[0] as Pod;
  t.equal(pod.fn, f);
  t.match([f.comingPods, f.poolPods, warm.poolPods, warm.available.withFreeSlot], [1, 1, 1, 1]);
  t.equal(h.needs('pool'), 0, 'nothing is launched');
  h.call(f);
  h.advance(60);
  t.equal(claims().length, 1, 'one that loads is on its way');
  h.core.pods.ready(pod);
  t.equal(pod.capacity, 3);
  t.equal(f.servingSlots, 3);
  t.equal(h.link(pod).invoked.length, 2);
  t.equal(invocation.placement, 'generic');
  h.answer(pod);
  t.same(reply.told, ['ok']);
  h.answer(pod);
  h.call(f);
  t.equal(invocation.placement === 'generic' && f.counters.placement('warm'), 1);
});

t.test('what it was shown before lets nobody in any more', async (t) => {
  const { h, warm, fn } = setUp();
  const pod = h.launch(warm);
  const answer = h.hello(pod);
  h.core.pods.ready(pod);
  if (!answer.ok) throw new Error('not let in');
  h.call(fn('f'));
  const { specializedWith } = h.link(pod);
  const as = (credential: string) => h.hello(pod, { credential }, new FakeLink());
  t.match(as(answer.session), { ok: false }, 'its session as a generic pod');
  t.match(as(`token-${pod.id}`), { ok: false }, 'its launch token');
  t.match(as(specializedWith), { ok: true });
  t.equal(pod.fn.key, 'default/f');
});

t.test('the session of a generic pod is worth nothing to another control plane', async (t) => {
  const key = { id: 'k', key: Buffer.alloc(32) };
  const sessionIn = (h: Harness, warm: FunctionState) => {
    h.core.onMessage({ type: 'pod-keys', keys: [key] });
    const pod = h.launch(warm);
    const answer = h.hello(pod);
    return answer.ok ? answer.session : '';
  };
  const [one, two] = [setUp(), setUp()];
  const session = sessionIn(one.h, one.warm);
  two.h.core.onMessage({ type: 'pod-keys', keys: [key] });
  const pod = two.h.launch(two.warm, 'pool', false, { credential: '' });
  t.match(two.h.hello(pod, { credential: session }), { ok: false });
});

t.test('functions that wait are served in the order in which they asked', async (t) => {
  const { h, warm, fn, claims, deliver, load } = setUp({ pods: 2, max: 5 });
  const names = Array.from({ length: 9 }, (_, i) => `f${i}`);
  const calls = names.map((name) => h.call(fn(name, { overflow: 0 })));
  t.equal(claims().length, 2);
  t.equal(h.needs('pool'), 3, 'the pool launches what it has room for');
  for (let i = 0; i < 40; i++) {
    deliver();
    load();
    for (const { invocation } of calls) if (invocation.pod) h.answer(invocation.pod);
    h.advance(100);
  }
  t.same(
    claims().map((m) => m.type === 'pod-claimed' && m.functionKey),
    names.map((name) => `default/${name}`),
  );
  for (const { reply } of calls) t.same(reply.told, ['ok']);
  for (const fn of h.core.functions.all()) if (fn !== warm) t.equal(fn.orderedPods, 0);
});

t.test('a burst on one leaves the others theirs', async (t) => {
  const { h, fn, claims } = setUp({ pods: 10, max: 10 });
  const greedy = fn('greedy', { maxReplicas: 50, overflow: 0 });
  for (let i = 0; i < 30; i++) h.call(greedy);
  t.equal(claims().length, 9);
  t.equal(greedy.orderedPods, 21, 'beyond its share it grows by itself');
  h.call(fn('modest'));
  t.match(claims().at(-1), { functionKey: 'default/modest' });
});

t.test('where the pool is full, who has idled longest makes way', async (t) => {
  const { h, warm, fn, load, orders, deliver } = setUp({ pods: 2, max: 2 });
  const [a, b] = [fn('a'), fn('b', { minReplicas: 1 })];
  const calls = [h.call(a), h.call(b)];
  load();
  for (const { invocation } of calls) h.answer(invocation.pod as Pod);
  const [ofA, ofB] = [[...a.pods][0] as Pod, [...b.pods][0] as Pod];
  const c = fn('c');
  h.call(c);
  t.equal(ofA.state, 'serving', 'it has only just become idle');
  h.advance(600);
  t.equal(ofA.state, 'draining');
  t.equal(ofB.state, 'serving', 'its function keeps that one');
  t.equal(orders(warm.key), 1);
  h.advance(600);
  t.equal(orders(warm.key), 1, 'once');
  deliver();
  t.equal([...c.pods].length, 1);
});

t.test('a turn is waited for, for half of the time that the caller gives', async (t) => {
  const { h, fn, warm } = setUp({ pods: 1, max: 1 });
  h.call(fn('loads-for-ever'), { budgetMs: 60_000 });
  const b = fn('b', { overflow: 0 });
  h.call(b, { budgetMs: 10_000 });
  h.advance(4_000);
  t.equal(b.orderedPods, 0);
  h.advance(1_200);
  t.equal(b.orderedPods, 1, 'then it grows by itself');
  t.equal(warm.orderedPods, 0);
});

t.test('of a crowd that waits only so many are looked at in a while', async (t) => {
  const { h, fn } = setUp({ pods: 1, max: 1 });
  for (let i = 0; i < 1_000; i++) h.call(fn(`f${i}`, { overflow: 0 }), { budgetMs: 60_000 });
  const { claims } = h.core.scheduler;
  const ask = claims.ask.bind(claims);
  let looks = 0;
  claims.ask = (...args) => {
    looks++;
    return ask(...args);
  };
  for (let i = 0; i < 20; i++) h.advance(100);
  t.ok(looks <= 5_000, `a hundred every 50 ms, and not a thousand: ${looks} in 2 s`);
  t.ok(looks >= 999, 'but everybody at times');
});

t.test('of two pools that are full only one makes way', async (t) => {
  const h = new Harness();
  const pools = ['p', 'q'].map((name) => h.defineWarmPool(name, 1));
  for (const [i, pool] of pools.entries()) {
    h.pod(pool);
    const { invocation } = h.call(h.defineClaiming(`f${i}`, [pool]));
    h.core.pods.ready([...(h.core.functions.get(`default/f${i}`)?.pods ?? [])][0] as Pod);
    h.answer(invocation.pod as Pod);
  }
  h.advance(1_000);
  h.call(h.defineClaiming('g', pools));
  h.advance(100);
  t.equal(h.posted.filter((m) => m.type === 'pod-draining').length, 1);
  t.equal(h.needs('pool'), 1);
});

t.test('who does not fit any more waits there no longer', async (t) => {
  const { h, warm, fn, claims } = setUp({ max: 1 });
  const [a, b] = [fn('a'), fn('b')];
  h.call(a);
  h.call(b);
  const { claim: _, ...record } = a.record;
  h.core.onMessage({ type: 'functions', upsert: [{ ...record, revision: 'r2' }], remove: [] });
  h.pod(warm, 'pool', true);
  t.match(claims(), [{ functionKey: 'default/b' }]);
});

t.test('one that does not load costs its function, not the pool', async (t) => {
  const { h, warm, fn, claims } = setUp({ pods: 3 });
  const broken = fn('broken');
  const { reply } = h.call(broken);
  const [pod] = [...broken.pods];
  h.core.pods.failed(pod as Pod, 'handler_not_loaded', 'why');
  h.core.onMessage({ type: 'pod-exited', podId: (pod as Pod).id, reason: 'exit code 1' });
  h.advance(100);
  t.equal(claims().length, 1, 'no other is tried until the control thread has said what is to be');
  h.core.onMessage({
    ...{ type: 'launch-refused', functionKey: broken.key, kind: 'pool', count: 0 },
    ...{
      code: 'no_capacity',
      reason: 'handler_not_loaded: why',
      retryAfterMs: 500,
      hopeless: true,
    },
  });
  t.same(reply.told, ['no_capacity']);
  t.match(reply.detail, /why/);
  h.call(fn('fine'));
  t.equal(claims().length, 2);
  t.equal(warm.available.withFreeSlot, 1);
  h.advance(600);
  for (let i = 0; i < 3; i++) h.call(broken);
  t.equal(claims().length, 3, 'then one shows whether it still fails');
});

t.test('a pod that is lost before it is ready is replaced by another', async (t) => {
  const { h, fn, claims } = setUp({ pods: 2 });
  const f = fn('f');
  h.call(f);
  const [pod] = [...f.pods];
  h.core.onMessage({ type: 'pod-exited', podId: (pod as Pod).id, reason: 'killed' });
  t.equal(claims().length, 2);
  t.equal(f.comingPods, 1);
});

// ---- anything in any order -----------------------------------------------------------------------------------------

interface World {
  readonly h: Harness;
  readonly warm: FunctionState;
  readonly fns: readonly FunctionState[];
  readonly calls: Call[];
  readonly seen: Map<Pod, FunctionState>;
}
type Step = (w: World, pick: number) => void;
const one = <T>(list: readonly T[], pick: number): T | undefined =>
  list[pick % Math.max(1, list.length)];
const ours = (w: World) => w.fns.flatMap((fn) => [...fn.pods]);

const steps: Record<string, Step> = {
  call: (w, pick) => w.calls.push(w.h.call(one(w.fns, pick) as FunctionState, { budgetMs: 5_000 })),
  launch: (w) => void (w.warm.poolPods < 6 && w.h.pod(w.warm)),
  deliver: (w) => void (w.warm.orderedPods > 0 && w.h.pod(w.warm, 'pool', true)),
  deliverOwn: (w, pick) => {
    const fn = one(w.fns, pick);
    if (fn !== undefined && fn.orderedPods > 0) w.h.pod(fn, 'pool', true);
  },
  ready: (w, pick) => {
    const pod = one(
      ours(w).filter((p) => p.state === 'loading'),
      pick,
    );
    if (pod !== undefined) w.h.core.pods.ready(pod);
  },
  answer: (w, pick) => {
    const pod = one(
      ours(w).filter((p) => p.running.size > 0),
      pick,
    );
    if (pod !== undefined) w.h.answer(pod);
  },
  fail: (w, pick) => {
    const pod = one(
      ours(w).filter((p) => p.state === 'loading'),
      pick,
    );
    if (pod !== undefined) w.h.core.pods.failed(pod, 'handler_not_loaded', 'no');
  },
  exit: (w, pick) => {
    const pod = one([...ours(w), ...w.warm.pods], pick);
    if (pod !== undefined) w.h.core.onMessage({ type: 'pod-exited', podId: pod.id, reason: 'x' });
  },
  loseSocket: (w, pick) => {
    const pod = one(
      [...ours(w), ...w.warm.pods].filter((p) => p.link !== null),
      pick,
    );
    if (pod !== undefined) w.h.core.pods.socketLost(pod, 'x');
  },
  refuse: (w) =>
    void (
      w.warm.orderedPods > 0 &&
      w.h.core.onMessage({
        ...{ type: 'launch-refused', functionKey: w.warm.key, kind: 'pool', count: 1 },
        ...{ code: 'no_capacity', reason: 'x', retryAfterMs: 100, hopeless: false },
      })
    ),
  wait: (w) => w.h.advance(60),
  waitLong: (w, pick) => w.h.advance(200 + (pick % 2_000)),
};

function check(w: World): void {
  const { warm, fns } = w;
  let claimed = 0;
  for (const fn of [warm, ...fns]) {
    let [slots, coming, pool] = [0, 0, 0];
    for (const pod of fn.pods) {
      assert(pod.fn === fn, 'a pod stands where it is not');
      const before = w.seen.get(pod);
      assert(
        before === undefined || before === warm || before === fn,
        "C1: it was another function's",
      );
      w.seen.set(pod, fn);
      if (pod.state === 'serving') slots += pod.capacity;
      const comes = ['expected', 'loading', 'disconnected'].includes(pod.state);
      if (comes) coming++;
      if ((pod.state === 'serving' || comes) && pod.kind === 'pool') pool++;
      const lives = pod.state === 'serving' || comes;
      if (pod.origin === warm && lives) claimed++;
      assert((pod.bucket !== -1) === (pod.state === 'serving' && pod.load < pod.capacity), 'S1');
    }
    assert(fn.servingSlots === slots, 'servingSlots');
    assert(fn.comingPods === coming, 'comingPods');
    assert(fn.poolPods === pool, 'poolPods');
    assert(fn.generic || fn.poolPods + fn.orderedPods <= fn.record.spec.maxReplicas, 'maximum');
  }
  assert(warm.poolPods + warm.orderedPods + claimed <= MAX + 6, 'C3');
  for (const { reply } of w.calls) {
    assert(reply.told.length <= 1, 'told twice');
  }
}
/** Steps launch up to six by themselves; the core is to order no more than this in all. */
const MAX = 6;

function assert(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

t.test('the books balance, and every call ends', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom(...Object.keys(steps)), fc.nat(1_000)), { maxLength: 120 }),
      (list) => {
        const h = new Harness();
        const warm = h.defineWarmPool('warm', MAX);
        const fns = ['a', 'b', 'c', 'd'].map((name) =>
          h.defineClaiming(name, [warm], { maxReplicas: 4, overflow: 0 }),
        );
        const w: World = { h, warm, fns, calls: [], seen: new Map() };
        for (const [name, pick] of list) {
          (steps[name] as Step)(w, pick);
          check(w);
        }
        h.advance(10_000);
        for (const { reply, refused } of w.calls) {
          assert(refused !== undefined || reply.told.length === 1 || answers(w), 'an end');
        }
      },
    ),
    { numRuns: 300 },
  );
});

/** Whatever still runs is answered. */
function answers(w: World): boolean {
  for (const pod of ours(w)) while (pod.running.size > 0) w.h.answer(pod);
  return true;
}

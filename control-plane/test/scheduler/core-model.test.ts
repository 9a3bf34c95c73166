/**
 * Anything in any order: calls, answers, losses, hang-ups, launches, refusals, time. After every step the books must
 * balance, and at the end nothing is left.
 */
import fc from 'fast-check';
import t from 'tap';
import type { FunctionState } from '../../src/scheduler/function-state.ts';
import type { Pod } from '../../src/scheduler/pod.ts';
import { type Call, Harness } from './harness.ts';

const ENDS = new Set([
  'ok',
  'aborted',
  'timeout',
  'pod_lost',
  'function_error',
  'queue_full',
  'no_capacity',
  'draining',
  'function_deleted',
  'cancelled',
]);
const MAX_QUEUE = 5;

interface World {
  readonly h: Harness;
  readonly fn: FunctionState;
  readonly calls: Call[];
  readonly hungUp: Set<Call>;
}

type Step = (w: World, pick: number) => void;

const pods = (w: World) => [...w.fn.pods].filter((p) => p.state !== 'gone');
const one = <T>(list: readonly T[], pick: number): T | undefined =>
  list[pick % Math.max(1, list.length)];

const steps: Record<string, Step> = {
  call: (w) => w.calls.push(w.h.call(w.fn, { budgetMs: 500, bytes: 10 })),
  callRaw: (w) => w.calls.push(w.h.call(w.fn, { budgetMs: 2_000, bytes: 20, raw: true })),
  callBriefly: (w) => w.calls.push(w.h.call(w.fn, { budgetMs: 20 })),
  callWithRetries: (w, pick) =>
    w.calls.push(w.h.call(w.fn, { budgetMs: 1_000, bytes: 10, maxRetries: pick % 4 })),
  enqueue: (w, pick) =>
    w.calls.push(
      w.h.call(w.fn, {
        ...{ budgetMs: 3_000, bytes: 10 },
        ...{ attemptMs: 50 + (pick % 500), maxRetries: pick % 4 },
      }),
    ),
  luck: (w, pick) => {
    w.h.random = (pick % 1_000) / 1_000;
  },
  answer: (w, pick) => withRunning(w, pick, (pod, stream) => w.h.answer(pod, 'ok', stream)),
  fail: (w, pick) => withRunning(w, pick, (pod, stream) => w.h.answer(pod, 'error', stream)),
  stream: (w, pick) =>
    withRunning(w, pick, (pod, stream) => {
      const invocation = pod.running.get(stream);
      if (invocation?.form !== 'raw') return;
      w.h.core.scheduler.onHead(invocation, 200, []);
      w.h.core.scheduler.onChunk(pod, invocation, new Uint8Array(3));
    }),
  answerUnknown: (w, pick) => {
    const pod = one(pods(w), pick);
    if (pod !== undefined) w.h.core.scheduler.onResult(pod, pod.lastStream + 9, 'ok', '', '', null);
  },
  hangUp: (w, pick) => {
    const call = one(w.calls, pick);
    if (call === undefined || call.refused !== undefined || call.invocation.state === 'ended')
      return;
    w.hungUp.add(call);
    w.h.core.scheduler.clientGone(call.invocation);
  },
  launch: (w) => void w.h.launch(w.fn),
  launchNeeded: (w) => void w.h.launch(w.fn, 'pool', true),
  launchJob: (w) => void w.h.launch(w.fn, 'job', true),
  connect: (w, pick) => {
    const pod = one(pods(w), pick);
    if (pod !== undefined) w.h.hello(pod, { inFlight: pick % 2 });
  },
  ready: (w, pick) => {
    const pod = one(pods(w), pick);
    if (pod !== undefined) w.h.core.pods.ready(pod);
  },
  orphanEnded: (w, pick) => {
    const pod = one(pods(w), pick);
    if (pod !== undefined) w.h.core.pods.orphanEnded(pod);
  },
  loseSocket: (w, pick) => {
    const pod = one(pods(w), pick);
    if (pod?.link != null) w.h.core.pods.socketLost(pod, 'test');
  },
  exit: (w, pick) => {
    const pod = one(pods(w), pick);
    if (pod !== undefined)
      w.h.core.onMessage({ type: 'pod-exited', podId: pod.id, reason: 'test' });
  },
  drain: (w, pick) => {
    const pod = one(pods(w), pick);
    if (pod !== undefined) w.h.core.onMessage({ type: 'drain-pod', podId: pod.id });
  },
  kill: (w, pick) => {
    const pod = one(pods(w), pick);
    if (pod !== undefined) w.h.core.pods.kill(pod, 'test');
  },
  retire: (w) =>
    void w.h.core.onMessage({ type: 'retire', functionKey: w.fn.key, count: 1, idleMs: 50 }),
  refuse: (w, pick) =>
    void w.h.core.onMessage({
      type: 'launch-refused',
      functionKey: w.fn.key,
      kind: 'pool',
      count: 1,
      code: 'no_capacity',
      reason: 'test',
      retryAfterMs: 100,
      hopeless: pick % 2 === 0,
    }),
  wait: (w) => w.h.advance(7),
  waitLong: (w, pick) => w.h.advance(100 + (pick % 3_000)),
};

/** Of a control plane that another takes over from; there is no way back. */
const LEAVING_STEPS: Record<string, Step> = {
  ...steps,
  handOver: (w, pick) =>
    void w.h.core.onMessage({ type: 'hand-over', address: 'ws://next', force: pick % 4 === 0 }),
};

function withRunning(w: World, pick: number, act: (pod: Pod, stream: number) => void): void {
  const running = pods(w).flatMap((pod) =>
    pod.running.values().map((i) => [pod, i.stream] as const),
  );
  const found = one(running, pick);
  if (found !== undefined) act(found[0], found[1]);
}

function check(w: World): void {
  const { fn, h } = w;
  let [running, slots, coming, pool, jobs] = [0, 0, 0, 0, 0];
  for (const pod of fn.pods) {
    running += pod.running.size;
    assert(pod.running.size <= pod.capacity, 'a pod runs more than its capacity');
    if (pod.state === 'serving') slots += pod.capacity;
    const comes = ['expected', 'loading', 'disconnected'].includes(pod.state);
    if (comes) coming++;
    if (pod.state === 'serving' || comes) pod.kind === 'pool' ? pool++ : jobs++;
    const linked = pod.bucket !== -1;
    assert(linked === (pod.state === 'serving' && pod.load < pod.capacity), 'S1');
    assert(!linked || pod.bucket === pod.load, 'S1: bucket');
  }
  const { counters } = fn;
  assert(counters.gauge('running') === running, 'the running gauge drifts');
  assert(counters.gauge('queued') === fn.queue.length, 'the queue gauge drifts');
  assert(fn.queue.length <= MAX_QUEUE, 'the queue is over its bound');
  assert(counters.gauge('waiting') === fn.waiting.length, 'the gauge of those that wait drifts');
  assert(fn.servingSlots === slots && fn.comingPods === coming, 'slots or launches are miscounted');
  assert(fn.poolPods === pool && fn.jobs === jobs, 'pods are miscounted');
  assert(fn.queue.length === 0 || fn.available.withFreeSlot === 0, 'one waits beside a free slot');
  const byGauge = (['podsLaunching', 'podsIdle', 'podsBusy', 'podsDraining'] as const).reduce(
    (sum, name) => sum + counters.gauge(name),
    0,
  );
  assert(byGauge === fn.pods.size, 'the gauges of pods drift');
  const shares = ['queued', 'running', 'waiting'] as const;
  const { ended } = counters;
  assert(
    counters.counter('accepted') ===
      shares.reduce((sum, name) => sum + counters.gauge(name), ended - counters.gauge('lingering')),
    'accepted = queued + running - lingering + waiting + ended',
  );
  let live = 0;
  let held = 0;
  for (const call of w.calls) {
    const { invocation, reply } = call;
    const ends = reply.told.filter((x) => ENDS.has(x));
    if (call.refused !== undefined) {
      assert(ends.length === 0, 'a refused call was told more');
      continue;
    }
    const { attempts, maxRetries } = invocation;
    assert(attempts <= maxRetries + 1, 'more attempts than retries');
    const runsOn = [...fn.pods].filter((pod) => pod.running.values().includes(invocation));
    assert(runsOn.length <= 1, 'two attempts at once');
    const isAsync = invocation.observer !== null;
    const expected = w.hungUp.has(call) && !isAsync ? 0 : 1;
    if (invocation.state === 'ended') {
      // Who hung up in the middle of a stream is cut off; nobody else is told twice.
      assert(
        w.hungUp.has(call) && !isAsync
          ? ends.every((e) => e === 'aborted')
          : ends.length === expected,
        'D1',
      );
    } else {
      assert(ends.length === 0, 'told of an end before it');
      live++;
      held += invocation.heldBytes;
    }
  }
  assert(h.core.scheduler.live === live, 'live invocations are miscounted');
  assert(fn.heldBytes === held, 'held bytes drift');
  assert(h.core.scheduler.counters.totalHeldBytes === held, 'total held bytes drift');
}

function assert(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}

const RUNS = [
  ['concurrency 1', 1, steps],
  ['concurrency 3', 3, steps],
  ['another that takes over', 2, LEAVING_STEPS],
] as const;

for (const [what, concurrency, possible] of RUNS) {
  t.test(`with ${what} the books balance after any sequence of events`, async () => {
    const step = fc.tuple(fc.constantFrom(...Object.keys(possible)), fc.nat(1_000));
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 120 }), (sequence) => {
        const h = new Harness();
        const fn = h.define('f', {
          concurrency,
          maxReplicas: 4,
          overflow: 2,
          graceMs: 100,
          queue: { maxLength: MAX_QUEUE, maxBytes: 1_000 },
        });
        const w: World = { h, fn, calls: [], hungUp: new Set() };
        for (const [name, pick] of sequence) {
          possible[name]?.(w, pick);
          check(w);
        }
        // Whatever happened, once every deadline, grace and reconnect time has passed all calls have ended, and no slot
        // is held by a call that is over.
        for (let i = 0; i < 10; i++) h.advance(2_000);
        check(w);
        assert(h.core.scheduler.live === 0, 'one never ended');
        assert(fn.counters.gauge('running') === 0, 'a slot leaked');
        assert(fn.counters.gauge('lingering') === 0, 'one lingers');
        const { counters } = fn;
        const accepted = w.calls.filter((c) => c.refused === undefined);
        assert(counters.counter('accepted') === accepted.length, 'accepted');
        const ok = accepted.filter((c) => c.reply.told.includes('ok')).length;
        assert(counters.counter('succeeded') === ok, 'succeeded');
      }),
      { numRuns: 1_500 },
    );
  });
}

import t from 'tap';
import { Harness } from './harness.ts';

const NEXT = 'ws://next:8082';
const QUIET_MS = 300;

function setUp(spec: Parameters<Harness['define']>[1] = {}) {
  const h = new Harness();
  const fn = h.define('fn', { maxReplicas: 5, overflow: 0, ...spec });
  const handOver = (force = false) => h.core.onMessage({ type: 'hand-over', address: NEXT, force });
  const handedOver = () => h.posted.filter((m) => m.type === 'handed-over').length;
  const lost = () => h.posted.filter((m) => m.type === 'pod-lost').length;
  return { h, fn, handOver, handedOver, lost };
}

t.test('pods that idle go at once', async (t) => {
  const { h, fn, handOver, handedOver, lost } = setUp();
  const pods = [h.pod(fn), h.pod(fn), h.pod(fn)];
  const known = pods.map((pod) => {
    const answer = h.hello(pod);
    if (!answer.ok) throw new Error('not let in');
    h.core.pods.ready(pod);
    return answer.session;
  });
  h.advance(1);
  handOver();
  for (const [i, pod] of pods.entries()) t.equal(h.link(pod).sentTo, `${NEXT} ${known[i]}`);
  t.equal(handedOver(), 1);
  t.ok(h.core.sendOff.isDone);

  for (const pod of pods) h.core.pods.socketLost(pod, 'it went');
  t.equal(fn.pods.size, 0);
  t.equal(lost(), 0);
  t.equal(fn.counters.counter('podsLost'), 0);
  h.advance(10_000);
  t.equal(handedOver(), 1, 'told once');
});

t.test("pods of WarmPools end; those that became a function's go", async (t) => {
  const { h, handOver, handedOver } = setUp();
  const warm = h.defineWarmPool('warm', 5);
  const [claimed, generic] = [h.pod(warm), h.pod(warm)];
  const { reply } = h.call(h.defineClaiming('claims', [warm]));
  h.core.pods.ready(claimed);
  h.answer(claimed);
  t.same(reply.told, ['ok']);
  handOver();
  t.ok(h.link(claimed).sentTo.startsWith(NEXT));
  t.equal(h.link(generic).sentTo, '');
  t.ok(h.link(generic).drained);
  h.advance(50);
  t.equal(handedOver(), 1);
});

t.test('what waits is served first', async (t) => {
  const { h, fn, handOver } = setUp();
  const pod = h.pod(fn);
  const calls = [h.call(fn), h.call(fn), h.call(fn)];
  handOver();
  h.advance(QUIET_MS * 3);
  t.equal(pod.state, 'serving');
  h.answer(pod);
  h.answer(pod);
  h.advance(QUIET_MS * 3);
  t.equal(h.link(pod).sentTo !== '', true, 'with its last call still running');
  t.notOk(h.core.sendOff.isDone);
  h.answer(pod);
  for (const { reply } of calls) t.same(reply.told, ['ok']);
  h.advance(50);
  t.ok(h.core.sendOff.isDone);
});

t.test('a body on its way is waited for', async (t) => {
  const { h, fn, handOver } = setUp();
  const pod = h.pod(fn);
  const { invocation, reply } = h.call(fn, { bytes: 100 });
  h.answer(pod);
  t.same(reply.told, ['ok']);
  t.equal(invocation.state, 'ended');
  const receiving = h.receive(fn, 100);
  handOver();
  h.advance(QUIET_MS * 3);
  t.equal(pod.state, 'serving');
  h.core.scheduler.submit(receiving.invocation);
  h.answer(pod);
  t.same(receiving.reply.told, ['ok']);
  h.advance(QUIET_MS * 2);
  t.equal(pod.state, 'moved');
});

t.test('forced, all go at once, and what waits is told', async (t) => {
  const { h, fn, handOver, handedOver } = setUp();
  const pod = h.pod(fn);
  const [running, waiting] = [h.call(fn), h.call(fn)];
  handOver();
  handOver(true);
  t.not(h.link(pod).sentTo, '');
  t.same(waiting.reply.told, ['draining']);
  t.same(running.reply.told, []);
  t.equal(handedOver(), 0);
  h.answer(pod);
  t.same(running.reply.told, ['ok']);
  h.advance(50);
  t.equal(handedOver(), 1);
  t.equal(h.call(fn).refused, 'draining', 'what comes later is not taken');
});

t.test('nothing is ordered any more', async (t) => {
  const { h, fn, handOver } = setUp();
  handOver();
  const { reply, refused } = h.call(fn);
  t.equal(refused ?? reply.told[0], 'draining');
  t.equal(h.needs('pool'), 0);
});

t.test('a pod on its way serves what waits for it, or is sent on when it comes', async (t) => {
  const { h, fn, handOver } = setUp();
  const early = h.launch(fn);
  const late = h.launch(fn);
  const { reply } = h.call(fn);
  handOver();
  h.hello(early);
  h.core.pods.ready(early);
  h.answer(early);
  t.same(reply.told, ['ok']);
  h.advance(QUIET_MS * 2);
  t.equal(early.state, 'moved');
  h.hello(late);
  h.advance(50);
  t.equal(late.state, 'moved');
});

t.test('a pod that was sent on', async (t) => {
  const { h, fn, handOver, lost } = setUp({ graceMs: 100 });
  const pod = h.pod(fn);
  const { invocation, reply } = h.call(fn, { budgetMs: 1_000 });
  handOver(true);
  const link = h.link(pod);

  const back = h.hello(pod);
  t.match(back, { ok: false, close: 'unidentified' }, 'is sent away when it comes back');
  t.equal(pod.state, 'moved');
  h.core.onMessage({ type: 'drain-pod', podId: pod.id });
  h.core.pods.drainingByItself(pod);
  t.equal(pod.state, 'moved', 'takes no other orders');
  h.advance(1_100);
  t.same(reply.told, ['timeout'], 'is held to its deadline');
  t.equal(invocation.cancelSent, true);
  h.advance(200);
  t.equal(link.closed, 'replaced', 'and past its grace loses its socket, not its life');
  t.equal(lost(), 0);
  t.equal(pod.state, 'gone');
});

t.test('a pod that is lost after it was sent on loses what it ran', async (t) => {
  const { h, fn, handOver, lost } = setUp();
  const pod = h.pod(fn);
  const { reply } = h.call(fn);
  handOver(true);
  h.core.pods.socketLost(pod, 'test');
  t.same(reply.told, ['pod_lost']);
  t.equal(lost(), 0, 'whether the pod itself lives is for the next one to see');
});

t.test('one that is away while its control plane hands over is not ended', async (t) => {
  const { h, fn, handOver, lost } = setUp();
  const pod = h.pod(fn);
  h.core.pods.socketLost(pod, 'test');
  handOver();
  h.advance(10_000);
  t.equal(pod.state, 'gone');
  t.equal(lost(), 0);
  t.equal(fn.counters.counter('podsLost'), 0);
});

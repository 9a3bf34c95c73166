import t from 'tap';
import { TICK_MS } from '../../src/scheduler/timing-wheel.ts';
import { Harness } from './harness.ts';

/** Of a deadline the wheel tells up to a tick late; what may run is asked between the two. */
const BUDGET_MS = 10 * TICK_MS + 1;

t.test('a slot that comes free between a deadline and its timer goes to the next', async (t) => {
  const h = new Harness();
  const fn = h.define('f', { concurrency: 1 });
  const pod = h.pod(fn);
  h.call(fn);
  const late = [h.call(fn, { budgetMs: BUDGET_MS }), h.call(fn, { budgetMs: BUDGET_MS })];
  const next = h.call(fn, { budgetMs: BUDGET_MS + 1 });
  h.time += BUDGET_MS;
  h.answer(pod);
  t.same(
    late.map(({ reply, invocation }) => [reply.told, invocation.attempts]),
    [
      [['timeout'], 0],
      [['timeout'], 0],
    ],
  );
  t.equal(next.invocation.pod, pod);
  t.equal(fn.counters.gauge('queued'), 0);
});

t.test('a body that is complete between the two is not given to a free pod', async (t) => {
  const h = new Harness();
  const fn = h.define('f', { concurrency: 1 });
  const pod = h.pod(fn);
  const { invocation, reply } = h.call(fn, { budgetMs: BUDGET_MS, receiving: true });
  h.time += BUDGET_MS;
  h.core.scheduler.submit(invocation);
  t.same(reply.told, ['timeout']);
  t.equal(pod.running.size, 0);
  t.equal(fn.counters.counter('accepted'), 0);
});

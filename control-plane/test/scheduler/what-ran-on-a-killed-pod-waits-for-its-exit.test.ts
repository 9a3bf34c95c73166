import t from 'tap';
import { Harness } from './harness.ts';

const SPEC = { concurrency: 2, graceMs: 100, retry: { baseDelayMs: 0, maxDelayMs: 0 } } as const;

/** One attempt holds on past its grace, another runs beside it; a second pod idles. */
function killed() {
  const h = new Harness();
  const fn = h.define('f', {
    ...SPEC,
    retry: { maxRetries: 3, on: ['lost', 'timeout'], ...SPEC.retry },
  });
  const first = h.pod(fn);
  const holds = h.call(fn, { budgetMs: 60_000, attemptMs: 50, maxRetries: 1 });
  const beside = h.call(fn, { budgetMs: 60_000, maxRetries: 1 });
  const second = h.pod(fn);
  h.advance(60);
  h.advance(110);
  t.ok(h.posted.some((m) => m.type === 'pod-lost' && m.podId === first.id));
  const exit = () =>
    h.core.onMessage({ type: 'pod-exited', podId: first.id, reason: 'signal SIGKILL' });
  return { h, first, second, holds, beside, exit };
}

t.test('no next attempt of what ran on it begins before its exit is told', async (t) => {
  const { h, second, holds, beside, exit } = killed();
  for (let i = 0; i < 20; i++) {
    h.advance(20);
    t.equal(second.running.size, 0);
  }
  exit();
  h.advance(20);
  t.equal(second.running.size, 2);
  t.same([holds.invocation.attempts, beside.invocation.attempts], [2, 2]);
  h.answer(second);
  h.answer(second);
  t.same([holds.reply.told, beside.reply.told], [['ok'], ['ok']]);
});

t.test('where nobody tells of its exit it is taken for dead after a while', async (t) => {
  const { h, holds, beside, exit } = killed();
  h.advance(4_900);
  t.same([holds.invocation.attempts, beside.invocation.attempts], [1, 1]);
  for (let i = 0; i < 10; i++) h.advance(20);
  t.same([holds.invocation.attempts, beside.invocation.attempts], [2, 2]);
  // It may be told late.
  exit();
  h.advance(20);
  t.same([holds.invocation.attempts, beside.invocation.attempts], [2, 2]);
});

t.test('what was lost with a pod that exited by itself runs again at once', async (t) => {
  const { h, second } = killed();
  const other = h.call(second.fn, { budgetMs: 60_000, maxRetries: 1 });
  const third = h.pod(second.fn);
  h.core.onMessage({ type: 'pod-exited', podId: second.id, reason: 'signal SIGKILL' });
  h.advance(20);
  t.equal(other.invocation.pod, third);
});

import fc from 'fast-check';
import t from 'tap';
import type { ExecutionRecord } from '../../src/scheduler/executions/record.ts';
import { numberOf, SyncRing } from '../../src/scheduler/executions/sync-ring.ts';
import {
  copyTrace,
  newTraceparent,
  serialOfTrace,
  traceparentOf,
} from '../../src/scheduler/ids.ts';
import { BOOT_ID, type Call, Harness } from './harness.ts';

const ALL = { functionKey: '', mayRead: () => true, status: '', mode: '', cursor: '' } as const;

function setUp(maxRetries = 0) {
  const h = new Harness();
  const fn = h.define('f', { concurrency: 2, maxReplicas: 2, graceMs: 100, overflow: 0 });
  const pod = h.pod(fn);
  const call = () => h.call(fn, { budgetMs: 500, maxRetries });
  const get = async ({ invocation }: Call) => h.core.executions.get(invocation.id);
  const list = async (more: object = {}) =>
    (await h.core.executions.list({ ...ALL, limit: 100, ...more })).records;
  return { h, fn, pod, call, get, list };
}
const numbers = (records: readonly ExecutionRecord[]) =>
  records.map((r) => Number(r.id.slice(BOOT_ID.length + 1)));

t.test('while they wait, run, and after their end, with every attempt', async (t) => {
  const { h, fn, pod, call, get } = setUp();
  const [first, second, third] = [call(), call(), call()];
  t.match(await get(third), { mode: 'sync', status: 'queued', attempts: [], endedAt: null });
  t.match(await get(first), {
    ...{ status: 'running', functionKey: fn.key, traceId: '0af7651916cd43dd8448eb211c80319c' },
    attempts: [{ number: 1, pod: pod.id, backend: 'fake', outcome: null, endedAt: null }],
  });
  h.advance(7);
  h.answer(pod, 'ok', first.invocation.stream);
  t.match(await get(first), {
    ...{ status: 'succeeded', error: null, output: null, request: null },
    ...{ createdAt: 1_000, endedAt: 1_007, deadlineAt: 1_500 },
    traceId: '0af7651916cd43dd8448eb211c80319c',
    attempts: [{ number: 1, pod: pod.id, cold: true, outcome: 'ok', placement: 'warm' }],
  });
  h.answer(pod, 'error', second.invocation.stream);
  t.match(await get(second), { status: 'failed', error: { code: 'function_error', attempts: 1 } });
  t.match(await get(third), { status: 'running' }, 'it got the slot');
  h.advance(600);
  t.match(await get(third), {
    status: 'timed_out',
    attempts: [{ startedAt: 1_007, outcome: 'timeout', placement: 'waited', cold: false }],
  });
});

t.test('one that was retried has all its attempts, here and there', async (t) => {
  const { h, fn, pod, call, get } = setUp(3);
  h.random = 0;
  const one = call();
  h.core.onMessage({ type: 'pod-exited', podId: pod.id, reason: 'on purpose' });
  const waiting = await get(one);
  t.match(waiting, {
    status: 'waiting',
    nextAttemptAt: 1_000,
    attempts: [{ outcome: 'pod_lost' }],
  });
  const next = h.pod(fn);
  h.advance(20);
  const both = [{ pod: pod.id, outcome: 'pod_lost', detail: /on purpose/ }, { pod: next.id }];
  t.match(await get(one), { status: 'running', attempts: both });
  h.answer(next);
  t.match(await get(one), { status: 'succeeded', attempts: both });
});

t.test('cancelled by request: its caller is told', async (t) => {
  const { h, pod, call, get } = setUp();
  const [running, , queued] = [call(), call(), call()];
  for (const one of [running, queued]) {
    t.ok(h.core.executions.cancel(one.invocation.id));
    t.same(one.reply.told, ['cancelled']);
    t.match(await get(one), { status: 'cancelled', error: { code: 'cancelled' } });
    t.notOk(h.core.executions.cancel(one.invocation.id), 'once');
  }
  t.same(
    h.link(pod).cancelled.map((c) => c.stream),
    [running.invocation.stream],
  );
});

t.test('whoever waits for one is told of its end', async (t) => {
  const { h, pod, call } = setUp();
  const [one, other] = [call(), call()];
  const told: string[] = [];
  const { executions, scheduler } = h.core;
  executions.wait(one.invocation.id, 1_000, () => told.push('end'));
  executions.wait(other.invocation.id, 50, () => told.push('time'));
  const leave = executions.wait(other.invocation.id, 50, () => told.push('never'));
  leave();
  h.answer(pod, 'ok', one.invocation.stream);
  t.same(told, ['end']);
  h.advance(60);
  t.same(told, ['end', 'time']);
  t.equal(scheduler.passed.watcher, null, 'nobody waits: no call is asked for its id');
});

t.test('what was refused, or never came whole, was none', async (t) => {
  const { h, fn, call, get } = setUp();
  const receiving = h.receive(fn, 10);
  h.core.scheduler.clientGone(receiving.invocation);
  t.equal(await get(receiving), 'unknown');
  h.core.scheduler.draining = true;
  t.equal(await get(call()), 'unknown');
  t.equal(await h.core.executions.get(`${BOOT_ID}-999`), 'unknown', 'not given yet');
  t.equal(await h.core.executions.get('other-1'), 'unknown');
});

t.test('the list has both, newest first, page by page', async (t) => {
  const { h, fn, pod, call, list } = setUp();
  const calls: Call[] = [];
  for (let i = 0; i < 7; i++) {
    calls.push(call());
    h.answer(pod, i % 2 === 0 ? 'ok' : 'error');
  }
  calls.push(call());
  t.same(numbers(await list()), [8, 7, 6, 5, 4, 3, 2, 1]);
  t.same(numbers(await list({ status: 'failed' })), [6, 4, 2]);
  t.same(numbers(await list({ status: 'running' })), [8]);
  t.same(numbers(await list({ mode: 'async' })), []);
  t.same(numbers(await list({ functionKey: 'default/other' })), []);
  t.same(numbers(await list({ mayRead: (key: string) => key !== fn.key })), []);
  const { executions } = h.core;
  const first = await executions.list({ ...ALL, limit: 3 });
  t.same([numbers(first.records), first.next], [[8, 7, 6], `${BOOT_ID}-6`]);
  const second = await executions.list({ ...ALL, limit: 5, cursor: first.next });
  t.same([numbers(second.records), second.next], [[5, 4, 3, 2, 1], '']);
});

t.test('as many as there are rows: what went says so; and what is old goes', async (t) => {
  const { h, pod, call, get, list } = setUp();
  const long = call();
  const calls: Call[] = [];
  // The harness has 50 rows.
  for (let i = 0; i < 60; i++) {
    calls.push(call());
    h.answer(pod, 'ok', calls.at(-1)?.invocation.stream as number);
  }
  t.match(await get(long), { status: 'running' }, 'one that has not ended never goes');
  t.equal(await get(calls[0] as Call), 'evicted');
  t.match(await get(calls.at(-1) as Call), { status: 'succeeded' });
  t.equal((await list()).length, 51);
  h.answer(pod, 'ok', long.invocation.stream);
  t.match(await get(long), { status: 'succeeded' });
  h.time += 3_600_001;
  t.equal(await get(calls.at(-1) as Call), 'evicted');
  t.same(await list(), []);
});

t.test('of a function that was deleted, too', async (t) => {
  const { h, fn, pod, call, get, list } = setUp();
  const one = call();
  h.core.onMessage({ type: 'functions', upsert: [], remove: [fn.key] });
  t.match(await get(one), { status: 'running', functionKey: fn.key });
  h.answer(pod);
  t.match(await get(one), { status: 'succeeded', functionKey: fn.key });
  t.equal((await list()).length, 1);
});

t.test('numbers and traces go into a row and come out again', async () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2 ** 40 }),
      (n) => numberOf(`${BOOT_ID}-${n}`) === (n | 0),
    ),
  );
  // Past 2^32 the row knows only the lower bits: the last number that was given tells the rest.
  const { h, pod, call } = setUp();
  const one = call();
  h.answer(pod);
  const ring = new SyncRing(10);
  const last = 3 * 2 ** 32 + 7;
  const invocation = Object.assign(Object.create(one.invocation), { id: `x-${last - 3}` });
  ring.add(invocation, 0, 1);
  const row = ring.rowOf(last - 3);
  if (ring.numberIn(row, last) !== last - 3) throw new Error('the number is another');
  const ints = new Int32Array(4);
  const hex = () => Buffer.from(ints.buffer).toString('hex');
  const old = newTraceparent();
  const oldSerial = serialOfTrace(old);
  for (let i = 0; i < 1_000; i++) {
    const drawn = newTraceparent();
    if (!copyTrace(serialOfTrace(drawn), ints, 0)) throw new Error('it was just drawn');
    if (hex() !== drawn.slice(3, 35)) throw new Error('another trace');
  }
  if (!copyTrace(oldSerial, ints, 0) || hex() !== old.slice(3, 35))
    throw new Error('a thousand ago');
  for (let i = 0; i < 17_000; i++) newTraceparent();
  if (copyTrace(oldSerial, ints, 0)) throw new Error('its bytes are gone');
  const given = traceparentOf('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', '');
  if (copyTrace(serialOfTrace(given), ints, 0)) throw new Error('not drawn here');
});

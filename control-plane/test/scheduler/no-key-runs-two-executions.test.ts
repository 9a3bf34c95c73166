/**
 * Calls with keys in any order with answers, failures, losses, hang-ups and time: whatever happens, one execution of a key is
 * run, and whoever stays is told once.
 */
import fc from 'fast-check';
import t from 'tap';
import type { FunctionState } from '../../src/scheduler/function-state.ts';
import { HASHED_HERE_BYTES } from '../../src/scheduler/idempotency/fingerprint.ts';
import type { KeyedCall } from '../../src/scheduler/idempotency/keyed-call.ts';
import { Invocation } from '../../src/scheduler/invocation.ts';
import type { Pod } from '../../src/scheduler/pod.ts';
import { ANYONE } from '../../src/shared/caller.ts';
import { ENDS } from '../../src/shared/counters.ts';
import { eventually } from '../server/simmer.ts';
import { FakeReply, Harness } from './harness.ts';

class Client extends FakeReply {
  replayed = false;
  markReplayed(): void {
    this.replayed = true;
  }
  accepted(): void {
    this.told.push('accepted');
  }
  get ends(): string[] {
    return this.told.filter((what) => !what.startsWith('head') && !what.startsWith('chunk'));
  }
}

interface Keyed {
  readonly key: string;
  readonly client: Client;
  readonly call: KeyedCall;
  readonly invocation: Invocation;
  readonly refused: boolean;
  gone: boolean;
}

let ids = 0;

/** As the ingress does, for a body that is all there; `receiving`: it is not. */
function keyed(
  h: Harness,
  fn: FunctionState,
  key: string,
  options: {
    body?: Uint8Array;
    raw?: boolean;
    budgetMs?: number;
    caller?: string;
    receiving?: boolean;
  } = {},
): Keyed {
  const { scheduler, idempotency } = h.core;
  const { body = Buffer.from('{}'), raw = false, budgetMs = 1_000, caller = 'me' } = options;
  const client = new Client();
  const form = raw ? 'raw' : 'value';
  const request = {
    route: raw ? ('raw' as const) : ('invoke' as const),
    ...{ method: 'POST', target: '', contentType: '' },
  };
  const refused = idempotency.isKnown(fn, caller, key)
    ? scheduler.refusalOfBytes(fn, body.length)
    : scheduler.refusal(fn, body.length, budgetMs);
  const call = idempotency.call(fn, key, request, client);
  const invocation = new Invocation(
    ...([scheduler, `k-${++ids}`, fn, form, raw ? 'POST' : '', '', []] as const),
    ...(['00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', call] as const),
    ...([h.time, h.time + budgetMs] as const),
  );
  invocation.caller = { ...ANYONE, id: caller };
  call.bind(invocation, () => scheduler.submit(invocation), null);
  if (refused === undefined) {
    scheduler.open(invocation, body.length);
    invocation.body = body;
    if (options.receiving !== true) call.submit();
  }
  return { key, client, call, invocation, refused: refused !== undefined, gone: false };
}

const SPEC = { minReplicas: 1, maxReplicas: 1, overflow: 0 };

t.test('those that come while it runs get its answer, whatever that is', (t) => {
  for (const outcome of ['ok', 'error'] as const) {
    const h = new Harness();
    const fn = h.define('f', SPEC);
    const pod = h.pod(fn);
    const calls = [1, 2, 3].map(() => keyed(h, fn, 'k'));
    t.equal(h.link(pod).invoked.length, 1);
    h.answer(pod, outcome);
    const told = outcome === 'ok' ? 'ok' : 'function_error';
    t.same(
      calls.map(({ client }) => [client.told, client.replayed]),
      [false, true, true].map((replayed) => [[told], replayed]),
    );
    const late = keyed(h, fn, 'k');
    t.same([late.client.told, late.client.replayed], [[told], true]);
    t.equal(h.link(pod).invoked.length, 1);
    t.equal(h.core.scheduler.live, 0);
    t.equal(fn.heldBytes, 0);
  }
  t.end();
});

t.test('a key belongs to its caller', (t) => {
  const h = new Harness();
  const fn = h.define('f', { ...SPEC, concurrency: 2 });
  const pod = h.pod(fn);
  keyed(h, fn, 'k', { caller: 'one' });
  const other = keyed(h, fn, 'k', { caller: 'two', body: Buffer.from('[]') });
  t.equal(h.link(pod).invoked.length, 2);
  t.same(other.client.told, []);
  t.end();
});

t.test('after its time the key is free', (t) => {
  const h = new Harness();
  const fn = h.define('f', SPEC);
  const pod = h.pod(fn);
  keyed(h, fn, 'k');
  h.answer(pod);
  t.equal(h.core.scheduler.counters.idempotencyKeys, 1);
  h.advance(3_600_000);
  t.ok(keyed(h, fn, 'k').client.replayed, 'to the last millisecond');
  h.advance(2 * 5);
  t.equal(h.core.scheduler.counters.idempotencyKeys, 0, 'it goes although nobody asks');
  t.equal(h.core.scheduler.counters.idempotencyBytes, 0);
  const late = keyed(h, fn, 'k');
  h.answer(pod);
  t.same([late.client.told, late.client.replayed], [['ok'], false]);
  t.end();
});

t.test('one that never got to a pod leaves its key free, and tells all that wait for it', (t) => {
  const h = new Harness();
  const fn = h.define('f', SPEC);
  const waiting = [100, 5_000].map((budgetMs) => keyed(h, fn, 'k', { budgetMs }));
  h.advance(110);
  t.same(
    waiting.map(({ client }) => client.told),
    [['timeout'], ['timeout']],
  );
  const pod = h.pod(fn);
  const again = keyed(h, fn, 'k');
  h.answer(pod);
  t.same([again.client.told, again.client.replayed], [['ok'], false]);
  t.end();
});

t.test('who joined a stream, or comes during it or after, gets none of it', (t) => {
  const h = new Harness();
  const fn = h.define('f', SPEC);
  const pod = h.pod(fn);
  const [first, joined] = [1, 2].map(() => keyed(h, fn, 'k', { raw: true })) as [Keyed, Keyed];
  const { scheduler } = h.core;
  scheduler.onHead(first.invocation, 200, []);
  scheduler.onChunk(pod, first.invocation, new Uint8Array(3));
  t.same(joined.client.told, ['idempotent_result_unavailable']);
  const during = keyed(h, fn, 'k', { raw: true });
  h.answer(pod);
  const after = keyed(h, fn, 'k', { raw: true });
  for (const { client } of [during, after]) {
    t.same(client.told, ['idempotent_result_unavailable']);
  }
  t.same(first.client.told, ['head 200', 'chunk 3', 'ok']);
  t.end();
});

t.test('a stream whose reader has gone is read on', (t) => {
  const h = new Harness();
  const fn = h.define('f', SPEC);
  const pod = h.pod(fn);
  const first = keyed(h, fn, 'k', { raw: true });
  const grants: number[] = [];
  first.client.chunk = () => {}; // takes nothing, as a slow one
  h.link(pod).credit = (...args: unknown[]) => void grants.push(args[1] as number);
  const { scheduler } = h.core;
  scheduler.onHead(first.invocation, 200, []);
  scheduler.onChunk(pod, first.invocation, new Uint8Array(3));
  t.same(grants, []);
  first.call.clientGone();
  t.same(grants, [3]);
  scheduler.onChunk(pod, first.invocation, new Uint8Array(5));
  t.same(grants, [3, 5]);
  h.answer(pod);
  t.equal(scheduler.live, 0);
  t.end();
});

t.test('a large body is hashed elsewhere; who hangs up meanwhile is gone', async (t) => {
  const h = new Harness();
  const fn = h.define('f', { ...SPEC, concurrency: 5 });
  const pod = h.pod(fn);
  const body = () => Buffer.alloc(HASHED_HERE_BYTES + 1, 'x');
  const left = keyed(h, fn, 'left', { body: body() });
  const [first, second] = [1, 2].map(() => keyed(h, fn, 'k', { body: body() })) as [Keyed, Keyed];
  t.equal(h.link(pod).invoked.length, 0);
  left.call.clientGone();
  await eventually('one runs', () => h.link(pod).invoked.length > 0);
  await eventually('the other has joined', () => fn.heldBytes === HASHED_HERE_BYTES + 1);
  h.answer(pod);
  t.same([first.client.told, second.client.told, left.client.told], [['ok'], ['ok'], []]);
  t.equal(h.link(pod).invoked.length, 1);
  const free = keyed(h, fn, 'left');
  t.notOk(free.client.replayed);
  t.equal(h.link(pod).invoked.length, 2, 'its key was never taken');
});

interface World {
  readonly h: Harness;
  readonly fn: FunctionState;
  readonly calls: Keyed[];
}
const pods = (w: World) => [...w.fn.pods].filter((pod) => pod.state !== 'gone');
const one = <T>(list: readonly T[], pick: number): T | undefined =>
  list[pick % Math.max(1, list.length)];

function answer(w: World, pick: number, act: (pod: Pod, invocation: Invocation) => void): void {
  const running = pods(w).flatMap((pod) => pod.running.values().map((i) => [pod, i] as const));
  const found = one(running, pick);
  if (found !== undefined) act(found[0], found[1]);
}

const add = (w: World, pick: number, options: Parameters<typeof keyed>[3] = {}) => {
  const key = `k${pick % 4}`;
  // Now and then another request under the key.
  const body = Buffer.from(pick % 7 === 0 ? '[]' : '{}');
  w.calls.push(keyed(w.h, w.fn, key, { body, ...options }));
};

const STEPS: Record<string, (w: World, pick: number) => void> = {
  call: (w, pick) => add(w, pick),
  callBriefly: (w, pick) => add(w, pick, { budgetMs: 20 }),
  callRaw: (w, pick) => add(w, pick, { raw: true }),
  receive: (w, pick) => add(w, pick, { receiving: true }),
  bodyComes: (w, pick) => {
    const open = w.calls.filter((c) => !c.refused && c.invocation.state === 'receiving');
    one(open, pick)?.call.submit();
  },
  hangUp: (w, pick) => {
    const call = one(
      w.calls.filter((c) => !c.gone && !c.refused && c.client.ends.length === 0),
      pick,
    );
    if (call === undefined) return;
    call.gone = true;
    call.call.clientGone();
  },
  succeed: (w, pick) => answer(w, pick, (pod, i) => w.h.answer(pod, 'ok', i.stream)),
  fail: (w, pick) => answer(w, pick, (pod, i) => w.h.answer(pod, 'error', i.stream)),
  stream: (w, pick) =>
    answer(w, pick, (pod, invocation) => {
      if (invocation.form !== 'raw' || invocation.state === 'ended') return;
      w.h.core.scheduler.onHead(invocation, 200, []);
      w.h.core.scheduler.onChunk(pod, invocation, new Uint8Array(3));
    }),
  podExits: (w, pick) => {
    const pod = one(pods(w), pick);
    if (pod !== undefined)
      w.h.core.onMessage({ type: 'pod-exited', podId: pod.id, reason: 'test' });
  },
  podComes: (w) => void (w.fn.pods.size < 3 && w.h.pod(w.fn)),
  wait: (w, pick) => w.h.advance(1 + (pick % 200)),
};

function assert(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}

function check({ calls, h }: World): void {
  const ran = new Map<string, number>();
  for (const { key, client, invocation, gone, refused } of calls) {
    if (invocation.attempts > 0) ran.set(key, (ran.get(key) ?? 0) + 1);
    const { ends } = client;
    assert(ends.length <= 1, `told ${ends}`);
    assert(!gone || ends.length === 0, 'told after it went');
    assert(!refused || ends.length === 0, 'a refused call was told more');
  }
  for (const [key, times] of ran) assert(times === 1, `${key} ran ${times} times`);
  const { idempotencyKeys } = h.core.scheduler.counters;
  assert(idempotencyKeys <= 4, `${idempotencyKeys} keys`);
}

t.test('whatever happens, in any order', (t) => {
  const step = fc.tuple(fc.constantFrom(...Object.keys(STEPS)), fc.nat(1_000));
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 150 }), (sequence) => {
      const h = new Harness();
      const spec = { maxReplicas: 3, overflow: 0, graceMs: 100, concurrency: 2 };
      const fn = h.define('f', { ...spec, queue: { maxLength: 3, maxBytes: 1_000 } });
      const w: World = { h, fn, calls: [] };
      for (const [name, pick] of sequence) {
        STEPS[name]?.(w, pick);
        check(w);
      }
      for (let i = 0; i < 10; i++) h.advance(2_000);
      check(w);
      for (const { client, gone, refused } of w.calls) {
        assert(client.ends.length === (gone || refused ? 0 : 1), 'one was never told');
      }
      assert(h.core.scheduler.live === 0, 'one never ended');
      assert(fn.heldBytes === 0, 'bytes are held');
      assert(h.core.idempotency['joined'] === 0, 'one is taken to wait for ever');
      const { counters } = fn;
      const ended = Object.values(ENDS).reduce((sum, name) => sum + counters.counter(name), 0);
      assert(counters.counter('accepted') === ended, 'accepted = ended');
    }),
    { numRuns: 1_500 },
  );
  t.end();
});

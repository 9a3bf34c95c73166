import fc from 'fast-check';
import t from 'tap';
import { type Callback, Callbacks } from '../../src/control/callbacks/callbacks.ts';
import {
  type AttemptOutcome,
  BASE_DELAY_MS,
  decideDelivery,
  failed,
  MAX_DELAY_MS,
  outcomeOf,
} from '../../src/control/callbacks/policy.ts';
import type { CallbackRequest } from '../../src/control/callbacks/sender.ts';
import { callbackKey, signatureOf } from '../../src/control/callbacks/signing.ts';
import { CallbackTargets } from '../../src/shared/callback-targets.ts';
import { FakeClock, memoryLog, turn } from './fakes.ts';

const SECRET = new Uint8Array(32);
const MAX_AGE_MS = 60_000;
const MAX_ATTEMPTS = 4;

/** An attempt that is under way: the test says how it ends. */
interface Sent {
  readonly request: CallbackRequest;
  end(outcome: AttemptOutcome): void;
}

function setUp(limits: { maxCount?: number; maxBytes?: number } = {}) {
  const clock = new FakeClock();
  const { log, lines } = memoryLog();
  const sent: Sent[] = [];
  const delivered: string[] = [];
  const dead: { id: string; attempts: number; reason: string }[] = [];
  let failures = 0;
  let closed = false;
  const callbacks = new Callbacks({
    targets: new CallbackTargets([]),
    sender: {
      send: (request) => new Promise((end) => sent.push({ request, end })),
      async close() {
        closed = true;
      },
    },
    secret: () => SECRET,
    version: '1.2.3',
    maxCount: limits.maxCount ?? 100,
    maxBytes: limits.maxBytes ?? 1_000,
    ...{ maxAttempts: MAX_ATTEMPTS, maxAgeMs: MAX_AGE_MS, clock, log },
    random: () => 0.5,
    onDelivered: ({ executionId }) => void delivered.push(executionId),
    onAttemptFailed: () => void failures++,
    onDead: ({ executionId }, attempts, reason) =>
      void dead.push({ id: executionId, attempts: attempts.length, reason }),
  });
  /** The oldest attempt that is under way ends so. */
  const end = async (outcome: AttemptOutcome) => {
    sent.shift()?.end(outcome);
    await turn();
  };
  return {
    ...{ clock, lines, sent, delivered, dead, callbacks, end },
    failures: () => failures,
    closed: () => closed,
  };
}

const callback = (id: string, more: Partial<Callback> = {}): Callback => ({
  ...{ executionId: id, functionKey: 'default/a', url: 'https://receiver.test/x?token=secret' },
  ...{
    status: 'succeeded',
    createdAt: 0,
    traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
  },
  body: Buffer.from(`{"executionId":"${id}"}`),
  ...more,
});

const TAKEN: AttemptOutcome = { kind: 'delivered', status: 200 };
const AGAIN = failed('answered 503', true, 503);

t.test('what an answer means', async (t) => {
  for (const status of [200, 201, 204, 299])
    t.match(outcomeOf(status, '', 0), { kind: 'delivered' });
  for (const status of [408, 425, 429, 500, 502, 503, 504, 599]) {
    t.match(outcomeOf(status, '3', 0), { kind: 'failed', retryable: true, retryAfterMs: 3_000 });
  }
  for (const status of [301, 302, 303, 304, 400, 401, 403, 404, 409, 410, 422, 451]) {
    t.match(outcomeOf(status, '3', 0), { kind: 'failed', retryable: false, retryAfterMs: 0 });
  }
  t.match(outcomeOf(503, 'tomorrow', 0), { retryAfterMs: 0 });
  t.match(outcomeOf(503, 'Thu, 01 Jan 1970 00:00:09 GMT', 10_000), { retryAfterMs: 0 });
});

t.test('delays grow to the cap, honour Retry-After within it, and never pass the end', async () => {
  fc.assert(
    fc.property(
      fc.record({
        retryable: fc.boolean(),
        retryAfterMs: fc.nat({ max: 1e9 }),
        attempts: fc.integer({ min: 1, max: 100 }),
        maxAttempts: fc.integer({ min: 1, max: 100 }),
        remainingMs: fc.integer({ min: -1_000, max: 1e7 }),
        random: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      }),
      (d) => {
        const decision = decideDelivery(d);
        if (!decision.retry) {
          const hopeless = !d.retryable;
          const exhausted = d.attempts >= d.maxAttempts;
          return hopeless || exhausted || decision.why === 'too_late';
        }
        const { delayMs } = decision;
        const cap = Math.min(MAX_DELAY_MS, BASE_DELAY_MS * 2 ** (d.attempts - 1));
        const asked = Math.min(d.retryAfterMs, MAX_DELAY_MS);
        return (
          d.retryable &&
          d.attempts < d.maxAttempts &&
          delayMs < d.remainingMs &&
          delayMs >= asked &&
          delayMs <= Math.max(cap, asked)
        );
      },
    ),
  );
});

t.test('each attempt is signed anew, as the same delivery', async (t) => {
  const w = setUp();
  w.callbacks.deliver(callback('x-1'));
  const requests: (CallbackRequest | undefined)[] = [];
  for (let i = 0; i < 3; i++) {
    const [attempt] = w.sent;
    requests.push(attempt?.request);
    w.clock.advance(1_000);
    await w.end(AGAIN);
    w.clock.advance(10_000);
  }
  for (const request of requests as CallbackRequest[]) {
    const at = Number(request.headers['x-simmer-timestamp']);
    const key = callbackKey(SECRET, 'default/a');
    t.equal(request.headers['x-simmer-signature'], signatureOf(key, at, request.body));
    t.match(request.headers, { 'idempotency-key': 'x-1', 'user-agent': 'simmer/1.2.3' });
  }
  const times = new Set(requests.map((r) => r?.headers['x-simmer-timestamp']));
  t.equal(times.size, 3);
  await w.end(TAKEN);
  t.same([w.delivered, w.dead, w.failures()], [['x-1'], [], 3]);
  t.same([w.callbacks.pending, w.callbacks.pendingBytes], [0, 0]);
});

t.test('it is given up when the attempts or the time are over, or it is hopeless', async (t) => {
  const w = setUp();
  w.callbacks.deliver(callback('x-1'));
  for (let i = 0; i < MAX_ATTEMPTS; i++) {
    await w.end(AGAIN);
    w.clock.advance(5_000);
  }
  w.callbacks.deliver(callback('x-2'));
  w.clock.advance(MAX_AGE_MS - 1);
  await w.end(failed('no answer', true));
  w.callbacks.deliver(callback('x-3'));
  await w.end(failed('answered 410', false, 410));
  w.callbacks.deliver(callback('x-4', { url: 'http://127.0.0.1/' }));
  t.match(w.dead, [
    { id: 'x-1', attempts: MAX_ATTEMPTS, reason: 'answered 503' },
    { id: 'x-2', attempts: 1, reason: 'no answer' },
    { id: 'x-3', attempts: 1, reason: 'answered 410' },
    { id: 'x-4', attempts: 0, reason: /not allowed/ },
  ]);
  t.equal(w.lines.filter(({ message }) => message === 'callback dead-lettered').length, 4);
  t.notOk(JSON.stringify(w.lines).includes('token=secret'));
  t.equal(w.callbacks.pending, 0);
});

t.test('count and bytes are bounded; what is over them is given up untried', async (t) => {
  const w = setUp({ maxCount: 2, maxBytes: 60 });
  w.callbacks.deliver(callback('x-1'));
  w.callbacks.deliver(callback('x-2', { body: new Uint8Array(50) }));
  w.callbacks.deliver(callback('x-3'));
  w.callbacks.deliver(callback('x-4', { body: new Uint8Array(1) }));
  w.callbacks.deliver(callback('x-5', { body: new Uint8Array(61), functionKey: 'default/b' }));
  t.match(w.dead, [
    { id: 'x-2', reason: /no room/ },
    { id: 'x-4', reason: /no room/ },
    { id: 'x-5', reason: /no room/ },
  ]);
  await w.end(TAKEN);
  w.callbacks.deliver(callback('x-6', { body: new Uint8Array(1) }));
  t.equal(w.callbacks.pending, 2, 'there is room again');
});

t.test(
  'who holds the most gives way: first what was tried in vain, then the youngest',
  async (t) => {
    const w = setUp({ maxCount: 12 });
    const b = { functionKey: 'default/b' };
    for (let i = 1; i <= 12; i++) w.callbacks.deliver(callback(`a-${i}`));
    t.equal(w.sent.length, 8, 'one function to one receiver');
    await w.end(AGAIN);
    for (let i = 1; i <= 4; i++) w.callbacks.deliver(callback(`b-${i}`, b));
    t.same(
      w.dead.map(({ id, attempts }) => [id, attempts]),
      [
        ['a-1', 1],
        ['a-12', 0],
        ['a-11', 0],
        ['a-10', 0],
      ],
      'what is under way stays',
    );
    t.equal(w.callbacks.pending, 12);
    for (let i = 5; i <= 12; i++) w.callbacks.deliver(callback(`b-${i}`, b));
    t.same(
      w.dead.slice(4).map(({ id }) => id),
      ['b-5', 'b-6', 'b-7', 'b-8', 'b-9', 'b-10', 'b-11', 'b-12'],
      'all of a is under way: then it is its own function that gives way',
    );
    while (w.sent.length > 0) await w.end(TAKEN);
    t.same(w.callbacks.pending, 0);
  },
);

t.test('a function whose receiver is dead still tells another of its receivers', async (t) => {
  const w = setUp({ maxCount: 10 });
  for (let i = 1; i <= 10; i++) w.callbacks.deliver(callback(`dead-${i}`));
  while (w.sent.length > 0) await w.end(AGAIN);
  w.callbacks.deliver(callback('x-1', { url: 'https://healthy.test/' }));
  await w.end(TAKEN);
  t.same(w.delivered, ['x-1']);
  t.match(w.dead, [{ id: 'dead-1', attempts: 1, reason: /no room/ }]);
  for (let i = 11; i <= 12; i++) w.callbacks.deliver(callback(`dead-${i}`));
  w.clock.advance(MAX_DELAY_MS);
  t.equal(w.sent.length, 8, 'those whose time has come have their turn');
  w.callbacks.deliver(callback('x-2', { url: 'https://healthy.test/' }));
  t.match(w.dead.at(-1), { attempts: 1 }, 'what waits for its turn was tried in vain, too');
  t.notOk(w.dead.some(({ id }) => id.startsWith('x-')));
});

t.test('whatever happens, each ends once', async () => {
  const outcome = fc.constantFrom<AttemptOutcome>(TAKEN, AGAIN, failed('answered 404', false, 404));
  const step = fc.oneof(
    fc.record({ deliver: fc.nat({ max: 40 }) }),
    fc.record({ outcome, pick: fc.nat() }),
    fc.record({ advance: fc.nat({ max: 20_000 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.boolean(), async (steps, close) => {
      const w = setUp({ maxCount: 5, maxBytes: 100 });
      let made = 0;
      for (const s of steps) {
        if ('deliver' in s) {
          const url = `https://${s.deliver % 3}.test/`;
          const body = new Uint8Array(s.deliver);
          const functionKey = `default/${s.deliver % 2}`;
          w.callbacks.deliver(callback(`x-${++made}`, { url, body, functionKey }));
        } else if ('outcome' in s) {
          w.sent.splice(s.pick % Math.max(1, w.sent.length), 1)[0]?.end(s.outcome);
          await turn();
        } else {
          w.clock.advance(s.advance);
        }
        if (w.callbacks.pending > 5 || w.callbacks.pendingBytes > 100) throw new Error('over');
      }
      if (close) {
        const closing = w.callbacks.close(1_000);
        w.clock.advance(1_000);
        await closing;
        if (!w.closed()) throw new Error('the sender is open');
      }
      while (!close && w.callbacks.pending > 0) {
        await w.end(AGAIN);
        w.clock.advance(MAX_DELAY_MS);
      }
      const lost = w.lines.filter(({ message }) => message === 'callback not delivered');
      const ends = [
        ...w.delivered,
        ...w.dead.map(({ id }) => id),
        ...lost.map((l) => l['executionId']),
      ];
      if (ends.length !== made || new Set(ends).size !== made) throw new Error(`${ends}`);
      if (w.callbacks.pendingBytes !== 0) throw new Error('bytes are left');
    }),
    { numRuns: 200 },
  );
});

t.test(
  'a shutdown tries what waits at once, and waits for nothing that comes too late',
  async (t) => {
    const w = setUp();
    w.callbacks.deliver(callback('x-1'));
    w.callbacks.deliver(callback('x-2'));
    await w.end(AGAIN);
    await w.end(AGAIN);
    t.equal(w.sent.length, 0, 'both wait');
    const closing = w.callbacks.close(100);
    t.equal(w.sent.length, 2, 'and are tried');
    await w.end(TAKEN);
    await w.end(AGAIN);
    await closing;
    t.same(w.delivered, ['x-1']);
    t.match(
      w.lines.filter(({ message }) => message === 'callback not delivered'),
      [{ level: 'warn', executionId: 'x-2', host: 'receiver.test', reason: 'answered 503' }],
    );
  },
);

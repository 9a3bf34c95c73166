import t from 'tap';
import { Refused } from '../../src/scheduler/access/access.ts';
import { Known } from '../../src/scheduler/access/known.ts';
import { TokenCache } from '../../src/scheduler/access/token-cache.ts';
import { TimingWheel } from '../../src/scheduler/timing-wheel.ts';
import type { VerifyTokenMessage } from '../../src/shared/messages.ts';

const CALLER = { id: 'token:ada', scopes: ['invoke'], functions: ['*'] } as const;

function setUp() {
  const at = { now: 0 };
  const posted: VerifyTokenMessage[] = [];
  const wheel = new TimingWheel(0);
  const cache = new TokenCache({
    wheel,
    now: () => at.now,
    wallClock: () => at.now,
    post: (message) => posted.push(message),
  });
  const advance = (ms: number) => {
    at.now += ms;
    wheel.advance(at.now);
  };
  const letIn = (expiresAt = 1e12) => {
    const { requestId } = posted.at(-1) as VerifyTokenMessage;
    const verdict = { kind: 'known', caller: CALLER, expiresAt } as const;
    cache.answered({ type: 'token-verified', requestId, verdict });
  };
  return { cache, posted, advance, letIn };
}

const token = (n: number, payload = 'p') => `h.${payload}.${String(n).padStart(50, '0')}`;

t.test('a token is asked about once, and again when it has expired', async (t) => {
  const { cache, posted, advance, letIn } = setUp();
  const both = [cache.find(token(1)), cache.find(token(1))];
  t.equal(posted.length, 1);
  letIn(1_000);
  const [known, same] = await Promise.all(both);
  t.ok(known instanceof Known && known === same);
  t.equal(cache.find(token(1)), known, 'from now on at once');
  t.ok(cache.find(token(1, 'q')) instanceof Promise, 'the same signature under another text');
  advance(1_000);
  t.ok(cache.find(token(1)) instanceof Promise);
  t.equal(posted.length, 3);
});

t.test('what is no JWT is not asked about', async (t) => {
  const { cache, posted } = setUp();
  for (const text of ['', 'x', 'a.b', 'a.b.c.d', 'a.b.', 'a b.c.d', `a.${'b'.repeat(9_000)}.c`]) {
    t.match(cache.find(text), { code: 'unauthenticated' });
  }
  t.equal(posted.length, 0);
});

t.test('only so many wait, and none for ever', async (t) => {
  const { cache, advance, letIn } = setUp();
  const waiting = Array.from({ length: 1_000 }, (_, n) => cache.find(token(n)));
  t.ok(waiting.every((one) => one instanceof Promise));
  t.match(cache.find(token(1)), { code: 'overloaded' });
  letIn();
  t.ok(cache.find(token(5_000)) instanceof Promise, 'one has been answered');
  advance(14_000);
  const last = waiting[0] as Promise<unknown>;
  let told: unknown;
  void last.then((access) => {
    told = access;
  });
  await Promise.resolve();
  t.equal(told, undefined);
  advance(2_000);
  t.match(await last, { code: 'identity_provider_unavailable' });
  t.ok((await last) instanceof Refused);
  t.ok(cache.find(token(1)) instanceof Promise, 'and may be asked about again');
});

t.test('of those that hold the oldest make room, by number and by size', async (t) => {
  const { cache, letIn } = setUp();
  for (let n = 0; n <= 10_000; n++) {
    void cache.find(token(n));
    letIn();
  }
  t.ok(cache.find(token(0)) instanceof Promise);
  t.ok(cache.find(token(1)) instanceof Known);
  t.ok(cache.find(token(10_000)) instanceof Known);
  const large = 'p'.repeat(8_000);
  for (let n = 0; n < 5_000; n++) {
    void cache.find(token(n, large));
    letIn();
  }
  t.ok(cache.find(token(4_999, large)) instanceof Known);
  t.ok(cache.find(token(500, large)) instanceof Promise);
});

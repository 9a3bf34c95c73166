import fc from 'fast-check';
import t from 'tap';
import {
  type Backoff,
  FIRST_DELAY_MS,
  HEALTHY,
  HOPELESS_FAILURES,
  isHopeless,
  launchesAllowed,
  MAX_DELAY_MS,
  onFailure,
} from '../../src/control/pools/backoff.ts';

/** `count` failures, each of a pod launched as soon as that was allowed. */
function failing(count: number): Backoff & { state: 'failing' } {
  let backoff: Backoff = HEALTHY;
  let now = 0;
  for (let i = 0; i < count; i++) {
    backoff = onFailure(backoff, now, now + 1);
    now = backoff.state === 'failing' ? backoff.suspendedUntil : now;
  }
  return backoff as Backoff & { state: 'failing' };
}

t.test('delays double from the first to the longest', async (t) => {
  const delays = [1, 2, 3, 4, 5, 6, 7, 8, 9, 50].map((n) => {
    const { suspendedUntil, failedAt } = failing(n);
    return suspendedUntil - failedAt;
  });
  t.strictSame(delays, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
});

t.test('pods launched together fail once', async (t) => {
  const first = onFailure(HEALTHY, 100, 150);
  t.equal(onFailure(first, 100, 151), first);
  t.equal(onFailure(first, 150, 300), first);
  t.match(onFailure(first, 151, 300), { failures: 2 });
});

t.test('nothing is launched while suspended, then one at a time', async (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.nat(20), fc.nat(200_000), (n, starting, dt) => {
      const backoff = failing(n);
      const now = backoff.failedAt + dt;
      const allowed = launchesAllowed(backoff, starting, now);
      if (now < backoff.suspendedUntil) return allowed === 0;
      return allowed === (starting === 0 ? 1 : 0);
    }),
  );
  t.equal(launchesAllowed(HEALTHY, 1_000, 0), Number.POSITIVE_INFINITY);
});

t.test('any run of failures suspends for a bounded time', async () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(100_000), fc.nat(100_000)), { minLength: 1 }), (steps) => {
      let backoff: Backoff = HEALTHY;
      let now = 0;
      for (const [pause, life] of steps) {
        const launchedAt = now + pause;
        now = launchedAt + life;
        backoff = onFailure(backoff, launchedAt, now);
        if (backoff.state !== 'failing') return false;
        const delay = backoff.suspendedUntil - backoff.failedAt;
        if (delay < FIRST_DELAY_MS || delay > MAX_DELAY_MS) return false;
      }
      return true;
    }),
  );
});

t.test('hope ends with the third failure, or when the failure says so', async (t) => {
  t.equal(isHopeless(HEALTHY, true), false, 'what failed once and then worked');
  t.equal(isHopeless(failing(HOPELESS_FAILURES - 1), false), false);
  t.equal(isHopeless(failing(HOPELESS_FAILURES), false), true);
  t.equal(isHopeless(failing(1), true), true);
});

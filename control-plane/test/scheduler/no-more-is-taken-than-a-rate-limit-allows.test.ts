import fc from 'fast-check';
import t from 'tap';
import { bucketFor, TokenBucket } from '../../src/scheduler/access/token-bucket.ts';

const limits = fc.record({
  requestsPerSecond: fc.double({ min: 0.001, max: 1e6, noNaN: true }),
  burst: fc.integer({ min: 1, max: 1_000 }),
});
/** Milliseconds between calls: most at once or close together. */
const gaps = fc.array(fc.oneof(fc.constant(0), fc.double({ min: 0, max: 5_000, noNaN: true })), {
  maxLength: 200,
});
const starts = fc.double({ min: 0, max: 1e10, noNaN: true });

t.test('in any span no more is taken than the burst and what refills in it (R1)', async () => {
  fc.assert(
    fc.property(limits, gaps, starts, (limit, steps, start) => {
      const bucket = new TokenBucket(limit);
      const taken: number[] = [];
      let now = start;
      for (const gap of steps) {
        now += gap;
        if (bucket.take(now)) taken.push(now);
      }
      for (let i = 0; i < taken.length; i++) {
        for (let j = i; j < taken.length; j++) {
          const refilled =
            (((taken[j] as number) - (taken[i] as number)) / 1_000) * limit.requestsPerSecond;
          // Times of 1e10 ms have steps of 2 ns: a million a second refills 2e-3 in one.
          if (j - i + 1 > limit.burst + refilled + 0.01) return false;
        }
      }
      return true;
    }),
  );
});

t.test('it agrees with one that counts tokens', async () => {
  fc.assert(
    fc.property(limits, gaps, (limit, steps) => {
      const bucket = new TokenBucket(limit);
      let tokens = limit.burst;
      let now = 0;
      for (const gap of steps) {
        now += gap;
        tokens = Math.min(limit.burst, tokens + (gap / 1_000) * limit.requestsPerSecond);
        const nearly = Math.abs(tokens - 1) < 1e-3;
        const took = bucket.take(now);
        if (!nearly && took !== tokens >= 1) return false;
        if (took) tokens -= 1;
        if (Math.abs(bucket.remaining(now) - tokens) > 1.01) return false;
      }
      return true;
    }),
  );
});

t.test(
  'what was left alone gives its burst at once (R2); after its wait one is there (R3)',
  async () => {
    fc.assert(
      fc.property(limits, gaps, (limit, steps) => {
        const bucket = new TokenBucket(limit);
        let now = 0;
        for (const gap of steps) {
          now += gap;
          bucket.take(now);
        }
        now += bucket.fullInMs(now) + 1e-3;
        if (bucket.remaining(now) !== limit.burst) return false;
        for (let n = 0; n < limit.burst; n++) if (!bucket.take(now)) return false;
        const wait = bucket.waitMs(now);
        if (bucket.take(now + wait / 2 - 1e-3)) return wait < 5e-3;
        return bucket.take(now + wait + 1e-3);
      }),
    );
  },
);

t.test('the same limit keeps its count, another begins anew', async (t) => {
  const bucket = bucketFor({ requestsPerSecond: 1, burst: 2 }, null);
  t.equal(bucketFor({ requestsPerSecond: 1, burst: 2 }, bucket), bucket);
  t.not(bucketFor({ requestsPerSecond: 1, burst: 3 }, bucket), bucket);
  t.equal(bucketFor(null, bucket), null);
});

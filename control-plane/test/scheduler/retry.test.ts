import fc from 'fast-check';
import t from 'tap';
import { causeOf, decideRetry, type RetryInput } from '../../src/scheduler/retry.ts';

const FIRST: RetryInput = {
  cause: 'lost',
  sync: false,
  retryable: true,
  retryAfterMs: null,
  attempts: 1,
  maxRetries: 3,
  on: ['lost', 'timeout', 'error'],
  baseDelayMs: 100,
  maxDelayMs: 30_000,
  remainingMs: 60_000,
  random: 0.5,
};

type Case = readonly [
  what: string,
  change: Partial<RetryInput>,
  expected: number | 'not_retryable' | 'exhausted' | 'deadline',
];
const CASES: readonly Case[] = [
  ['the first retry', {}, 50],
  ['the second: twice the range', { attempts: 2 }, 100],
  ['the third', { attempts: 3 }, 200],
  ['all are made', { attempts: 4 }, 'exhausted'],
  ['none are wanted', { maxRetries: 0 }, 'exhausted'],
  ['far out the cap holds', { attempts: 80, maxRetries: 100 }, 15_000],
  ['a handler error', { cause: 'error' }, 50],
  ['a handler error, not wanted', { cause: 'error', on: ['lost', 'timeout'] }, 'not_retryable'],
  ['a lost pod, not wanted', { on: [] }, 'not_retryable'],
  ['nothing that would change', { cause: undefined }, 'not_retryable'],
  ['somebody waits: a lost pod', { sync: true }, 50],
  ['somebody waits: an error', { sync: true, cause: 'error' }, 'not_retryable'],
  ['somebody waits: a timeout', { sync: true, cause: 'timeout' }, 'not_retryable'],
  ['the handler wants none', { cause: 'error', retryable: false }, 'not_retryable'],
  ['it wants a delay', { cause: 'error', retryAfterMs: 700 }, 700],
  ['it wants none at all', { cause: 'error', retryAfterMs: 0, random: 0.9 }, 0],
  ['its delay is not capped by the backoff', { retryAfterMs: 50_000 }, 50_000],
  ['its delay reaches the deadline', { retryAfterMs: 60_000 }, 'deadline'],
  ['its delay gives it no more retries', { retryAfterMs: 0, attempts: 4 }, 'exhausted'],
  [
    'it wants a delay, the policy no retries of errors',
    { cause: 'error', on: ['lost'], retryAfterMs: 5 },
    'not_retryable',
  ],
  [
    'somebody waits, the handler wants a delay',
    { sync: true, cause: 'error', retryAfterMs: 5 },
    'not_retryable',
  ],
  ['it would come with the deadline', { remainingMs: 50 }, 'deadline'],
  ['it comes before the deadline', { remainingMs: 51 }, 50],
  ['the deadline has passed', { remainingMs: -1, random: 0 }, 'deadline'],
];

for (const [what, change, expected] of CASES) {
  t.test(what, async (t) => {
    const decision = decideRetry({ ...FIRST, ...change });
    t.equal(decision.retry ? decision.delayMs : decision.why, expected);
  });
}

t.test(
  'no retry passes the deadline, the number of retries, the cap or what the handler said',
  async () => {
    fc.assert(
      fc.property(
        fc.record({
          attempts: fc.integer({ min: 1, max: 200 }),
          maxRetries: fc.nat(100),
          baseDelayMs: fc.nat(86_400_000),
          maxDelayMs: fc.nat(86_400_000),
          remainingMs: fc.integer({ min: -1_000, max: 86_400_000 }),
          retryable: fc.boolean(),
          retryAfterMs: fc.option(fc.nat(86_400_000)),
          random: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        }),
        (r) => {
          const decision = decideRetry({ ...FIRST, ...r });
          if (!decision.retry) return true;
          const { delayMs } = decision;
          return (
            delayMs >= 0 &&
            delayMs < r.remainingMs &&
            delayMs <= (r.retryAfterMs ?? r.maxDelayMs) &&
            r.retryable &&
            r.attempts <= r.maxRetries
          );
        },
      ),
      { numRuns: 5_000 },
    );
  },
);

t.test('what the same request would meet again has no cause', async (t) => {
  t.equal(causeOf('pod_lost'), 'lost');
  t.equal(causeOf('timeout'), 'timeout');
  t.equal(causeOf('function_error'), 'error');
  for (const code of ['bad_input', 'result_too_large', 'cancelled', 'draining'] as const) {
    t.equal(causeOf(code), undefined, code);
  }
});

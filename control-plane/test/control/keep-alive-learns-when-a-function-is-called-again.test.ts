import fc from 'fast-check';
import t from 'tap';
import {
  HYBRID_DEFAULTS,
  HybridHistogram,
} from '../../src/control/sizing/keep-alive/hybrid-histogram.ts';
import { IdleTimes } from '../../src/control/sizing/keep-alive/idle-times.ts';
import { type IdlePlan, inPlan, type Traits } from '../../src/control/sizing/keep-alive/policy.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const TRAITS: Traits = { keepAliveMs: 300_000, coldStartMs: 700, memoryMib: 128 };

/** The plan after these idle times. */
function planAfter(idleTimes: readonly number[], settings = HYBRID_DEFAULTS): IdlePlan {
  const keepAlive = new HybridHistogram(settings).of('default/f');
  let now = 0;
  keepAlive.called(now, 1, undefined, TRAITS);
  for (const idleMs of idleTimes) {
    now += idleMs;
    keepAlive.called(now, 1, idleMs, TRAITS);
  }
  return keepAlive.plan(now, TRAITS);
}

/** The end of what the plan keeps a pod for. */
function endOf({ keepMs, prewarm }: IdlePlan): number {
  return prewarm?.untilMs ?? keepMs;
}

const minutes = (from: number, to: number) =>
  fc.integer({ min: from * 1_000, max: to * 1_000 }).map((n) => n * 60);

t.test('before it knows anything, and after one idle time, it keeps as it was told', async (t) => {
  t.equal(planAfter([]).keepMs, TRAITS.keepAliveMs);
  t.equal(planAfter([HOUR_MS]).keepMs, TRAITS.keepAliveMs);
});

t.test(
  'a timer finds a pod that was made ready before it fires, and is gone in between',
  async (t) => {
    for (const period of [4, 5, 17, 60, 200, 300, 720, 1_440].map((m) => m * MINUTE_MS)) {
      const plan = planAfter(Array.from({ length: 12 }, () => period));
      t.equal(plan.keepMs, 0, `${period}`);
      t.ok(plan.prewarm !== undefined && plan.prewarm.fromMs < period, `${period}`);
      t.ok(endOf(plan) > period, `${period}`);
      t.ok(
        endOf(plan) - (plan.prewarm?.fromMs ?? 0) <= 0.2 * period + 2.2 * MINUTE_MS,
        'not for long',
      );
      t.equal(inPlan(plan, period / 2, TRAITS.coldStartMs).phase, 'gone');
      t.equal(inPlan(plan, period, TRAITS.coldStartMs).phase, 'ahead');
    }
  },
);

t.test(
  'a pod is launched ahead of the head by a cold start, and goes after the tail',
  async (t) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(minutes(3, 1_000), { minLength: 2, maxLength: 60 }),
        async (times) => {
          const plan = planAfter(times);
          const { prewarm } = plan;
          if (prewarm === undefined) return;
          const { coldStartMs } = TRAITS;
          t.ok(prewarm.fromMs < prewarm.untilMs);
          t.equal(inPlan(plan, prewarm.fromMs - coldStartMs - 1, coldStartMs).phase, 'gone');
          t.equal(inPlan(plan, prewarm.fromMs - coldStartMs + 1, coldStartMs).phase, 'ahead');
          t.equal(inPlan(plan, prewarm.untilMs + 1, coldStartMs).phase, 'gone');
        },
      ),
    );
  },
);

t.test('nothing is kept beyond the longest idle time and its margins', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(minutes(0, 2_000), { minLength: 2, maxLength: 80 }),
      async (times) => {
        const limit = (Math.max(...times) + MINUTE_MS) * (1 + HYBRID_DEFAULTS.margin);
        t.ok(endOf(planAfter(times)) <= Math.max(limit, TRAITS.keepAliveMs));
      },
    ),
  );
});

t.test('head and tail are the percentiles of the idle times, a bin further out', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(minutes(0, 239), { minLength: 1, maxLength: 300 }),
      fc.integer({ min: 1, max: 100 }),
      async (times, percent) => {
        const known = new IdleTimes();
        for (const time of times) known.observe(time);
        const sorted = [...times].sort((a, b) => a - b);
        const exact = sorted[Math.ceil((percent / 100) * sorted.length) - 1] as number;
        t.ok(known.lower(percent) <= exact && exact < known.upper(percent));
        t.equal(known.upper(percent) - known.lower(percent), MINUTE_MS);
        t.ok(Math.abs(known.mean() - times.reduce((a, b) => a + b, 0) / times.length) < 1e-6);
        const counts = Array.from(
          { length: 240 },
          (_, bin) => times.filter((time) => Math.floor(time / MINUTE_MS) === bin).length,
        );
        const mean = times.length / 240;
        const variance = counts.reduce((sum, count) => sum + (count - mean) ** 2, 0) / 240;
        t.ok(Math.abs(known.variation() - Math.sqrt(variance) / mean) < 1e-6);
      },
    ),
  );
});

t.test('a pod is kept for the minutes that gain most, as trying all of them shows', async (t) => {
  const BINS = 16;
  await fc.assert(
    fc.asyncProperty(
      fc.array(minutes(0, BINS + 4), { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 0, max: BINS - 1 }),
      fc.integer({ min: 1, max: 40 }),
      async (times, earliest, hit) => {
        const known = new IdleTimes();
        for (const time of times) known.observe(time);
        const hitMs = hit * MINUTE_MS;
        const middleOf = (time: number) => (Math.floor(time / MINUTE_MS) + 0.5) * MINUTE_MS;
        const gainOf = (from: number, end: number) => {
          const [fromMs, endMs] = [from * MINUTE_MS, end * MINUTE_MS];
          return times.map(middleOf).reduce((sum, time) => {
            if (time < fromMs) return sum;
            return sum + (time < endMs ? hitMs : 0) - (Math.min(time, endMs) - fromMs);
          }, 0);
        };
        let most = 0;
        for (let stay = 0; stay <= BINS; stay++) {
          most = Math.max(most, gainOf(0, stay));
          for (let from = Math.max(stay, earliest); from < BINS; from++) {
            for (let end = from + 1; end <= BINS; end++) {
              most = Math.max(most, gainOf(0, stay) + gainOf(from, end));
            }
          }
        }
        const best = known.bestPlan(earliest * MINUTE_MS, BINS * MINUTE_MS, hitMs);
        t.ok(Math.abs(best.gain - most) < 1e-6, `${best.gain} of ${most}`);
        const [stay, from, until] = [best.stayMs, best.fromMs, best.untilMs].map(
          (ms) => ms / MINUTE_MS,
        );
        const told = gainOf(0, stay as number) + gainOf(from as number, until as number);
        t.ok(Math.abs(told - best.gain) < 1e-6, 'it gains what it says');
      },
    ),
  );
});

t.test(
  'calls in spells that come with a rhythm: kept for a spell, gone, and ready for the next',
  async (t) => {
    const times = Array.from({ length: 60 }, (_, i) => (i % 3 === 2 ? 180 : 1) * MINUTE_MS);
    const plan = planAfter(times);
    t.ok(plan.keepMs > MINUTE_MS && plan.keepMs < 10 * MINUTE_MS);
    t.ok(plan.prewarm !== undefined && plan.prewarm.fromMs > 150 * MINUTE_MS);
    t.ok(endOf(plan) > 180 * MINUTE_MS);
  },
);

t.test('idle times that are spread evenly over four hours say nothing', async (t) => {
  const plan = planAfter(Array.from({ length: 480 }, (_, i) => (i % 240) * MINUTE_MS));
  t.equal(plan.keepMs, TRAITS.keepAliveMs);
  t.match(plan.reason, 'vary too much');
});

t.test('irregular calls many hours apart are not waited for at any price', async (t) => {
  const times = [5, 40, 6, 90, 7, 200, 11, 30, 5, 160, 70, 8].map((hours) => hours * HOUR_MS);
  t.ok(endOf(planAfter(times)) < 40 * HOUR_MS);
});

t.test('a function that gets a new rhythm is followed', async (t) => {
  const before = Array.from({ length: 3_000 }, () => 20 * MINUTE_MS);
  const after = Array.from({ length: 3_000 }, () => 90 * MINUTE_MS);
  const plan = planAfter([...before, ...after]);
  t.ok(endOf(plan) > 90 * MINUTE_MS);
  t.ok(planAfter(before).prewarm !== undefined && endOf(planAfter(before)) < 30 * MINUTE_MS);
});

t.test('functions learn by themselves, and what is forgotten is gone', async (t) => {
  const policy = new HybridHistogram();
  for (let i = 0; i < 5; i++) policy.of('default/a').called(i, 1, HOUR_MS, TRAITS);
  t.ok(policy.of('default/a').plan(0, TRAITS).prewarm);
  t.equal(policy.of('default/b').plan(0, TRAITS).prewarm, undefined);
  policy.forget('default/a');
  t.equal(policy.of('default/a').plan(0, TRAITS).prewarm, undefined);
});

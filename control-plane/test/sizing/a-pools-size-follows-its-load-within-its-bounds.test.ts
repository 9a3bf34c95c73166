import fc from 'fast-check';
import t from 'tap';
import {
  decideSize,
  explain,
  newSizing,
  type SizingDecision,
  type SizingSample,
  type SizingSettings,
} from '../../src/control/sizing/desired.ts';
import { fixedKeepAlive } from '../../src/control/sizing/keep-alive/fixed.ts';
import type { IdlePlan, KeepAlive } from '../../src/control/sizing/keep-alive/policy.ts';
import { podsFor } from '../../src/control/sizing/staffing.ts';

const SETTINGS: SizingSettings = {
  minReplicas: 0,
  maxReplicas: 60,
  scaled: false,
  claims: false,
  concurrency: 1,
  targetUtilization: 0.8,
  stableWindowMs: 60_000,
  scaleDownDelayMs: 60_000,
};
const KEEP_ALIVE_MS = 300_000;
const FIXED = fixedKeepAlive.of('f');

/** What one second brought. */
interface Tick {
  readonly arrivals: number;
  readonly running: number;
  readonly queued: number;
  readonly serviceMs: number;
  readonly pods: number;
  readonly grown: number;
}
const quiet: Tick = { arrivals: 0, running: 0, queued: 0, serviceMs: 100, pods: 0, grown: 0 };

/** Samples a second apart. */
function decisions(
  ticks: readonly Tick[],
  more: Partial<SizingSettings> = {},
  keepAlive: KeepAlive = FIXED,
  keepAliveMs = KEEP_ALIVE_MS,
): SizingDecision[] {
  const state = newSizing(0, 0);
  let arrivals = 0;
  return ticks.map((tick, i) => {
    arrivals += tick.arrivals;
    const sample: SizingSample = {
      ...tick,
      now: (i + 1) * 1_000,
      arrivals,
      ready: tick.pods,
      traits: { keepAliveMs, coldStartMs: 150, memoryMib: 64 },
    };
    return decideSize(state, sample, { ...SETTINGS, ...more }, keepAlive);
  });
}
const times = <T>(count: number, one: T): T[] => Array.from({ length: count }, () => one);
const sizes = (all: readonly SizingDecision[]) => all.map((d) => d.desired);
const last = (all: readonly SizingDecision[]) => all.at(-1) as SizingDecision;

const tick = fc.record({
  arrivals: fc.nat(2_000),
  running: fc.nat(50),
  queued: fc.nat(100),
  serviceMs: fc.constantFrom(1, 100, 3_000),
  pods: fc.nat(50),
  grown: fc.nat(50),
});
const ticks = fc.array(tick, { minLength: 1, maxLength: 150 });

t.test('its bounds win, whatever else holds', async () => {
  fc.assert(
    fc.property(ticks, fc.nat(20), fc.integer({ min: 1, max: 20 }), (all, min, max) => {
      for (const d of decisions(all, { minReplicas: min, maxReplicas: max })) {
        const least = Math.min(min, max);
        if (d.desired < least || d.desired > max || d.ahead < least) return false;
        if (d.ahead > d.desired) return false;
      }
      return true;
    }),
  );
});

t.test('more load never means fewer pods', async () => {
  const more = fc.record({ load: fc.double({ min: 0, max: 500, noNaN: true }), by: fc.nat(100) });
  const rest = fc.record({
    serviceMs: fc.constantFrom(1, 20, 100, 5_000),
    coldStartMs: fc.integer({ min: 1, max: 5_000 }),
    concurrency: fc.constantFrom(1, 2, 10, 100),
    targetUtilization: fc.constantFrom(0.1, 0.7, 0.8, 1),
    maxPods: fc.constant(10_000),
  });
  fc.assert(
    fc.property(more, rest, ({ load, by }, s) => {
      return podsFor({ ...s, load }) <= podsFor({ ...s, load: load + by / 10 });
    }),
  );
  fc.assert(
    fc.property(ticks, fc.integer({ min: 1, max: 500 }), (all, by) => {
      const steady = all.map((one) => ({ ...one, serviceMs: 100, grown: 0 }));
      const busier = steady.map((one) => ({ ...one, arrivals: one.arrivals + by }));
      const lesser = sizes(decisions(steady, { maxReplicas: 10_000 }));
      return sizes(decisions(busier, { maxReplicas: 10_000 })).every(
        (n, i) => n >= (lesser[i] as number),
      );
    }),
  );
});

t.test('what runs has its pods, and what a miss launched stays a panic window', async () => {
  fc.assert(
    fc.property(ticks, fc.constantFrom(1, 4), (all, concurrency) => {
      const decided = decisions(all, { concurrency, scaleDownDelayMs: 1_000 });
      return all.every(({ running, pods }, i) => {
        const needed = Math.min(Math.ceil(running / concurrency), pods, SETTINGS.maxReplicas);
        const lately = all.slice(Math.max(0, i - 5), i + 1).map((one) => one.grown);
        const grown = Math.min(Math.max(...lately), pods, SETTINGS.maxReplicas);
        return (decided[i] as SizingDecision).desired >= Math.max(needed, grown);
      });
    }),
  );
});

t.test('growth that the load does not explain stays a stable window', async (t) => {
  const rest = { ...quiet, arrivals: 1, pods: 8 };
  const clump = [{ ...rest, grown: 8 }, ...times(70, rest)];
  const decided = decisions(clump, { scaleDownDelayMs: 0 });
  t.match(decided[59], { desired: 8 }, 'calls that come in clumps');
  t.ok(last(decided).desired <= 2);
  const load = { ...quiet, arrivals: 60, running: 6, pods: 10 };
  const explained = decisions([{ ...load, grown: 10 }, ...times(70, load)]);
  t.match(explained[5], { desired: 10 });
  t.match(explained[10], { desired: 9 }, 'a little more than the load needs, once that is known');
});

t.test('nothing is given up in a panic', async (t) => {
  fc.assert(
    fc.property(ticks, (all) => {
      const decided = decisions(
        all.map((one) => ({ ...one, pods: 60 })),
        {
          maxReplicas: 10_000,
          scaleDownDelayMs: 0,
        },
      );
      return decided.every((d, i) => {
        const before = decided[i - 1];
        return (
          !before?.panicking ||
          !d.panicking ||
          d.ahead > 60 ||
          d.desired >= Math.min(60, before.ahead)
        );
      });
    }),
  );
  const burst = [
    ...times(20, { ...quiet, arrivals: 10, pods: 2 }),
    ...times(5, { ...quiet, arrivals: 300, running: 2, pods: 40 }),
    ...times(120, { ...quiet, arrivals: 10, pods: 40 }),
  ];
  const decided = decisions(
    burst.map((one, i) => (i < 22 ? { ...one, pods: 2 } : one)),
    {
      scaleDownDelayMs: 0,
    },
  );
  const during = decided.slice(24, 78);
  t.ok(
    during.every((d) => d.panicking && d.decidedBy === 'panic'),
    'a burst is a panic',
  );
  const peak = (during[0] as SizingDecision).desired;
  t.ok(peak >= 30, `enough for the burst: ${peak}`);
  t.ok(
    sizes(during).every((n, i, all) => n >= (all[i - 1] ?? 0)),
    'which gives up nothing',
  );
  t.match(last(decided), { panicking: false, desired: 3 }, 'and ends');
});

t.test('a pool shrinks only after its delay, and says why it is as large as it is', async (t) => {
  const load = [
    ...times(100, { ...quiet, arrivals: 200, running: 20, pods: 25 }),
    ...times(90, { ...quiet, arrivals: 1, pods: 25 }),
  ];
  const decided = decisions(load, { scaleDownDelayMs: 80_000 });
  t.equal((decided[99] as SizingDecision).desired, 25, 'by Little: 200 x 0.1 s / 0.8');
  t.equal((decided[178] as SizingDecision).desired, 25, 'kept for the delay');
  t.ok(last(decided).desired <= 2, 'then no more than the load needs');
  t.match(explain(decided[99] as SizingDecision, SETTINGS), /^The load \(20 calls at once\)/);
  t.equal(last(decided).decidedBy, 'load');
  const bound = decisions(load.slice(0, 100), { maxReplicas: 10 });
  t.match(last(bound), { desired: 10, decidedBy: 'maxReplicas' });
  const floor = decisions(load.slice(0, 100), { minReplicas: 30 });
  t.match(last(floor), { desired: 30, decidedBy: 'minReplicas' });
  const scaled = decisions(load.slice(0, 100), { minReplicas: 30, scaled: true });
  t.match(last(scaled), { desired: 30, decidedBy: 'scale' });
  const claims = decisions(load.slice(0, 100), { minReplicas: 3, claims: true });
  t.match(last(claims), { desired: 25, ahead: 3 }, 'what is there is kept, and no more launched');
});

t.test('after the load, one pod until its keep-alive is over', async (t) => {
  const load = [
    ...times(10, { ...quiet, arrivals: 100, running: 10, pods: 13 }),
    { ...quiet, arrivals: 100, pods: 13 },
    ...times(310, { ...quiet, pods: 13 }),
  ];
  const decided = decisions(load);
  t.match(decided[200], { desired: 1, ahead: 0, decidedBy: 'keep-alive' });
  t.match(decided[309], { desired: 1, decidedBy: 'keep-alive' });
  t.match(last(decided), { desired: 0, decidedBy: 'keep-alive', idleMs: KEEP_ALIVE_MS });
  t.match(
    explain(last(decided), SETTINGS),
    'It has idled past its keep-alive (idle for less than 300 s).',
  );
  const gone = decisions([...load.slice(0, 200), ...times(3, quiet)]);
  t.match(last(gone), { desired: 0, ahead: 0 }, 'nothing is launched to be kept');
  const short = decisions(load, {}, FIXED, 5_000);
  t.match(
    short[17],
    { desired: 0, decidedBy: 'keep-alive' },
    'a short one does not wait for the delay',
  );
  t.match(
    decisions([quiet, quiet])[1],
    { desired: 0, decidedBy: 'load' },
    'nothing was ever called',
  );
});

t.test(
  'pods that were there before it began are kept as if they were needed just now',
  async (t) => {
    const decided = decisions(times(310, { ...quiet, pods: 5 }));
    t.match(decided[0], { desired: 5 });
    t.match(decided[59], { desired: 5 });
    t.match(decided[70], { desired: 1, decidedBy: 'keep-alive' });
    t.match(last(decided), { desired: 0 });
  },
);

t.test('a keep-alive may launch a pod ahead of the next call', async (t) => {
  const heard: (number | undefined)[] = [];
  const plan: IdlePlan = {
    keepMs: 10_000,
    prewarm: { fromMs: 100_000, untilMs: 130_000 },
    reason: 'called every 2 min',
  };
  const policy: KeepAlive = {
    called: (_now, _calls, idleMs) => void heard.push(idleMs),
    plan: () => plan,
  };
  const load = [{ ...quiet, arrivals: 1, pods: 1 }, ...times(140, { ...quiet, pods: 1 })];
  const decided = decisions(load, {}, policy);
  t.match(decided[5], { desired: 1 });
  t.match(decided[20], { desired: 0, wakeAt: 1_000 + 100_000 - 150 });
  t.match(decided[99], { desired: 0 });
  t.match(decided[100], { desired: 1, ahead: 1, decidedBy: 'keep-alive' });
  t.match(decided[129], { desired: 1 });
  t.match(decided[131], { desired: 0, wakeAt: Number.POSITIVE_INFINITY });
  decisions([...load.slice(0, 61), { ...quiet, arrivals: 2 }], {}, policy);
  t.same(heard, [undefined, undefined, 61_000]);
});

t.test('a function that rests need not be looked at: its decision is the same later', async () => {
  fc.assert(
    fc.property(ticks, fc.integer({ min: 1, max: 600 }), (all, gap) => {
      const rest = { ...quiet, pods: 3 };
      const seen = decisions([...all, ...times(gap, rest)]);
      return seen.every((d, i) => {
        const next = seen[i + 1];
        if (next === undefined || i < all.length || (i + 2) * 1_000 >= d.wakeAt) return true;
        return next.desired === d.desired && next.ahead === d.ahead;
      });
    }),
  );
});

import t, { type Test } from 'tap';
import { quantile } from '../../benchmarks/src/stats.ts';
import { Random } from '../../chaos/src/random.ts';
import { BurstClock, NO_BURSTS } from '../src/load/burst-clock.ts';
import { gapsOf } from '../src/load/gaps.ts';
import { type Quantiles, readShape, valueAt } from '../src/load/quantiles.ts';
import { DAY_MS, type Drawn, shapedLoad } from '../src/load/shaped.ts';
import { SHAPE_FILE } from '../src/load/spec.ts';

const shape = readShape(SHAPE_FILE);
const OPTIONS = {
  functions: 4_000,
  days: 14,
  seed: 1,
  bursts: NO_BURSTS,
  maxCallsPerDay: 1e9,
  coldStartMs: 350,
  coldStartSpread: 0.5,
};

function momentsOf(values: readonly number[]): { mean: number; cv: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return { mean, cv: Math.sqrt(variance) / mean };
}

function near(t: Test, value: number, wanted: number, tolerance: number, what: string): void {
  t.ok(
    Math.abs(value - wanted) <= tolerance * Math.max(wanted, 1e-9),
    `${what}: ${value}, wanted ${wanted}`,
  );
}

t.test(
  'a drawn column has the quantiles it was drawn from, and none depends on another',
  async (t) => {
    const drawn = shapedLoad(shape, OPTIONS).functions as readonly Drawn[];
    const columns: [string, Quantiles, (f: Drawn) => number][] = [
      ['calls', shape.callsPerDay, (f) => f.callsPerDay],
      ['cv', shape.interarrivalCv, (f) => f.interarrivalCv],
      ['service', shape.serviceMs, (f) => f.serviceMs],
      ['memory', shape.memoryMib, (f) => f.memoryMib],
    ];
    for (const [name, column, of] of columns) {
      const values = drawn.map(of);
      for (const p of [0.1, 0.25, 0.5, 0.75, 0.9, 0.97]) {
        const found = quantile(values, p);
        const [low, high] = [valueAt(column, p - 0.025), valueAt(column, p + 0.025)];
        t.ok(found >= low && found <= high, `${name} at ${p}: ${found} within ${low} to ${high}`);
      }
    }
    const half = drawn.filter((f) => f.callsPerDay >= valueAt(shape.callsPerDay, 0.5));
    const [low, high] = [valueAt(shape.interarrivalCv, 0.45), valueAt(shape.interarrivalCv, 0.55)];
    const cv = quantile(
      half.map((f) => f.interarrivalCv),
      0.5,
    );
    t.ok(cv >= low && cv <= high, 'what is called often is as regular as the rest');
  },
);

t.test('between two known probabilities values lie between the two known ones', async (t) => {
  const column = { probability: [0.1, 0.5, 0.9], value: [0, 10, 1_000] };
  t.equal(valueAt(column, 0), 0);
  t.ok(Math.abs(valueAt(column, 0.3) - 5) < 1e-9, 'next to a zero, linear');
  t.equal(valueAt(column, 0.5), 10);
  t.ok(Math.abs(valueAt(column, 0.7) - 100) < 1e-9, 'else by ratio');
  t.equal(valueAt(column, 1), 1_000);
});

t.test('gaps have the mean and the variation that were asked for', async (t) => {
  for (const cv of [0, 0.02, 0.3, 0.7, 1, 1.5, 3]) {
    const { next } = gapsOf(new Random(`gaps ${cv}`), 1_000, cv);
    const { mean, cv: found } = momentsOf(Array.from({ length: 200_000 }, () => next()));
    near(t, mean, 1_000, 0.03, `mean at cv ${cv}`);
    if (cv === 0) t.equal(found, 0);
    else near(t, found, cv, 0.04, `cv ${cv}`);
  }
});

t.test(
  'a load begins in the midst of things: the first hour has as many calls as any',
  async (t) => {
    for (const cv of [0, 0.5, 1, 2.5]) {
      let early = 0;
      for (let i = 0; i < 20_000; i++) {
        if (gapsOf(new Random(`first ${cv} ${i}`), 1_000, cv).first < 100) early++;
      }
      // Within a tenth of the mean gap; several calls of one spell count once.
      const exact = cv <= 0.5;
      near(t, early / 20_000, exact ? 0.1 : 0.09, exact ? 0.06 : 0.35, `first call at cv ${cv}`);
    }
  },
);

t.test(
  'bursts gather calls of all functions, and change nothing of how many there are',
  async (t) => {
    const bursts = { share: 0.3, everyMs: 3_600_000, lastMs: 60_000 };
    const clock = new BurstClock('test', bursts);
    const readers = [clock.reader(), clock.reader()];
    const times = readers.map((read) => Array.from({ length: 40_000 }, (_, i) => read(i * 60_000)));
    t.same(times[0], times[1], 'the same clock for all');
    const all = times[0] as number[];
    t.ok(all.every((time, i) => i === 0 || time >= (all[i - 1] as number)));
    near(t, all.at(-1) as number, 40_000 * 60_000, 0.05, 'time passes as it did');
    const busy = new Map<number, number>();
    for (const time of all) {
      const minute = Math.floor(time / 60_000);
      busy.set(minute, (busy.get(minute) ?? 0) + 1);
    }
    const gathered = [...busy.values()].filter((count) => count > 5).reduce((sum, n) => sum + n, 0);
    near(t, gathered / all.length, 0.3, 0.25, 'share of calls in bursts');
  },
);

t.test('the same seed draws the same load, another another', async (t) => {
  const firstCalls = (seed: number, bursts = NO_BURSTS) => {
    const load = shapedLoad(shape, { ...OPTIONS, functions: 30, seed, bursts });
    return load.functions.map((f) => {
      const calls = f.calls();
      return Array.from({ length: 20 }, () => {
        calls.next();
        return [calls.at, calls.serviceMs];
      });
    });
  };
  t.same(firstCalls(1), firstCalls(1));
  t.notSame(firstCalls(1), firstCalls(2));
  t.notSame(firstCalls(1), firstCalls(1, { ...NO_BURSTS, share: 0.5 }));
});

t.test(
  'calls come as often as was drawn, at most so often as is allowed, and end with the load',
  async (t) => {
    const load = shapedLoad(shape, { ...OPTIONS, functions: 300, maxCallsPerDay: 400 });
    let [wanted, found] = [0, 0];
    for (const f of load.functions as readonly Drawn[]) {
      t.ok(f.callsPerDay <= 400);
      wanted += f.callsPerDay * 14;
      const calls = f.calls();
      for (calls.next(); calls.at < 14 * DAY_MS; calls.next()) found++;
      t.equal(calls.at, Number.POSITIVE_INFINITY);
    }
    near(t, found, wanted, 0.05, 'calls');
  },
);

import t from 'tap';
import { Histogram, RELATIVE_ERROR } from '../src/load/histogram.ts';

/** One bucket below the linear part. */
const UNIT_MS = 0.0001;

function exact(sorted: readonly number[], fraction: number): number {
  return sorted[Math.max(1, Math.ceil(fraction * sorted.length)) - 1] as number;
}

const shapes: Record<string, (i: number, n: number) => number> = {
  'evenly spread': (i, n) => (i / n) * 50,
  'log-uniform over seven decades': (i, n) => 10 ** ((i / n) * 7 - 3),
  'a body and a long tail': (i, n) => (i < n * 0.98 ? 0.1 + (i % 97) / 1000 : 20 + i / 10),
  'all the same': () => 3.25,
};

for (const [name, shape] of Object.entries(shapes)) {
  t.test(name, async (t) => {
    const count = 20_011;
    const values = Array.from({ length: count }, (_, i) => shape(i, count));
    const histogram = new Histogram();
    for (const value of values) histogram.record(value);
    values.sort((a, b) => a - b);
    for (const fraction of [0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1]) {
      const wanted = exact(values, fraction);
      const got = histogram.percentile(fraction);
      // Rounded to a unit when recorded, read at the bucket's upper edge.
      t.ok(got >= wanted - UNIT_MS, `p${fraction * 100} ${got} is not below ${wanted}`);
      t.ok(
        got <= wanted * (1 + RELATIVE_ERROR) + UNIT_MS,
        `p${fraction * 100} ${got} is not above ${wanted} by more than the error`,
      );
    }
    const summary = histogram.summary();
    t.equal(summary.count, count);
    t.equal(summary.maxMs, values.at(-1));
    t.ok(Math.abs(summary.meanMs - values.reduce((a, b) => a + b) / count) < 1e-6);
  });
}

t.test('a value past the last bucket is still the maximum', async (t) => {
  const histogram = new Histogram();
  histogram.record(1);
  histogram.record(10_000_000);
  t.equal(histogram.summary().maxMs, 10_000_000);
  t.equal(histogram.count, 2);
});

t.test('an empty histogram has no percentiles', async (t) => {
  t.ok(Number.isNaN(new Histogram().percentile(0.5)));
});

import fc from 'fast-check';
import t from 'tap';
import { GreedyDual } from '../../src/control/sizing/keep-alive/greedy-dual.ts';
import type { Traits } from '../../src/control/sizing/keep-alive/policy.ts';

const traits = (coldStartMs: number, memoryMib: number): Traits => ({
  keepAliveMs: 300_000,
  coldStartMs,
  memoryMib,
});

/** Calls each function once for each of its calls. */
function policyOf(
  functions: readonly { key: string; calls: number; traits: Traits }[],
): GreedyDual {
  const policy = new GreedyDual();
  for (const { key, calls, traits } of functions) {
    for (let i = 0; i < calls; i++) policy.of(key).called(i, 1, 1_000, traits);
  }
  return policy;
}

t.test('pods are kept while there is memory for them', async (t) => {
  const policy = policyOf([{ key: 'a', calls: 1, traits: traits(700, 128) }]);
  t.equal(policy.of('a').plan(0, traits(700, 128)).keepMs, Number.POSITIVE_INFINITY);
  t.same(policy.evict([{ key: 'a', memoryMib: 128 }], 0), []);
});

t.test('what is called often, starts slowly and is small stays', async (t) => {
  const base = traits(700, 128);
  const cases = {
    rarely: [
      { calls: 1, traits: base },
      { calls: 9, traits: base },
    ],
    fast: [
      { calls: 3, traits: traits(100, 128) },
      { calls: 3, traits: base },
    ],
    large: [
      { calls: 3, traits: traits(700, 512) },
      { calls: 3, traits: base },
    ],
  };
  for (const [what, [least, most]] of Object.entries(cases)) {
    if (least === undefined || most === undefined) continue;
    const policy = policyOf([
      { key: 'most', ...most },
      { key: 'least', ...least },
    ]);
    const idle = ['most', 'least'].map((key) => ({ key, memoryMib: 128 }));
    t.same(policy.evict(idle, 1), ['least'], what);
  }
});

t.test('what was called often once falls behind what is called now', async (t) => {
  const each = traits(700, 100);
  const policy = policyOf([{ key: 'old', calls: 50, traits: each }]);
  const evictedWith = (key: string) => {
    policy.of(key).called(0, 1, undefined, each);
    return policy.evict(
      ['old', key].map((k) => ({ key: k, memoryMib: 100 })),
      100,
    );
  };
  let rounds = 0;
  while (evictedWith(`new-${rounds}`)[0] !== 'old') t.ok(++rounds < 60, 'it ages');
  t.ok(rounds > 10, 'but is kept for long');
});

t.test(
  'no more is given up than is short, the least valuable first; all of it, where that is not enough',
  async (t) => {
    const functions = fc.array(
      fc.record({
        calls: fc.integer({ min: 1, max: 20 }),
        coldStartMs: fc.integer({ min: 50, max: 5_000 }),
        memoryMib: fc.integer({ min: 32, max: 1_024 }),
      }),
      { minLength: 1, maxLength: 20 },
    );
    await fc.assert(
      fc.asyncProperty(functions, fc.integer({ min: 0, max: 8_000 }), async (all, shortMib) => {
        const named = all.map((f, i) => ({
          key: `f${i}`,
          calls: f.calls,
          traits: traits(f.coldStartMs, f.memoryMib),
        }));
        const worth = (key: string) => {
          const f = all[Number(key.slice(1))] as (typeof all)[number];
          return (f.calls * f.coldStartMs) / f.memoryMib;
        };
        const size = (key: string) => (all[Number(key.slice(1))] as (typeof all)[number]).memoryMib;
        const idle = named.map(({ key, traits }) => ({ key, memoryMib: traits.memoryMib }));
        const evicted = policyOf(named).evict(idle, shortMib);
        const freed = evicted.reduce((sum, key) => sum + size(key), 0);
        if (evicted.length < all.length) t.ok(freed >= shortMib);
        const last = evicted.at(-1);
        if (last === undefined) return;
        t.ok(freed - size(last) < shortMib, 'the last one was needed');
        const kept = idle.filter(({ key }) => !evicted.includes(key));
        for (const { key } of kept) t.ok(worth(key) >= worth(last) - 1e-9);
      }),
    );
  },
);

import fc from 'fast-check';
import t from 'tap';
import { NameTable } from '../../src/scheduler/name-table.ts';

/** Few enough that the same come again, and some that differ little. */
const name = fc.oneof(
  fc.nat({ max: 400 }).map((n) => `f${n}`),
  fc.stringMatching(/^[a-z0-9.-]{1,3}$/),
);
const step = fc.record({ does: fc.constantFrom('set', 'set', 'delete'), name });

t.test('it holds what a Map would', async () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), fc.array(name), (steps, others) => {
      const table = new NameTable<number>();
      const expected = new Map<string, number>();
      steps.forEach((one, i) => {
        if (one.does === 'set') {
          table.set(one.name, i);
          expected.set(one.name, i);
        } else {
          table.delete(one.name);
          expected.delete(one.name);
        }
      });
      const all = [...steps.map((one) => one.name), ...others];
      for (const one of all) {
        if (table.get(one) !== expected.get(one)) throw new Error(`not what a Map has: ${one}`);
      }
    }),
    { numRuns: 500 },
  );
});

t.test('names that come and go by the thousand cost no memory', async (t) => {
  const table = new NameTable<number>();
  for (let i = 0; i < 100_000; i++) {
    table.set(`f${i}`, i);
    if (i >= 10) table.delete(`f${i - 10}`);
  }
  const { slots, begins, chars, values } = table as unknown as Record<string, ArrayLike<unknown>>;
  const lengths = [slots, begins, chars, values].map((list) => list?.length ?? 0);
  t.ok(
    lengths.every((length) => length < 1_000),
    `${lengths}`,
  );
  t.equal(table.get('f99999'), 99_999);
  t.equal(table.get('f99989'), undefined);
});

t.test('what is no name is not there', async (t) => {
  const table = new NameTable<number>();
  t.equal(table.get(''), undefined);
  table.set('echo', 1);
  for (const other of ['', 'ech', 'echo2', 'Echo', 'ech\u016f', 'x'.repeat(1_000_000)]) {
    t.equal(table.get(other), undefined, other.slice(0, 10));
  }
  t.throws(() => table.set('', 1), RangeError);
  t.throws(() => table.set('ech\u016f', 1), RangeError);
  t.equal(table.get('echo'), 1);
});

/** Slots that are not free: hash and number of each name. */
function hashes(...names: string[]): number[] {
  const table = new NameTable<string>();
  for (const name of names) table.set(name, name);
  const slots = [...(table as unknown as { slots: Int32Array }).slots];
  return slots.filter((_, i) => i % 2 === 0 && slots[i + 1] !== 0);
}

t.test('names of one hash are told apart', async (t) => {
  for (const [one, other] of [
    ['f45986', 'f90928'],
    ['f26769', 'f139061'],
  ] as const) {
    const [hash, same] = hashes(one, other);
    t.equal(hash, same, `${one} and ${other} have one hash`);
    const table = new NameTable<string>();
    table.set(one, one);
    t.equal(table.get(other), undefined);
    table.set(other, other);
    t.same([table.get(one), table.get(other)], [one, other]);
    table.delete(one);
    t.same([table.get(one), table.get(other)], [undefined, other]);
  }
});

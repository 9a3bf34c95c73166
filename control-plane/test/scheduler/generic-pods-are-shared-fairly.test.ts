import fc from 'fast-check';
import t from 'tap';
import { type Asker, allot, type Supply, shareOf } from '../../src/scheduler/claim-policy.ts';

const supply = (idle: number, size = idle, maxShare = 50): Supply => ({ idle, size, maxShare });
const asker = (lacks: number, holds = 0): Asker => ({ lacks, holds });
const all = (pool: Supply, askers: readonly Asker[], within = false) =>
  askers.map((_, i) => allot(pool, askers, i, within));

const table: [string, Supply, Asker[], number[]][] = [
  ['one that is alone gets what it lacks', supply(4), [asker(2)], [2]],
  ['a burst leaves the last for one that has never run', supply(4), [asker(9)], [3]],
  ['the only pod goes to who has none', supply(1), [asker(9)], [1]],
  ['the first of two', supply(1), [asker(1), asker(1)], [1, 0]],
  ['one each in turn', supply(4), [asker(3), asker(3)], [2, 2]],
  ['one each in turn, the first first', supply(3, 10), [asker(3), asker(3)], [2, 1]],
  ['who holds its share waits', supply(2, 10), [asker(3, 5), asker(3)], [0, 2]],
  ['until the others have enough', supply(4, 10), [asker(3, 5), asker(1)], [2, 1]],
  ['and never gets the last', supply(1, 10), [asker(3, 5)], [0]],
  ['a share of all is no bound', supply(4, 4, 100), [asker(9)], [4]],
  ['an empty pool gives nothing', supply(0, 10), [asker(1)], [0]],
];
for (const [name, pool, askers, expected] of table) {
  t.test(name, async (t) => t.same(all(pool, askers), expected));
}

const supplies = fc.record({
  idle: fc.nat(20),
  out: fc.nat(20),
  maxShare: fc.integer({ min: 1, max: 100 }),
});
const askers = fc.array(fc.record({ lacks: fc.nat(6), holds: fc.nat(6) }), { maxLength: 8 });

t.test('whatever is asked: no more than there is, nobody more than it lacks', async () => {
  fc.assert(
    fc.property(supplies, askers, fc.boolean(), ({ idle, out, maxShare }, list, within) => {
      const pool = { idle, size: idle + out, maxShare };
      const gets = all(pool, list, within);
      const share = shareOf(pool);
      const sum = gets.reduce((a, b) => a + b, 0);
      if (sum > idle) throw new Error('more than there is');
      const left = list.map((one, i) => one.lacks - (gets[i] as number));
      if (left.some((n) => n < 0)) throw new Error('more than it lacks');
      const beyond = list.some((one, i) => (gets[i] as number) > Math.max(0, share - one.holds));
      const hungry = list.some(
        (one, i) => (left[i] as number) > 0 && one.holds + (gets[i] as number) < share,
      );
      if (beyond && hungry) throw new Error('beyond a share while another waits for less'); // F2
      if (beyond && (sum === idle || within)) throw new Error('beyond a share to the last'); // F3
      if (hungry && sum < idle) throw new Error('a pod idles while one waits for it');
    }),
  );
});

t.test('in order: who asked first is never behind one that lacks and holds the same', async () => {
  fc.assert(
    fc.property(supplies, askers, ({ idle, out, maxShare }, list) => {
      const gets = all({ idle, size: idle + out, maxShare }, list);
      for (let i = 0; i < list.length; i++) {
        for (let j = i + 1; j < list.length; j++) {
          const [a, b] = [list[i] as Asker, list[j] as Asker];
          if (a.lacks !== b.lacks || a.holds !== b.holds) continue;
          const ahead = (gets[i] as number) - (gets[j] as number);
          if (ahead < 0 || ahead > 1) throw new Error(`not in turn: ${gets}`); // F1
        }
      }
    }),
  );
});

import fc from 'fast-check';
import t from 'tap';
import { type Turn, Turns } from '../../src/control/callbacks/turns.ts';

const LIMITS = { all: 6, perFunction: 4, perOrigin: 3, perLane: 2 };

interface One extends Turn {
  readonly n: number;
}

const one = (n: number, functionKey: string, origin: string): One => ({ n, functionKey, origin });
const take = (turns: Turns<One>): One[] => {
  const taken: One[] = [];
  for (let next = turns.next(); next !== undefined; next = turns.next()) taken.push(next);
  return taken;
};

t.test('a receiver that hangs keeps what it may have, and the others go', async (t) => {
  const turns = new Turns<One>(LIMITS);
  for (let n = 0; n < 50; n++) turns.push(one(n, 'a', 'hangs'));
  t.same(
    take(turns).map(({ n }) => n),
    [0, 1],
  );
  turns.push(one(50, 'a', 'good'));
  turns.push(one(51, 'b', 'hangs'));
  turns.push(one(52, 'b', 'good'));
  t.same(
    take(turns)
      .map(({ n }) => n)
      .sort(),
    [50, 51, 52],
  );
});

t.test('functions take turns, and the receivers of each; first come first served', async (t) => {
  const turns = new Turns<One>({ all: 1, perFunction: 1, perOrigin: 1, perLane: 1 });
  for (const [n, lane] of [...'xxxxyy'].entries()) turns.push(one(n, 'a', lane));
  turns.push(one(6, 'b', 'x'));
  turns.push(one(7, 'c', 'x'));
  const order: number[] = [];
  for (let next = turns.next(); next !== undefined; next = turns.next()) {
    t.equal(turns.next(), undefined, 'one at once');
    order.push(next.n);
    turns.done(next);
  }
  // a's x, b, c; then a's receivers in turn.
  t.same(order, [0, 6, 7, 4, 1, 5, 2, 3]);
});

t.test(
  'whatever comes and goes, the bounds hold, nothing waits needlessly, all is taken',
  async () => {
    const name = (from: string) => fc.constantFrom(...from);
    const step = fc.oneof(
      fc.record({ push: fc.constant(true), functionKey: name('abc'), origin: name('xyz') }),
      fc.record({ push: fc.constant(false), pick: fc.nat() }),
      fc.record({ drop: fc.nat() }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const turns = new Turns<One>(LIMITS);
        const running: One[] = [];
        const waiting = new Set<One>();
        const count = (of: (o: One) => boolean) => running.filter(of).length;
        const fits = (o: One) =>
          running.length < LIMITS.all &&
          count(({ functionKey }) => functionKey === o.functionKey) < LIMITS.perFunction &&
          count(({ origin }) => origin === o.origin) < LIMITS.perOrigin &&
          count((r) => r.origin === o.origin && r.functionKey === o.functionKey) < LIMITS.perLane;
        const pump = () => {
          for (let next = turns.next(); next !== undefined; next = turns.next()) {
            if (!waiting.delete(next)) throw new Error('it was not waiting');
            if (!fits(next)) throw new Error('over a bound');
            for (const other of waiting) {
              const before = other.n < next.n && other.functionKey === next.functionKey;
              if (before && other.origin === next.origin) throw new Error('out of order');
            }
            running.push(next);
          }
          if ([...waiting].some(fits)) throw new Error('it waits needlessly');
        };
        for (const [n, s] of steps.entries()) {
          if ('functionKey' in s) {
            const pushed = one(n, s.functionKey, s.origin);
            waiting.add(pushed);
            turns.push(pushed);
          } else if ('drop' in s) {
            const dropped = [...waiting][s.drop % Math.max(1, waiting.size)];
            if (dropped !== undefined && waiting.delete(dropped)) turns.drop(dropped);
          } else if (running.length > 0) {
            turns.done(running.splice(s.pick % running.length, 1)[0] as One);
          }
          pump();
        }
        while (running.length > 0) {
          turns.done(running.pop() as One);
          pump();
        }
        if (waiting.size > 0) throw new Error('something was forgotten');
      }),
    );
  },
);

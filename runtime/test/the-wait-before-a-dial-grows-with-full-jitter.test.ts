import fc from 'fast-check';
import t from 'tap';
import { Backoff } from '../src/backoff.ts';

t.test('each wait is a random part of a ceiling that doubles up to five seconds', async (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
      (randoms) => {
        let at = 0;
        const backoff = new Backoff(() => randoms[at++] as number);
        randoms.forEach((random, failures) => {
          const ceiling = Math.min(5_000, 50 * 2 ** failures);
          if (backoff.next() !== Math.floor(random * ceiling)) throw new Error(`after ${failures}`);
        });
      },
    ),
  );
  t.pass();
});

t.test('only a connection that held begins anew', async (t) => {
  const backoff = new Backoff(() => 0.999);
  t.equal(backoff.next(), 49);
  t.equal(backoff.next(), 99);
  backoff.held(4_999);
  t.equal(backoff.next(), 199, 'a welcome that is closed again at once does not');
  backoff.held(5_000);
  t.equal(backoff.next(), 49);
});

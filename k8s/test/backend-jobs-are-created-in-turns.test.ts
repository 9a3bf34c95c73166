import t from 'tap';
import { JobRate } from '../src/backend/job-rate.ts';
import { fakeClock } from './backend-fixtures.ts';

const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

t.test('a burst of a second’s worth goes at once, the rest in its turn', async (t) => {
  const clock = fakeClock();
  const rate = new JobRate(10, clock);
  const gone: number[] = [];
  for (let i = 0; i < 15; i++) void rate.turn().then(() => gone.push(i));
  await settle();
  t.strictSame(gone, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  clock.advance(99);
  await settle();
  t.equal(gone.length, 10);
  clock.advance(101);
  await settle();
  t.strictSame(gone.slice(10), [10, 11]);
  clock.advance(300);
  await settle();
  t.strictSame(gone.slice(12), [12, 13, 14]);
});

t.test('over any ten seconds there are no more than eleven seconds’ worth', async (t) => {
  const clock = fakeClock();
  const rate = new JobRate(5, clock);
  let count = 0;
  for (let i = 0; i < 200; i++) void rate.turn().then(() => count++);
  clock.advance(10_000);
  await settle();
  t.equal(count, 55);
});

t.test('less than one a second is possible', async (t) => {
  const clock = fakeClock();
  const rate = new JobRate(0.5, clock);
  let count = 0;
  for (let i = 0; i < 3; i++) void rate.turn().then(() => count++);
  await settle();
  t.equal(count, 1);
  clock.advance(2_000);
  await settle();
  t.equal(count, 2);
});

t.test('closing lets all go on', async (t) => {
  const rate = new JobRate(1, fakeClock());
  const turns = [rate.turn(), rate.turn(), rate.turn()];
  rate.close();
  await Promise.all(turns);
  t.pass('none hangs');
});

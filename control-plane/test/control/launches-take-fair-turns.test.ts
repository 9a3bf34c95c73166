import fc from 'fast-check';
import t from 'tap';
import { LaunchQueue } from '../../src/control/pools/launch-queue.ts';

function drain(queue: LaunchQueue<string>): string[] {
  const taken: string[] = [];
  for (let item = queue.next(); item !== undefined; item = queue.next()) {
    taken.push(item);
    queue.done(item.charAt(0));
  }
  return taken;
}

t.test('functions take turns, whatever they ask for', async (t) => {
  const queue = new LaunchQueue<string>(1);
  for (let i = 0; i < 4; i++) queue.add('a', `a${i}`, true);
  queue.add('b', 'b0', true);
  queue.add('c', 'c0', true);
  t.strictSame(drain(queue), ['a0', 'b0', 'c0', 'a1', 'a2', 'a3']);
});

t.test('what a caller waits for goes first, but not for ever', async (t) => {
  const queue = new LaunchQueue<string>(1);
  for (let i = 0; i < 6; i++) queue.add('a', `a${i}`, true);
  for (let i = 0; i < 2; i++) queue.add('b', `b${i}`, false);
  t.strictSame(drain(queue), ['a0', 'a1', 'a2', 'a3', 'b0', 'a4', 'a5', 'b1']);
});

t.test('one function never holds every place', async (t) => {
  const queue = new LaunchQueue<string>(8);
  for (let i = 0; i < 20; i++) queue.add('a', `a${i}`, true);
  const own = Array.from({ length: 20 }, () => queue.next()).filter((item) => item !== undefined);
  t.equal(own.length, 6);
  queue.add('b', 'b0', false);
  t.equal(queue.next(), 'b0', "another's first pod begins at once");
  queue.done('a');
  t.equal(queue.next(), 'a6');
});

t.test('what was taken back is not launched', async (t) => {
  const queue = new LaunchQueue<string>(2);
  queue.add('a', 'a0', true);
  queue.add('a', 'a1', false);
  queue.remove('a', 'a0');
  queue.remove('a', 'a1');
  queue.remove('a', 'a2');
  t.equal(queue.next(), undefined);
});

t.test('never more than the limit, and in the end everything', async () => {
  const step = fc.oneof(
    fc.record({ add: fc.constantFrom('a', 'b', 'c'), urgent: fc.boolean() }),
    fc.constant('next' as const),
    fc.constant('done' as const),
  );
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.array(step, { maxLength: 80 }),
      (limit, steps) => {
        const queue = new LaunchQueue<string>(limit);
        const running: string[] = [];
        let added = 0;
        let taken = 0;
        const take = () => {
          const item = queue.next();
          if (item === undefined) return false;
          running.push(item);
          taken++;
          return true;
        };
        for (const s of steps) {
          if (s === 'next') take();
          else if (s === 'done') queue.done(running.pop()?.charAt(0) ?? 'none');
          else queue.add(s.add, `${s.add}${added++}`, s.urgent);
          if (running.length > limit) return false;
        }
        while (taken < added) {
          if (!take()) {
            const ended = running.pop();
            if (ended === undefined) return false;
            queue.done(ended.charAt(0));
          }
        }
        return true;
      },
    ),
  );
});

import fc from 'fast-check';
import t from 'tap';
import { Deque, TimeHeap } from '../src/engine/collections.ts';

t.test(
  'a heap gives the earliest first, whatever was put in, replaced and taken out',
  async (t) => {
    const steps = fc.array(
      fc.record({
        op: fc.constantFrom('push', 'push', 'pop', 'replace'),
        time: fc.integer({ min: 0, max: 50 }),
      }),
      { maxLength: 200 },
    );
    await fc.assert(
      fc.asyncProperty(steps, async (all) => {
        const heap = new TimeHeap();
        const model: { time: number; value: number }[] = [];
        const earliest = () => Math.min(...model.map((entry) => entry.time));
        const remove = (value: number) => {
          const [entry] = model.splice(
            model.findIndex((e) => e.value === value),
            1,
          );
          t.equal(entry?.time, Math.min(entry?.time ?? -1, earliest()), 'it was the earliest');
        };
        all.forEach(({ op, time }, value) => {
          if (op === 'push' || model.length === 0) {
            heap.push(time, value);
            model.push({ time, value });
          } else if (op === 'pop') remove(heap.pop());
          else {
            const top = heap.topValue();
            remove(top);
            heap.replaceTop(time);
            model.push({ time, value: top });
          }
          t.equal(heap.top, earliest());
          t.equal(heap.length, model.length);
        });
      }),
      { numRuns: 40 },
    );
  },
);

t.test('a deque gives the oldest or the newest, as an array does', async (t) => {
  const steps = fc.array(fc.constantFrom('push', 'push', 'pop', 'shift'), { maxLength: 300 });
  await fc.assert(
    fc.asyncProperty(steps, async (all) => {
      const deque = new Deque();
      const model: number[] = [];
      all.forEach((op, value) => {
        if (op === 'push' || model.length === 0) {
          deque.push(value);
          model.push(value);
        } else if (op === 'pop') t.equal(deque.pop(), model.pop());
        else t.equal(deque.shift(), model.shift());
        t.equal(deque.length, model.length);
        if (model.length > 0) t.equal(deque.first(), model[0]);
      });
    }),
    { numRuns: 40 },
  );
});

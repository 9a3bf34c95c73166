import fc from 'fast-check';
import t from 'tap';
import type { Invocation } from '../../src/scheduler/invocation.ts';
import { Running } from '../../src/scheduler/running.ts';

/** So many come, then so many go: which of them. Often more go than are there, so that it is empty again after it held many. */
const WAVES = fc.array(
  fc.tuple(fc.nat({ max: 24 }), fc.array(fc.nat({ max: 1_000 }), { maxLength: 30 })),
  { maxLength: 30 },
);

t.test('whatever comes and goes, it holds what a Map would', async () => {
  fc.assert(
    fc.property(WAVES, (waves) => {
      const running = new Running();
      const expected = new Map<number, Invocation>();
      let last = 0;
      const same = () => {
        const all = [...expected.values()];
        if (running.size !== all.length) return false;
        if (running.get(last + 1) !== undefined) return false;
        if (!all.every((one) => running.get(one.stream) === one)) return false;
        return running.values().every((one, i) => one === all[i]);
      };
      for (const [come, go] of waves) {
        for (let i = 0; i < come; i++) {
          const invocation = { stream: ++last, nextRunning: null } as unknown as Invocation;
          running.add(invocation);
          expected.set(last, invocation);
        }
        if (!same()) return false;
        for (const pick of go) {
          const there = [...expected.keys()];
          // Now and then one that is not there.
          const stream = there[pick % (there.length + 1)] ?? last + 1;
          const gone = expected.get(stream);
          running.delete(stream);
          expected.delete(stream);
          if (gone !== undefined && gone.nextRunning !== null) return false;
          if (running.get(stream) !== undefined) return false;
        }
        if (!same()) return false;
      }
      return true;
    }),
  );
});

import fc from 'fast-check';
import t from 'tap';
import type { Invocation } from '../../src/scheduler/invocation.ts';
import { Running } from '../../src/scheduler/running.ts';

const PICKS = fc.array(fc.nat({ max: 300 }), { maxLength: 400 });

t.test('whatever comes and goes, it holds what a Map would', async () => {
  fc.assert(
    fc.property(PICKS, (picks) => {
      const running = new Running();
      const expected = new Map<number, Invocation>();
      let last = 0;
      for (const pick of picks) {
        if (pick % 3 > 0) {
          const invocation = { stream: ++last, nextRunning: null } as unknown as Invocation;
          running.add(invocation);
          expected.set(last, invocation);
        } else {
          const gone = expected.get(pick);
          running.delete(pick);
          expected.delete(pick);
          if (gone !== undefined && gone.nextRunning !== null) return false;
        }
        if (running.size !== expected.size) return false;
        if (running.get(pick) !== expected.get(pick)) return false;
      }
      const all = [...expected.values()];
      return running.values().every((one, i) => one === all[i]) && running.size === all.length;
    }),
  );
});

import fc from 'fast-check';
import t from 'tap';
import type { FunctionState } from '../../src/scheduler/function-state.ts';
import type { Invocation } from '../../src/scheduler/invocation.ts';
import { Pod, PodSet } from '../../src/scheduler/pod.ts';

const CAPACITY = 3;
/** What happens to one of the pods: it starts or ends an attempt, or begins or ceases to serve. */
const step = fc.record({
  pod: fc.nat(3),
  does: fc.constantFrom('start', 'start', 'end', 'serve', 'leave'),
});

t.test('the set agrees with a list that is sorted by load and last use', async () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const set = new PodSet();
      const fn = {} as FunctionState;
      const pods = Array.from(
        { length: 4 },
        (_, i) => new Pod({ onPodTimer() {} }, `p${i}`, 'pool', 'b', fn, 'r', CAPACITY, 0),
      );
      /** Last placed first. */
      let recent: Pod[] = [];
      for (const { pod: index, does } of steps) {
        const pod = pods[index] as Pod;
        if (does === 'serve') pod.state = 'serving';
        else if (does === 'leave') pod.state = 'draining';
        else if (does === 'start' && pod.state === 'serving' && pod.load < CAPACITY) {
          pod.running.add({ stream: ++pod.lastStream, nextRunning: null } as Invocation);
        } else if (does === 'end' && pod.load > 0) {
          pod.running.delete((pod.running.values()[0] as Invocation).stream);
        }
        set.place(pod);
        recent = [pod, ...recent.filter((other) => other !== pod)];
        const free = recent.filter((one) => one.state === 'serving' && one.load < CAPACITY);
        const least = Math.min(...free.map((one) => one.load));
        const best = free.find((one) => one.load === least) ?? null;
        const idle = free.filter((one) => one.load === 0).at(-1) ?? null;
        if (set.withFreeSlot !== free.length) throw new Error('miscounted');
        if (set.best() !== best) throw new Error('not the best');
        if (set.leastRecentlyUsedIdle() !== idle) throw new Error('not the idle one longest');
      }
    }),
    { numRuns: 2_000 },
  );
});

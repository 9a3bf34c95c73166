import fc from 'fast-check';
import t from 'tap';
import { TICK_MS, TimerNode, TimingWheel } from '../../src/scheduler/timing-wheel.ts';

class Timer extends TimerNode {
  firedAt: number[] = [];
  whenFired: ((now: number) => void) | undefined;
  onTimer(now: number): void {
    this.firedAt.push(now);
    this.whenFired?.(now);
  }
}

t.test(
  'every timer fires once, never early, and at most a tick after the advance that passes it',
  async () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 40_000 }), { maxLength: 60 }),
        fc.array(fc.integer({ min: 1, max: 15_000 }), { minLength: 1, maxLength: 40 }),
        (delays, steps) => {
          let now = 12_345;
          const wheel = new TimingWheel(now);
          const timers = delays.map((d) => {
            const timer = new Timer();
            wheel.set(timer, now + d);
            return timer;
          });
          for (const step of steps) {
            const before = now;
            now += step;
            wheel.advance(now);
            for (const timer of timers) {
              if (timer.firedAt.length > 1) throw new Error('fired twice');
              const at = timer.firedAt[0];
              if (at !== undefined && at < timer.timerDue) throw new Error('fired early');
              if (at === undefined && timer.timerDue + TICK_MS <= before)
                throw new Error('fired late');
            }
          }
          wheel.advance(now + 100_000);
          if (timers.some((x) => x.firedAt.length !== 1)) throw new Error('one never fired');
          if (wheel.size !== 0) throw new Error('a timer was left');
        },
      ),
    );
  },
);

t.test('a cleared timer does not fire, and a moved one fires at its new time only', async (t) => {
  const wheel = new TimingWheel(0);
  const cleared = new Timer();
  const moved = new Timer();
  wheel.set(cleared, 100);
  wheel.set(moved, 100);
  wheel.set(moved, 20_000);
  wheel.clear(cleared);
  wheel.clear(cleared);
  wheel.advance(10_500);
  t.same(cleared.firedAt, []);
  t.same(moved.firedAt, [], 'a round of the wheel passes it over');
  wheel.advance(20_010);
  t.equal(moved.firedAt.length, 1);
});

t.test('a callback may clear and set the timers that fire with it', async (t) => {
  const wheel = new TimingWheel(0);
  const [a, b, c] = [new Timer(), new Timer(), new Timer()];
  for (const timer of [a, b, c]) wheel.set(timer, 50);
  // Whichever fires first clears the others and sets itself again.
  for (const timer of [a, b, c]) {
    timer.whenFired = (now) => {
      timer.whenFired = undefined;
      for (const other of [a, b, c]) if (other !== timer) wheel.clear(other);
      wheel.set(timer, now + 1);
    };
  }
  wheel.advance(60);
  t.equal(a.firedAt.length + b.firedAt.length + c.firedAt.length, 1);
  wheel.advance(70);
  t.equal(a.firedAt.length + b.firedAt.length + c.firedAt.length, 2);
  t.equal(wheel.size, 0);
});

import fc from 'fast-check';
import t from 'tap';
import { Deadlines, type Watched } from '../src/deadlines.ts';

/** A clock and one-shot timers that a test moves by hand. */
class FakeTime {
  now = 0;
  private timers: { at: number; fire: () => void }[] = [];

  readonly set = (fire: () => void, ms: number): (() => void) => {
    const timer = { at: this.now + ms, fire };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((other) => other !== timer);
    };
  };

  get pending(): number {
    return this.timers.length;
  }

  /** Runs what is due up to `to`, in order. */
  advance(to: number): void {
    for (;;) {
      const due = this.timers.filter((timer) => timer.at <= to).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.timers = this.timers.filter((timer) => timer !== due);
      this.now = due.at;
      due.fire();
    }
    this.now = to;
  }
}

t.test('every item that stays expires, once, at its time; none that left does', async (t) => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          addedAt: fc.integer({ min: 0, max: 1_000 }),
          budget: fc.integer({ min: 0, max: 1_000 }),
          leavesAfter: fc.option(fc.integer({ min: 0, max: 1_000 }), { nil: undefined }),
        }),
        { maxLength: 30 },
      ),
      (plans) => {
        const time = new FakeTime();
        const deadlines = new Deadlines(() => time.now, time.set);
        const expired = new Map<number, number>();
        const events: { at: number; run: () => void }[] = [];
        plans.forEach(({ addedAt, budget, leavesAfter }, i) => {
          const item: Watched = {
            endsAt: addedAt + budget,
            expire: () => {
              if (expired.has(i)) throw new Error(`${i} expired twice`);
              expired.set(i, time.now);
            },
          };
          events.push({ at: addedAt, run: () => deadlines.add(item) });
          if (leavesAfter !== undefined) {
            events.push({ at: addedAt + leavesAfter, run: () => deadlines.delete(item) });
          }
        });
        for (const { at, run } of events.sort((a, b) => a.at - b.at)) {
          time.advance(at);
          run();
          if (time.pending > 1) throw new Error(`${time.pending} timers`);
        }
        time.advance(10_000);
        plans.forEach(({ addedAt, budget, leavesAfter }, i) => {
          const at = expired.get(i);
          // A timer takes a millisecond at least.
          const due = addedAt + Math.max(1, budget);
          if (leavesAfter === undefined && at === undefined) throw new Error(`${i} never expired`);
          if (at !== undefined && (at < addedAt + budget || at > due)) {
            throw new Error(`${i} expired at ${at}, not ${due}`);
          }
          if (at !== undefined && leavesAfter !== undefined && at > addedAt + leavesAfter) {
            throw new Error(`${i} had left`);
          }
        });
        if (time.pending > 0) throw new Error('a timer was left');
      },
    ),
  );
  t.pass();
});

t.test('a deadline past what a timer can count is looked at again', async (t) => {
  const time = new FakeTime();
  const deadlines = new Deadlines(() => time.now, time.set);
  let expired = false;
  const endsAt = 3_000_000_000;
  deadlines.add({ endsAt, expire: () => (expired = true) });
  time.advance(endsAt - 1);
  t.equal(expired, false);
  time.advance(endsAt);
  t.equal(expired, true);
});

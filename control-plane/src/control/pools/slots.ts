/**
 * Which function has which block of the shared counters.
 *
 * Invariants:
 *  1. A block belongs to at most one function; those that find none share OTHER_SLOT, which bounds the labels that
 *     metrics have.
 *  2. A block that was given back rests before it is given to another: the scheduler may still write to it until it has
 *     read that its function is gone.
 */
import { FunctionCounters, OTHER_SLOT } from '../../shared/counters.ts';

/** Far longer than a message takes; a scheduler that stalls for longer has failed its health check. */
export const REST_MS = 10_000;

export class CounterSlots {
  private readonly memory: SharedArrayBuffer;
  private readonly count: number;
  private used = 0;
  /** Given back, oldest first. */
  private readonly resting: { readonly slot: number; readonly until: number }[] = [];

  /** `memory` has blocks for `count` functions and the shared one. */
  constructor(memory: SharedArrayBuffer, count: number) {
    this.memory = memory;
    this.count = count;
  }

  /** What a function that has this block of its own counts; undefined where others count in it, too. */
  countersOf(slot: number): FunctionCounters | undefined {
    return slot === OTHER_SLOT ? undefined : new FunctionCounters(this.memory, slot);
  }

  /** A block of zeros, or OTHER_SLOT. */
  take(now: number): number {
    const rested = this.resting[0];
    if (rested && now >= rested.until) {
      this.resting.shift();
      new FunctionCounters(this.memory, rested.slot).reset();
      return rested.slot;
    }
    if (this.used >= this.count) return OTHER_SLOT; // 1
    this.used++;
    return this.used;
  }

  giveBack(slot: number, now: number): void {
    if (slot !== OTHER_SLOT) this.resting.push({ slot, until: now + REST_MS }); // 2
  }
}

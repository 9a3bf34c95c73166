/**
 * One timer structure for every deadline, grace period, heartbeat and re-check of the scheduler: a hashed timing wheel
 * (Varghese and Lauck, 1987). Adding, moving and removing a timer are O(1) whatever their number, and one system timer
 * drives them all.
 *
 * Invariants:
 *  W1. A timer is in at most one bucket: the one of its due time's tick, modulo the wheel's size.
 *  W2. `advance(now)` fires every timer due at or before now, none early, each once; one that is set again while it
 *      fires waits for its new time.
 *  W3. Timers fire in the order of their ticks; within a tick in no promised order.
 */

/** Resolution. A timer fires up to this late: small beside any timeout a person sets, large beside the cost of a tick. */
export const TICK_MS = 5;
/** 2048 x 5 ms: about ten seconds around. Longer timers are passed over once a round. */
const BUCKETS = 2_048;
const FIRING = BUCKETS;

/** Something with one timer. A subclass is its own list node, so that setting a timer allocates nothing. */
export abstract class TimerNode {
  /** Milliseconds on the wheel's clock. Read-only to others. */
  timerDue = 0;
  timerPrev: TimerNode | null = null;
  timerNext: TimerNode | null = null;
  /** Index of its bucket; -1 when not set. */
  timerBucket = -1;
  abstract onTimer(now: number): void;
}

export class TimingWheel {
  /** One list a bucket, and last the list of those that are about to fire. */
  private readonly heads: (TimerNode | null)[] = new Array(BUCKETS + 1).fill(null);
  private count = 0;
  /** The last tick that was fully worked off. */
  private tick: number;

  constructor(now: number) {
    this.tick = Math.floor(now / TICK_MS);
  }

  get size(): number {
    return this.count;
  }

  /** Sets or moves the timer. A due time in the past fires with the next `advance`. */
  set(node: TimerNode, due: number): void {
    if (node.timerBucket !== -1) this.clear(node);
    node.timerDue = due;
    // Rounded up (W2: never early), and never into a tick that is already worked off.
    const tick = Math.max(Math.ceil(due / TICK_MS), this.tick + 1);
    this.link(node, tick % BUCKETS);
  }

  clear(node: TimerNode): void {
    if (node.timerBucket === -1) return;
    const { timerPrev: prev, timerNext: next } = node;
    if (prev === null) this.heads[node.timerBucket] = next;
    else prev.timerNext = next;
    if (next !== null) next.timerPrev = prev;
    node.timerPrev = null;
    node.timerNext = null;
    node.timerBucket = -1;
    this.count--;
  }

  /** Fires what is due. Call it at least once a tick while `size` is not 0; after a stall it catches up. */
  advance(now: number): void {
    const target = Math.floor(now / TICK_MS);
    // After a long stall one round over all buckets sees every timer.
    let from = this.tick + 1;
    if (target - from >= BUCKETS) from = target - BUCKETS + 1;
    for (let tick = from; tick <= target; tick++) {
      this.tick = tick;
      const bucket = tick % BUCKETS;
      for (let node = this.heads[bucket] as TimerNode | null; node !== null; ) {
        const next: TimerNode | null = node.timerNext;
        if (node.timerDue <= now) {
          this.clear(node);
          this.link(node, FIRING);
        }
        node = next;
      }
      // A callback may clear or move any timer, also one of these: take the head each time.
      for (let node = this.heads[FIRING] as TimerNode | null; node !== null; ) {
        this.clear(node);
        node.onTimer(now);
        node = this.heads[FIRING] as TimerNode | null;
      }
    }
  }

  private link(node: TimerNode, bucket: number): void {
    const head = this.heads[bucket] as TimerNode | null;
    node.timerBucket = bucket;
    node.timerPrev = null;
    node.timerNext = head;
    if (head !== null) head.timerPrev = node;
    this.heads[bucket] = node;
    this.count++;
  }
}

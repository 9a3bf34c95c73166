/**
 * Whose launch is next. Pure but for its own lists.
 *
 * Invariants:
 *  1. At most `limit` launches are under way.
 *  2. Functions take turns: one that wants a hundred pods, or whose pods crash, delays another's by one launch at most.
 *  3. One function never holds every place: some are left (where there are several) for the first pod of another.
 *  4. A launch that a caller waits for goes before one that only keeps a minimum, but does not hold it up for ever.
 */

/** Of the places; the rest is for the other functions. */
const SHARE_OF_ONE = 0.75;
/** Urgent launches in a row before one that is not gets its turn. */
const URGENT_IN_A_ROW = 4;

export class LaunchQueue<T> {
  private readonly limit: number;
  private readonly limitOfOne: number;
  private readonly urgent = new Turns<T>();
  private readonly patient = new Turns<T>();
  private urgentInARow = 0;
  private readonly running = new Map<string, number>();
  private runningTotal = 0;

  constructor(limit: number) {
    this.limit = limit;
    this.limitOfOne = Math.max(1, Math.floor(limit * SHARE_OF_ONE));
  }

  add(key: string, item: T, urgent: boolean): void {
    (urgent ? this.urgent : this.patient).add(key, item);
  }

  /** Takes back what still waits. */
  remove(key: string, item: T): void {
    this.urgent.remove(key, item);
    this.patient.remove(key, item);
  }

  /** The next item, now under way until `done(key)`; undefined where none may begin. */
  next(): T | undefined {
    if (this.runningTotal >= this.limit) return undefined; // 1
    const mayBegin = (key: string) => (this.running.get(key) ?? 0) < this.limitOfOne; // 3
    const patientFirst = this.urgentInARow >= URGENT_IN_A_ROW;
    const first = patientFirst ? this.patient : this.urgent; // 4
    const second = patientFirst ? this.urgent : this.patient;
    const taken = first.take(mayBegin) ?? second.take(mayBegin);
    if (taken === undefined) return undefined;
    this.urgentInARow = taken.from === this.urgent ? this.urgentInARow + 1 : 0;
    this.running.set(taken.key, (this.running.get(taken.key) ?? 0) + 1);
    this.runningTotal++;
    return taken.item;
  }

  done(key: string): void {
    const running = this.running.get(key) ?? 0;
    if (running === 0) return;
    if (running === 1) this.running.delete(key);
    else this.running.set(key, running - 1);
    this.runningTotal--;
  }
}

/** Items by key; the keys take turns (2). */
class Turns<T> {
  /** In turn: a key moves to the end when one of its items is taken. */
  private readonly waiting = new Map<string, Set<T>>();

  add(key: string, item: T): void {
    const items = this.waiting.get(key);
    if (items) items.add(item);
    else this.waiting.set(key, new Set([item]));
  }

  remove(key: string, item: T): void {
    const items = this.waiting.get(key);
    if (items?.delete(item) && items.size === 0) this.waiting.delete(key);
  }

  take(
    mayBegin: (key: string) => boolean,
  ): { readonly key: string; readonly item: T; readonly from: Turns<T> } | undefined {
    for (const [key, items] of this.waiting) {
      if (!mayBegin(key)) continue;
      const item = items.values().next().value as T;
      items.delete(item);
      this.waiting.delete(key);
      if (items.size > 0) this.waiting.set(key, items);
      return { key, item, from: this };
    }
    return undefined;
  }
}

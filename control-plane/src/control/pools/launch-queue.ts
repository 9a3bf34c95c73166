/**
 * Whose launch is next. Pure but for its own lists.
 *
 * Invariants:
 *  1. At most `limit` launches are under way.
 *  2. Functions take turns: one that wants a hundred pods, or whose pods crash, delays another's by one launch at most.
 *  3. One function never holds every place: some are left (where there are several) for the first pod of another.
 */

/** Of the places; the rest is for the other functions. */
const SHARE_OF_ONE = 0.75;

export class LaunchQueue<T> {
  private readonly limit: number;
  private readonly limitOfOne: number;
  /** In turn: a key moves to the end when one of its items is taken. */
  private readonly waiting = new Map<string, Set<T>>();
  private readonly running = new Map<string, number>();
  private runningTotal = 0;

  constructor(limit: number) {
    this.limit = limit;
    this.limitOfOne = Math.max(1, Math.floor(limit * SHARE_OF_ONE));
  }

  add(key: string, item: T): void {
    const items = this.waiting.get(key);
    if (items) items.add(item);
    else this.waiting.set(key, new Set([item]));
  }

  /** Takes back what still waits. */
  remove(key: string, item: T): void {
    const items = this.waiting.get(key);
    if (items?.delete(item) && items.size === 0) this.waiting.delete(key);
  }

  /** The next item, now under way until `done(key)`; undefined where none may begin. */
  next(): { readonly key: string; readonly item: T } | undefined {
    if (this.runningTotal >= this.limit) return undefined; // 1
    for (const [key, items] of this.waiting) {
      const running = this.running.get(key) ?? 0;
      if (running >= this.limitOfOne) continue; // 3
      const [item] = items as Set<T> & Iterable<T>;
      items.delete(item as T);
      this.waiting.delete(key);
      if (items.size > 0) this.waiting.set(key, items); // 2
      this.running.set(key, running + 1);
      this.runningTotal++;
      return { key, item: item as T };
    }
    return undefined;
  }

  done(key: string): void {
    const running = this.running.get(key) ?? 0;
    if (running === 0) return;
    if (running === 1) this.running.delete(key);
    else this.running.set(key, running - 1);
    this.runningTotal--;
  }
}

/**
 * First in, first out, with removal from anywhere, all in O(1).
 *
 * A Set keeps that order too, but not at that price: what was deleted leaves a hole until the next rehash, and to look at its
 * first passes all of them. With 100,000 that come and go, measured, that took 1.8 ms each time; this takes no time that shows.
 */
export interface FifoNode<T> {
  readonly value: T;
  prev: FifoNode<T> | null;
  next: FifoNode<T> | null;
}

export class Fifo<T> {
  first: FifoNode<T> | null = null;
  private last: FifoNode<T> | null = null;

  /** Keep what it gives, to `remove` it. */
  push(value: T): FifoNode<T> {
    const node: FifoNode<T> = { value, prev: this.last, next: null };
    if (this.last === null) this.first = node;
    else this.last.next = node;
    this.last = node;
    return node;
  }

  /** The node must be in this list. */
  remove(node: FifoNode<T>): void {
    const { prev, next } = node;
    if (prev === null) this.first = next;
    else prev.next = next;
    if (next === null) this.last = prev;
    else next.prev = prev;
    node.prev = null;
    node.next = null;
  }
}

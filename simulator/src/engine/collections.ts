/** Collections of plain numbers that grow: a simulation of millions of calls makes no object for any of them. */

/** Numbers taken out where they were put in last, or first. */
export class Deque {
  length = 0;
  private items = new Float64Array(8);
  private head = 0;

  push(value: number): void {
    if (this.length === this.items.length) this.grow();
    this.items[(this.head + this.length++) & (this.items.length - 1)] = value;
  }

  /** The newest. */
  pop(): number {
    return this.items[(this.head + --this.length) & (this.items.length - 1)] as number;
  }

  /** The oldest. */
  shift(): number {
    const value = this.items[this.head] as number;
    this.head = (this.head + 1) & (this.items.length - 1);
    this.length--;
    return value;
  }

  first(): number {
    return this.items[this.head] as number;
  }

  private grow(): void {
    const { items, head } = this;
    const larger = new Float64Array(items.length * 2);
    for (let i = 0; i < this.length; i++) {
      larger[i] = items[(head + i) & (items.length - 1)] as number;
    }
    this.items = larger;
    this.head = 0;
  }
}

/** A heap of times, each with a number beside it; the earliest is on top. */
export class TimeHeap {
  length = 0;
  /** The earliest time; Infinity where there is none. */
  top = Number.POSITIVE_INFINITY;
  private times = new Float64Array(8);
  private values = new Int32Array(8);

  push(time: number, value: number): void {
    if (this.length === this.times.length) this.grow();
    const { times, values } = this;
    let i = this.length++;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const above = times[parent] as number;
      if (above <= time) break;
      times[i] = above;
      values[i] = values[parent] as number;
      i = parent;
    }
    times[i] = time;
    values[i] = value;
    this.top = times[0] as number;
  }

  /** Removes the earliest; gives its value. */
  pop(): number {
    const { times, values } = this;
    const value = values[0] as number;
    const last = --this.length;
    this.sift(times[last] as number, values[last] as number);
    return value;
  }

  /** The earliest is at another time now. */
  replaceTop(time: number): void {
    this.sift(time, this.values[0] as number);
  }

  topValue(): number {
    return this.values[0] as number;
  }

  private sift(time: number, value: number): void {
    const { times, values, length } = this;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= length) break;
      if (child + 1 < length && (times[child + 1] as number) < (times[child] as number)) child++;
      if ((times[child] as number) >= time) break;
      times[i] = times[child] as number;
      values[i] = values[child] as number;
      i = child;
    }
    times[i] = time;
    values[i] = value;
    this.top = length > 0 ? (times[0] as number) : Number.POSITIVE_INFINITY;
  }

  private grow(): void {
    const [times, values] = [this.times, this.values];
    this.times = new Float64Array(times.length * 2);
    this.values = new Int32Array(times.length * 2);
    this.times.set(times);
    this.values.set(values);
  }
}

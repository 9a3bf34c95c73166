/**
 * The attempts that one pod runs, by stream: a list, and of more than a few a hash table, whose chains go through the invocations
 * themselves.
 *
 * Not a Map: under load a Map of a few dozen entries moves to a new table every few dozen insertions, and its old table
 * points to its new one. Once an old table has survived two collections, all that came later survives with it until the
 * next full collection: measured, every third byte that an invocation allocates.
 *
 * A pod is one (pod.ts), rather than has one: an object of its own would be one more cache line for each of a thousand pods, and
 * each that is not in the cache costs a call as much as a thirtieth of the scheduler's time for it.
 *
 * Invariants:
 *  R1. An invocation stands in the chain of its stream; streams are numbered in sequence, so chains are short.
 *  R2. One that has left points at no other.
 *  R3. Until a pod runs more than LISTED at once, and again once it has run none, it has no table: that is two cache lines more.
 */
import type { Invocation } from './invocation.ts';

const LISTED = 8;
/** A power of two, as it stays when the table grows. */
const FIRST_CHAINS = 16;

export class Running {
  size = 0;
  /** The list, newest first; null while there is a table. */
  private first: Invocation | null = null;
  private chains: (Invocation | null)[] | null = null;

  get(stream: number): Invocation | undefined {
    const { chains } = this;
    let one =
      chains === null ? this.first : (chains[stream & (chains.length - 1)] as Invocation | null);
    while (one !== null && one.stream !== stream) one = one.nextRunning;
    return one ?? undefined;
  }

  /** Its stream must be set, and no other of these have it. */
  add(invocation: Invocation): void {
    if (this.chains === null) {
      if (this.size < LISTED) {
        this.size++;
        invocation.nextRunning = this.first;
        this.first = invocation;
        return;
      }
      this.makeTable(FIRST_CHAINS);
    } else if (this.size === this.chains.length) {
      this.makeTable(this.chains.length * 2);
    }
    this.size++;
    link(this.chains as (Invocation | null)[], invocation);
  }

  delete(stream: number): void {
    const { chains } = this;
    const chain = chains === null ? 0 : stream & (chains.length - 1);
    let before: Invocation | null = null;
    let one = chains === null ? this.first : (chains[chain] as Invocation | null);
    while (one !== null && one.stream !== stream) {
      before = one;
      one = one.nextRunning;
    }
    if (one === null) return;
    if (before !== null) before.nextRunning = one.nextRunning;
    else if (chains === null) this.first = one.nextRunning;
    else chains[chain] = one.nextRunning;
    one.nextRunning = null; // R2
    if (--this.size === 0) this.chains = null; // R3
  }

  /** All of them, oldest first: a list of its own, so that they may leave while it is walked. */
  values(): Invocation[] {
    const all: Invocation[] = [];
    for (const head of this.chains ?? [this.first]) {
      for (let one = head; one !== null; one = one.nextRunning) all.push(one);
    }
    return all.sort((a, b) => a.stream - b.stream);
  }

  private makeTable(length: number): void {
    const all = this.values();
    const chains = new Array(length).fill(null);
    for (const one of all) link(chains, one);
    this.first = null;
    this.chains = chains;
  }
}

function link(chains: (Invocation | null)[], invocation: Invocation): void {
  const chain = invocation.stream & (chains.length - 1);
  invocation.nextRunning = chains[chain] as Invocation | null;
  chains[chain] = invocation;
}

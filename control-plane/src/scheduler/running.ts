/**
 * The attempts that one pod runs, by stream: a hash table whose chains go through the invocations themselves.
 *
 * Not a Map: under load a Map of a few dozen entries moves to a new table every few dozen insertions, and its old table
 * points to its new one. Once an old table has survived two collections, all that came later survives with it until the
 * next full collection: measured, every third byte that an invocation allocates.
 *
 * Invariants:
 *  R1. An invocation stands in the chain of its stream; streams are numbered in sequence, so chains are short.
 *  R2. One that has left points at no other.
 *  R3. Until a pod first runs two at once it has no table, but `only`: most never do, and a table is two cache lines more.
 */
import type { Invocation } from './invocation.ts';

/** A power of two, as it stays when the table grows. */
const FIRST_CHAINS = 4;

export class Running {
  size = 0;
  private only: Invocation | null = null;
  private chains: (Invocation | null)[] | null = null;

  get(stream: number): Invocation | undefined {
    const { chains } = this;
    let one =
      chains === null ? this.only : (chains[stream & (chains.length - 1)] as Invocation | null);
    while (one !== null && one.stream !== stream) one = one.nextRunning;
    return one ?? undefined;
  }

  /** Its stream must be set, and no other of these have it. */
  add(invocation: Invocation): void {
    if (this.chains === null) {
      if (this.size === 0) {
        this.size = 1;
        this.only = invocation;
        return;
      }
      this.makeTable(FIRST_CHAINS);
    } else if (this.size === this.chains.length) {
      this.makeTable(this.chains.length * 2);
    }
    this.size++;
    this.link(invocation);
  }

  delete(stream: number): void {
    const { chains } = this;
    if (chains === null) {
      if (this.only?.stream !== stream) return;
      this.only = null;
      this.size = 0;
      return;
    }
    const chain = stream & (chains.length - 1);
    let before: Invocation | null = null;
    let one = chains[chain] as Invocation | null;
    while (one !== null && one.stream !== stream) {
      before = one;
      one = one.nextRunning;
    }
    if (one === null) return;
    if (before === null) chains[chain] = one.nextRunning;
    else before.nextRunning = one.nextRunning;
    one.nextRunning = null; // R2
    this.size--;
  }

  /** All of them, oldest first: a list of its own, so that they may leave while it is walked. */
  values(): Invocation[] {
    const all: Invocation[] = [];
    for (const head of this.chains ?? [this.only]) {
      for (let one = head; one !== null; one = one.nextRunning) all.push(one);
    }
    return all.sort((a, b) => a.stream - b.stream);
  }

  private makeTable(chains: number): void {
    const all = this.values();
    this.only = null;
    this.chains = new Array(chains).fill(null);
    for (const one of all) this.link(one);
  }

  private link(invocation: Invocation): void {
    const chains = this.chains as (Invocation | null)[];
    const chain = invocation.stream & (chains.length - 1);
    invocation.nextRunning = chains[chain] as Invocation | null;
    chains[chain] = invocation;
  }
}

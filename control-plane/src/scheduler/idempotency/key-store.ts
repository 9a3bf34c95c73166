/**
 * Idempotency keys in memory, gone with the process. Pure: what runs (`R`) and what was answered (`A`) are the caller's.
 *
 *   (unknown) ──begin──▶ running ──end──▶ ended ──▶ (unknown)      when it is old, or makes room
 *                           └──forget──────────────────▲            nothing was done for it
 *
 * Invariants:
 *  K1. A key has one entry, from its `begin` until that is forgotten, expires or is evicted.
 *  K2. Never more than `maxCount` entries nor more than `maxBytes`: the one that ended first goes first, one that runs never.
 *      Where bytes are short, answers larger than an entry go before any key does: a key that is gone may be run again, and a few
 *      large answers must not cost thousands of others theirs.
 *  K3. One that ended longer ago than `maxAgeMs` is not there.
 */
import { Fifo, type FifoNode } from '../fifo.ts';

export interface KeyStoreLimits {
  readonly maxCount: number;
  readonly maxBytes: number;
  /** Milliseconds after its end. */
  readonly maxAgeMs: number;
}

export type KeyState<R, A> =
  | { readonly kind: 'running'; readonly by: R }
  | { readonly kind: 'ended'; readonly answer: A; readonly at: number };

export interface KeyEntry<R, A> {
  readonly key: string;
  /** Of the request that it began with. */
  readonly fingerprint: string;
  readonly state: KeyState<R, A>;
}

interface Kept<R, A> extends KeyEntry<R, A> {
  state: KeyState<R, A>;
  bytes: number;
  /** Its places among those that ended, and among the large answers. */
  ended: FifoNode<Kept<R, A>> | null;
  large: FifoNode<Large<R, A>> | null;
}

/** An answer that takes more than an entry, and what is kept where it has to go. */
interface Large<R, A> {
  readonly kept: Kept<R, A>;
  readonly bytes: number;
  readonly without: A;
}

/** What an entry takes beside its key and its answer's body, by measurement about: strings, objects, its places in two tables. */
const OVERHEAD_BYTES = 1_024;

export class KeyStore<R, A> {
  private readonly limits: KeyStoreLimits;
  private readonly now: () => number;
  private readonly all = new Map<string, Kept<R, A>>();
  /** In the order they ended. */
  private readonly ended = new Fifo<Kept<R, A>>();
  /** In the order they ended. */
  private readonly large = new Fifo<Large<R, A>>();
  private keptBytes = 0;
  /** Those that made room for others: keys, and answers of keys that stayed. */
  evictedKeys = 0;
  evictedAnswers = 0;

  /** `now`: milliseconds. */
  constructor(limits: KeyStoreLimits, now: () => number) {
    this.limits = limits;
    this.now = now;
  }

  get size(): number {
    return this.all.size;
  }

  get bytes(): number {
    return this.keptBytes;
  }

  /** When the first of them expires; undefined where none has ended. */
  get expiresAt(): number | undefined {
    const state = this.ended.first?.value.state;
    return state?.kind === 'ended' ? state.at + this.limits.maxAgeMs : undefined;
  }

  find(key: string): KeyEntry<R, A> | undefined {
    this.expire();
    return this.all.get(key);
  }

  /** The key must be unknown. `full`: its bounds are reached by those that run. */
  begin(key: string, fingerprint: string, by: R): KeyEntry<R, A> | 'full' {
    const bytes = OVERHEAD_BYTES + key.length;
    this.expire();
    if (!this.makeRoom(1, bytes)) return 'full';
    const state: KeyState<R, A> = { kind: 'running', by };
    const kept: Kept<R, A> = { key, fingerprint, state, bytes, ended: null, large: null };
    this.all.set(key, kept);
    this.keptBytes += bytes;
    return kept;
  }

  /** What runs has ended. Where no room can be made for the answer's `bytes`, `without` is kept in its place. */
  end(entry: KeyEntry<R, A>, answer: A, bytes: number, without: A): void {
    const kept = this.all.get(entry.key);
    if (kept !== entry || kept.state.kind === 'ended') return;
    this.expire();
    const isLarge = bytes > OVERHEAD_BYTES;
    const fits = isLarge ? this.dropLarge(bytes) : this.makeRoom(0, bytes);
    kept.state = { kind: 'ended', answer: fits ? answer : without, at: this.now() };
    if (fits) {
      this.grow(kept, bytes);
      if (isLarge) kept.large = this.large.push({ kept, bytes, without });
    }
    kept.ended = this.ended.push(kept);
  }

  /** It ended, and may be run again. */
  forget(entry: KeyEntry<R, A>): void {
    const kept = this.all.get(entry.key);
    if (kept === entry) this.remove(kept);
  }

  /** K3 */
  expire(): void {
    const oldest = this.now() - this.limits.maxAgeMs;
    for (let node = this.ended.first; node !== null; node = this.ended.first) {
      const { state } = node.value;
      if (state.kind === 'ended' && state.at >= oldest) return;
      this.remove(node.value);
    }
  }

  /** K2 */
  private makeRoom(count: number, bytes: number): boolean {
    const { maxCount, maxBytes } = this.limits;
    const fits = () => this.all.size + count <= maxCount && this.keptBytes + bytes <= maxBytes;
    this.dropLarge(bytes);
    for (let node = this.ended.first; node !== null; node = this.ended.first) {
      if (fits()) return true;
      this.remove(node.value);
      this.evictedKeys++;
    }
    return fits();
  }

  /** Drops large answers until there is room for so many bytes, where that can be had so. */
  private dropLarge(bytes: number): boolean {
    const { maxBytes } = this.limits;
    // One that could never fit must not drive the others out.
    if (bytes > maxBytes) return false;
    for (let node = this.large.first; node !== null; node = this.large.first) {
      if (this.keptBytes + bytes <= maxBytes) return true;
      const { kept, bytes: freed, without } = node.value;
      if (kept.state.kind === 'ended') kept.state = { ...kept.state, answer: without };
      this.grow(kept, -freed);
      this.large.remove(node);
      kept.large = null;
      this.evictedAnswers++;
    }
    return this.keptBytes + bytes <= maxBytes;
  }

  private grow(kept: Kept<R, A>, bytes: number): void {
    kept.bytes += bytes;
    this.keptBytes += bytes;
  }

  private remove(kept: Kept<R, A>): void {
    this.all.delete(kept.key);
    if (kept.ended !== null) this.ended.remove(kept.ended);
    if (kept.large !== null) this.large.remove(kept.large);
    this.keptBytes -= kept.bytes;
  }
}

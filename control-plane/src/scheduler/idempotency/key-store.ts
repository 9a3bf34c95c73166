/**
 * Idempotency keys in memory, gone with the process. Pure: what runs (`R`) and what was answered (`A`) are the caller's.
 *
 *   (unknown) ──begin──▶ running ──end──▶ ended ──▶ (unknown)      when it is old, or makes room
 *                           └──forget──────────────────▲            nothing was done for it
 *
 * Invariants:
 *  K1. A key has one entry, from its `begin` until that is forgotten, expires or is evicted.
 *  K2. Never more than `maxCount` entries nor more than `maxBytes`: the one that ended first goes first, one that runs never.
 *  K3. One that ended longer ago than `maxAgeMs` is not there.
 */

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
}

/** What an entry takes beside its key and its answer's body, by measurement about: strings, objects, its places in two tables. */
const OVERHEAD_BYTES = 1_024;

export class KeyStore<R, A> {
  private readonly limits: KeyStoreLimits;
  private readonly now: () => number;
  private readonly all = new Map<string, Kept<R, A>>();
  /** In the order they ended. */
  private readonly ended = new Set<Kept<R, A>>();
  private keptBytes = 0;
  /** Those that made room for others. */
  evictions = 0;

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
    for (const { state } of this.ended) {
      if (state.kind === 'ended') return state.at + this.limits.maxAgeMs;
    }
    return undefined;
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
    const kept: Kept<R, A> = { key, fingerprint, state: { kind: 'running', by }, bytes };
    this.all.set(key, kept);
    this.keptBytes += bytes;
    return kept;
  }

  /** What runs has ended. Where no room can be made for the answer's `bytes`, `without` is kept in its place. */
  end(entry: KeyEntry<R, A>, answer: A, bytes: number, without: A): void {
    const kept = this.all.get(entry.key);
    if (kept !== entry || kept.state.kind === 'ended') return;
    this.expire();
    const fits = this.makeRoom(0, bytes);
    kept.state = { kind: 'ended', answer: fits ? answer : without, at: this.now() };
    if (fits) {
      kept.bytes += bytes;
      this.keptBytes += bytes;
    }
    this.ended.add(kept);
  }

  /** It ended, and may be run again. */
  forget(entry: KeyEntry<R, A>): void {
    const kept = this.all.get(entry.key);
    if (kept === entry) this.remove(kept);
  }

  /** K3 */
  expire(): void {
    const oldest = this.now() - this.limits.maxAgeMs;
    for (const kept of this.ended) {
      if (kept.state.kind === 'ended' && kept.state.at >= oldest) return;
      this.remove(kept);
    }
  }

  /** K2 */
  private makeRoom(count: number, bytes: number): boolean {
    const { maxCount, maxBytes } = this.limits;
    const fits = () => this.all.size + count <= maxCount && this.keptBytes + bytes <= maxBytes;
    // One that could never fit must not drive the others out.
    if (bytes > maxBytes) return false;
    for (const kept of this.ended) {
      if (fits()) return true;
      this.remove(kept);
      this.evictions++;
    }
    return fits();
  }

  private remove(kept: Kept<R, A>): void {
    this.all.delete(kept.key);
    this.ended.delete(kept);
    this.keptBytes -= kept.bytes;
  }
}

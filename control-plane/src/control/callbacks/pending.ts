/**
 * What is pending, within bounds for all together. Where there is no room the function that holds the most gives way, so
 * that a receiver that takes nothing costs its own function's callbacks, and no other's: first one that was tried in vain,
 * then the youngest.
 *
 * Invariants:
 *  P1. Never more than `maxCount`, nor more bytes than `maxBytes`.
 *  P2. One that is being sent never gives way.
 */
export interface PendingLimits {
  readonly maxCount: number;
  readonly maxBytes: number;
}

export interface Held {
  readonly functionKey: string;
  readonly bytes: number;
  readonly state: 'queued' | 'sending' | 'waiting';
  /** Those that failed. */
  readonly attempts: readonly unknown[];
}

interface Share<T> {
  readonly held: Set<T>;
  bytes: number;
}

export class Pending<T extends Held> {
  private readonly limits: PendingLimits;
  /** By function. */
  private readonly shares = new Map<string, Share<T>>();
  count = 0;
  bytes = 0;

  constructor(limits: PendingLimits) {
    this.limits = limits;
  }

  has(one: T): boolean {
    return this.shares.get(one.functionKey)?.held.has(one) ?? false;
  }

  *all(): Generator<T> {
    for (const { held } of this.shares.values()) yield* [...held];
  }

  /**
   * Takes it in. Returns those that gave way, which are held no longer: it itself where it is of who holds the most and none
   * of those was tried.
   */
  add(one: T): readonly T[] {
    const gone: T[] = [];
    if (one.bytes > this.limits.maxBytes) return [one];
    while (!this.hasRoom(one)) {
      const victim = this.victimFor(one);
      gone.push(victim);
      if (victim === one) return gone;
      this.remove(victim);
    }
    let share = this.shares.get(one.functionKey);
    if (share === undefined) {
      share = { held: new Set(), bytes: 0 };
      this.shares.set(one.functionKey, share);
    }
    share.held.add(one);
    share.bytes += one.bytes;
    this.count++;
    this.bytes += one.bytes;
    return gone;
  }

  remove(one: T): void {
    const share = this.shares.get(one.functionKey);
    if (share === undefined || !share.held.delete(one)) return;
    share.bytes -= one.bytes;
    this.count--;
    this.bytes -= one.bytes;
    if (share.held.size === 0) this.shares.delete(one.functionKey);
  }

  /** P1 */
  private hasRoom({ bytes }: T): boolean {
    const { maxCount, maxBytes } = this.limits;
    return this.count < maxCount && this.bytes + bytes <= maxBytes;
  }

  private victimFor(one: T): T {
    const own = this.shares.get(one.functionKey);
    let heaviest: Share<T> | undefined;
    let most = this.weight((own?.held.size ?? 0) + 1, (own?.bytes ?? 0) + one.bytes);
    for (const share of this.shares.values()) {
      const weight = this.weight(share.held.size, share.bytes);
      if (share === own || weight < most) continue;
      heaviest = share;
      most = weight;
    }
    const other = heaviest && (triedOf(heaviest) ?? youngestOf(heaviest));
    return other ?? (own && triedOf(own)) ?? one;
  }

  /** The part of the bounds that is taken: of count or of bytes, whichever is more. */
  private weight(count: number, bytes: number): number {
    return Math.max(count / this.limits.maxCount, bytes / this.limits.maxBytes);
  }
}

/** One that was tried in vain already, whether its next attempt is due or not. P2 */
function triedOf<T extends Held>({ held }: Share<T>): T | undefined {
  for (const one of held) if (one.state !== 'sending' && one.attempts.length > 0) return one;
  return undefined;
}

/** P2 */
function youngestOf<T extends Held>({ held }: Share<T>): T | undefined {
  let youngest: T | undefined;
  for (const one of held) if (one.state === 'queued') youngest = one;
  return youngest;
}

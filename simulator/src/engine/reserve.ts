/** A generic pool on top: ready pods that any function's miss may claim. What was claimed is replaced, so many a second at most. */
import { Deque } from './collections.ts';
import type { Reserve } from './pods.ts';

export interface ReserveSettings {
  /** Pods that are kept ready. */
  readonly pods: number;
  /** From the claim until the function serves, milliseconds. */
  readonly claimMs: number;
  /** From a replacement's launch until it is ready, milliseconds. */
  readonly coldStartMs: number;
  readonly refillPerSecond: number;
  readonly memoryMib: number;
}

export class GenericPool implements Reserve {
  claims = 0;
  /** Claims that found it empty. */
  misses = 0;
  private readonly settings: ReserveSettings;
  private ready: number;
  /** When those on their way get ready, in that order. */
  private readonly coming = new Deque();
  private lastRefillAt = Number.NEGATIVE_INFINITY;
  private idlePodMs = 0;
  private countedTo = 0;

  constructor(settings: ReserveSettings) {
    this.settings = settings;
    this.ready = settings.pods;
  }

  claim(now: number): number | undefined {
    this.advance(now);
    if (this.ready === 0) {
      this.misses++;
      return undefined;
    }
    const { claimMs, coldStartMs, refillPerSecond } = this.settings;
    this.ready--;
    this.claims++;
    this.lastRefillAt = Math.max(now, this.lastRefillAt + 1_000 / refillPerSecond);
    this.coming.push(this.lastRefillAt + coldStartMs);
    return claimMs;
  }

  /** MiB x milliseconds of pods that were ready and waited, until `now`. */
  idleMibMs(now: number): number {
    this.advance(now);
    return this.idlePodMs * this.settings.memoryMib;
  }

  private advance(now: number): void {
    while (this.coming.length > 0 && this.coming.first() <= now) {
      this.count(this.coming.shift());
      this.ready++;
    }
    this.count(now);
  }

  private count(now: number): void {
    this.idlePodMs += this.ready * (now - this.countedTo);
    this.countedTo = now;
  }
}

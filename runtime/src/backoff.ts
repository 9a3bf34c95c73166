/** How long to wait before dialling again: exponential with full jitter, so that a thousand pods do not dial as one. */

/** The first wait lies below this. */
const BASE_MS = 50;
/** No wait is longer: a control plane that is back is found within it. */
const CAP_MS = 5_000;
/** A connection that held this long was a good one: the next wait begins at the base again. */
const HELD_MS = 5_000;

/** Consecutive failures, and the wait they ask for. */
export class Backoff {
  private failures = 0;
  private readonly random: () => number;

  /** `random`: uniform in [0, 1). */
  constructor(random: () => number) {
    this.random = random;
  }

  /** Milliseconds to wait now. */
  next(): number {
    const ceiling = Math.min(CAP_MS, BASE_MS * 2 ** Math.min(this.failures, 20));
    this.failures++;
    return Math.floor(this.random() * ceiling);
  }

  /** A connection ended that had been welcomed `uptimeMs` ago. */
  held(uptimeMs: number): void {
    if (uptimeMs >= HELD_MS) this.failures = 0;
  }
}

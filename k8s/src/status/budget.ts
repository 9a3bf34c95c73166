/** A token bucket: how many writes may be made now. */
export class Budget {
  private readonly perSecond: number;
  private readonly burst: number;
  private tokens: number;
  private at: number;

  /** @param now milliseconds, only forward */
  constructor(perSecond: number, burst: number, now: number) {
    this.perSecond = perSecond;
    this.burst = burst;
    this.tokens = burst;
    this.at = now;
  }

  /** Whether `take` would give one. */
  has(now: number): boolean {
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.at) / 1_000) * this.perSecond);
    this.at = now;
    return this.tokens >= 1;
  }

  /** Takes one token; false where there is none. */
  take(now: number): boolean {
    if (!this.has(now)) return false;
    this.tokens -= 1;
    return true;
  }
}

/**
 * Bursts that come to many functions at once: a clock that all functions share and that runs fast in short bursts and
 * somewhat slower between them. A function's calls follow it instead of time, so that its calls a day stay what they were, and a
 * share of them falls into the bursts, together with everyone else's. (Its gaps vary more for it. Timers follow time.)
 */
import { Random } from '../../../chaos/src/random.ts';
import { exponential } from './gaps.ts';

export interface Bursts {
  /** Share of all calls that fall into bursts, from 0 (none) to below 1. */
  readonly share: number;
  /** Mean time from burst to burst, milliseconds. */
  readonly everyMs: number;
  readonly lastMs: number;
}

export const NO_BURSTS: Bursts = { share: 0, everyMs: 3_600_000, lastMs: 60_000 };

export class BurstClock {
  /** Where the clock's speed changes: in time, and in what the clock shows then. */
  private readonly times: number[] = [0];
  private readonly shown: number[] = [0];
  private readonly random: Random;
  private readonly bursts: Bursts;

  constructor(seed: string, bursts: Bursts) {
    if (!(bursts.share >= 0 && bursts.share < 1 && bursts.lastMs < bursts.everyMs)) {
      throw new Error('bursts: a share from 0 to below 1, and bursts shorter than what is between');
    }
    this.bursts = bursts;
    this.random = new Random(`${seed}/bursts`);
  }

  /** Reads a function's own times, which must ascend, off the clock: gives the time at which it shows each. */
  reader(): (shown: number) => number {
    if (this.bursts.share === 0) return (shown) => shown;
    let piece = 0;
    return (shown) => {
      while (shown >= this.shownAt(piece + 1)) piece++;
      const [t0, s0] = [this.times[piece] as number, this.shown[piece] as number];
      const [t1, s1] = [this.times[piece + 1] as number, this.shown[piece + 1] as number];
      return t0 + ((shown - s0) / (s1 - s0)) * (t1 - t0);
    };
  }

  private shownAt(piece: number): number {
    while (piece >= this.shown.length) this.addBurst();
    return this.shown[piece] as number;
  }

  private addBurst(): void {
    const { share, everyMs, lastMs } = this.bursts;
    const [time, shown] = [this.times.at(-1) as number, this.shown.at(-1) as number];
    const quietMs = exponential(this.random) * (everyMs - lastMs);
    const slow = ((1 - share) * everyMs) / (everyMs - lastMs);
    const fast = (share * everyMs) / lastMs;
    this.times.push(time + quietMs, time + quietMs + lastMs);
    this.shown.push(shown + quietMs * slow, shown + quietMs * slow + lastMs * fast);
  }
}

/** The simplest scaler: a pod for each miss, and every pod leaves once it has idled for a fixed time, whatever the others do. */
import { growForMisses } from './misses.ts';
import type { FunctionPods, Scaler } from './pods.ts';

export class PerPodKeepAlive implements Scaler {
  nextAt = Number.POSITIVE_INFINITY;
  private readonly keepMs: number;

  constructor(keepMs: number) {
    this.keepMs = keepMs;
  }

  called(): void {}

  missed(pods: FunctionPods): void {
    growForMisses(pods);
  }

  rested(pods: FunctionPods): void {
    if (this.nextAt === Number.POSITIVE_INFINITY) this.nextAt = pods.now + this.keepMs;
  }

  /** Comes at the time at which the oldest pod's idle time would have ended, had it not been used since. */
  fire(pods: FunctionPods): void {
    while (pods.idling > 0 && pods.longestIdleSince + this.keepMs <= pods.now) pods.retire(1);
    this.nextAt = pods.idling > 0 ? pods.longestIdleSince + this.keepMs : Number.POSITIVE_INFINITY;
  }
}

/**
 * Simmer's own scaler: the very sizing and keep-alive policies that the control plane runs. It samples the function as the
 * keeper does, but only so often: pods for a miss are launched at once by the placement policy, and what sizing
 * decides changes over a window of a minute.
 */
import {
  decideSize,
  newSizing,
  type SizingDecision,
  type SizingSettings,
  type SizingState,
} from '@simmer/control-plane/dist/control/sizing/desired.js';
import {
  inPlan,
  type KeepAlive,
  type Traits,
} from '@simmer/control-plane/dist/control/sizing/keep-alive/policy.js';
import { growForMisses } from './misses.ts';
import type { FunctionPods, Scaler } from './pods.ts';

/** A time that is the sum of others may lie a trifle before it. */
const ROUNDING_MS = 0.001;

export class SizedScaler implements Scaler {
  nextAt = Number.POSITIVE_INFINITY;
  private readonly settings: SizingSettings;
  private readonly traits: Traits;
  private readonly keepAlive: KeepAlive;
  private readonly sampleMs: number;
  private readonly onLaunch: ((now: number) => void) | undefined;
  private state: SizingState | undefined;
  private sampledAt = Number.NEGATIVE_INFINITY;
  private grown = 0;

  constructor(options: {
    readonly settings: SizingSettings;
    readonly traits: Traits;
    readonly keepAlive: KeepAlive;
    /** The least time between two samples, milliseconds. */
    readonly sampleMs: number;
    /** Pods were added: a budget may be short now. */
    readonly onLaunch?: (now: number) => void;
  }) {
    this.settings = options.settings;
    this.traits = options.traits;
    this.keepAlive = options.keepAlive;
    this.sampleMs = options.sampleMs;
    this.onLaunch = options.onLaunch;
  }

  called(pods: FunctionPods): void {
    // A function that is called for the first time has been there, uncalled.
    this.state ??= newSizing(pods.now, 0);
    this.soon(pods);
  }

  missed(pods: FunctionPods): void {
    const there = pods.live + pods.coming;
    if (growForMisses(pods) === 0) return;
    this.grown = Math.max(this.grown, pods.live + pods.coming);
    if (pods.live + pods.coming > there) this.onLaunch?.(pods.now);
  }

  rested(pods: FunctionPods): void {
    if (pods.idleSince !== undefined) this.soon(pods);
  }

  fire(pods: FunctionPods): void {
    this.sample(pods);
  }

  /** While the load fades that the last calls were, one pod is what it was before: only its keep-alive ends that. */
  private wakeAt(pods: FunctionPods, { plan, wakeAt }: SizingDecision): number {
    const activity = this.state?.activity;
    if (plan === undefined || activity?.state !== 'idle' || pods.live + pods.coming > 1)
      return wakeAt;
    const { untilMs } = inPlan(plan, pods.now - activity.since, this.traits.coldStartMs);
    return activity.since + untilMs;
  }

  /** Something happened that the next sample is to see: now, or when it is time. */
  private soon(pods: FunctionPods): void {
    this.nextAt = Math.min(this.nextAt, Math.max(pods.now, this.sampledAt + this.sampleMs));
  }

  private sample(pods: FunctionPods): void {
    const { now } = pods;
    this.state ??= newSizing(now, 0);
    this.sampledAt = now;
    const decision = decideSize(
      this.state,
      {
        now,
        arrivals: pods.totals.calls,
        running: pods.running,
        queued: pods.queued,
        serviceMs: pods.serviceMs,
        pods: pods.live + pods.coming,
        ready: pods.live,
        grown: this.grown,
        traits: this.traits,
      },
      this.settings,
      this.keepAlive,
    );
    this.grown = 0;
    const there = pods.live + pods.coming;
    if (decision.ahead > there) {
      pods.launch(decision.ahead - there, false);
      this.onLaunch?.(now);
    }
    for (let extra = there - decision.desired; extra > 0 && pods.idling > 0; extra--) {
      if (pods.longestIdleSince + decision.idleMs > now) break;
      pods.retire(1);
    }
    this.nextAt = Math.max(this.wakeAt(pods, decision) + ROUNDING_MS, now + this.sampleMs);
  }
}

/**
 * How many unclaimed pods a generic pool is to have, and how many of them to launch now. A pure policy: counts and time in,
 * a decision out.
 *
 * What is claimed while a replacement starts would be missed, so the target is `idle` and as many as are claimed, at the rate
 * of late, within one cold start (Little's law). Launches are limited in rate: a refill is never what a caller's own
 * launch waits behind.
 *
 * Invariants:
 *  F1. Never more pods than `maxReplicas`, claimed ones included; else never fewer unclaimed ones than `minReplicas`.
 *  F2. No more is launched in any time than LAUNCH_BURST and what LAUNCHES_PER_SECOND give.
 *  F3. Fewer claims give nothing up before DELAY_MS; a smaller `idle` does at once.
 */
import type { DecidedBy } from './desired.ts';
import { HighWater, LoadWindow } from './windows.ts';

/** Claims are counted over so long, and their last burst over a tenth of it. */
const WINDOW_MS = 60_000;
const DELAY_MS = 60_000;
const LAUNCHES_PER_SECOND = 10;
const LAUNCH_BURST = 20;

export interface RefillSample {
  readonly now: number;
  /** Pods that were claimed, since the start. */
  readonly claims: number;
  /** Pods that nobody has claimed: ready, and on their way. */
  readonly unclaimed: number;
  /** Pods that were claimed and are still there. */
  readonly claimed: number;
  /** Launch to ready of one of its pods. */
  readonly coldStartMs: number;
}

export interface RefillSettings {
  readonly minReplicas: number;
  readonly maxReplicas: number;
  /** Unclaimed pods to have where nothing is claimed. */
  readonly idle: number;
  /** Somebody scales the pool from outside (/scale). */
  readonly scaled: boolean;
}

export interface RefillDecision {
  /** Unclaimed pods to have. */
  readonly desired: number;
  /** Of those that are missing, how many now. */
  readonly launch: number;
  readonly decidedBy: Extract<DecidedBy, 'minReplicas' | 'maxReplicas' | 'load' | 'scale'>;
  /** Claims a second. */
  readonly claimRate: number;
}

export interface RefillState {
  at: number;
  claims: number;
  readonly rates: LoadWindow;
  /** Pods that were claimed while one started. */
  readonly claimed: HighWater;
  /** Launches that may begin now. */
  allowance: number;
}

export function newRefill(now: number, claims: number): RefillState {
  // Nothing was claimed before: that is known, and two claims in its first second are no rate.
  const rates = new LoadWindow(WINDOW_MS, now - WINDOW_MS);
  rates.record(now, 0);
  return { at: now, claims, allowance: LAUNCH_BURST, rates, claimed: new HighWater() };
}

/** Asked about once a second, and whenever pods were claimed. */
export function decideRefill(
  state: RefillState,
  { now, claims, unclaimed, claimed, coldStartMs }: RefillSample,
  { minReplicas, maxReplicas, idle, scaled }: RefillSettings,
): RefillDecision {
  const elapsed = now - state.at;
  if (elapsed > 0) {
    state.rates.record(now, Math.max(0, claims - state.claims) / elapsed);
    state.allowance = Math.min(
      LAUNCH_BURST,
      state.allowance + elapsed * (LAUNCHES_PER_SECOND / 1_000),
    );
    state.at = now;
    state.claims = claims;
  }
  const perMs = Math.max(state.rates.stable(now), state.rates.panic(now));
  // Less than half a claim in a cold start: what `idle` is for.
  const meanwhile = Math.round(perMs * coldStartMs);
  const target = idle + meanwhile;
  state.claimed.record(now, meanwhile, DELAY_MS);
  // F3: what is there and was wanted lately stays; it is not launched anew.
  const kept = Math.min(unclaimed, idle + state.claimed.highest(now, DELAY_MS));
  const wanted = Math.max(target, kept);
  const room = Math.max(0, maxReplicas - claimed);
  const desired = Math.min(Math.max(wanted, minReplicas), room); // F1
  const missing = Math.min(Math.max(target, minReplicas), room) - unclaimed;
  const launch = Math.max(0, Math.min(missing, Math.floor(state.allowance))); // F2
  state.allowance -= launch;
  let decidedBy: RefillDecision['decidedBy'] = 'load';
  if (Math.max(wanted, minReplicas) > room) decidedBy = 'maxReplicas';
  else if (wanted <= minReplicas) decidedBy = scaled ? 'scale' : 'minReplicas';
  return { desired, launch, decidedBy, claimRate: perMs * 1_000 };
}

/** One sentence for people. */
export function explainRefill(
  { decidedBy, claimRate, desired }: RefillDecision,
  { minReplicas, maxReplicas, idle }: RefillSettings,
): string {
  const rate = `${claimRate < 10 ? claimRate.toPrecision(2) : Math.round(claimRate)} claims a second`;
  switch (decidedBy) {
    case 'minReplicas':
      return `minReplicas is ${minReplicas}, and ${rate} need no more.`;
    case 'scale':
      return `It was scaled to ${minReplicas} from outside, and ${rate} need no more.`;
    case 'maxReplicas':
      return `maxReplicas is ${maxReplicas}, with the pods that were claimed; ${rate} would need more.`;
    case 'load':
      return `${idle} idle, and ${Math.max(0, desired - idle)} for ${rate} while others start.`;
  }
}

/**
 * The miss policy (DESIGN 5): what to do for invocations that found no free slot. Pure: counts and times in, a
 * decision out. The order is fixed: wait for a slot if one is expected in time; grow the pool to its maximum; beyond it
 * launch Jobs within their budget. (A generic pod would come before growing; no pool offers one yet.)
 *
 * `In time` means: not later than a new pod would be ready. What is wanted is therefore as many slots as would serve
 * the queue within one cold start, by Little's law: slots = queued x service time / cold start. That keeps a burst of
 * short calls from launching a pod each, and lets a burst of long ones have what its concurrency needs, no more.
 */

export interface MissInput {
  /** Invocations that wait. */
  readonly queued: number;
  /** How long the first of them has waited, milliseconds. */
  readonly headWaitMs: number;
  /** Slots of pods that serve now; all are busy, or there would be no miss. */
  readonly servingSlots: number;
  /** Slots that pods on their way will bring, ordered ones included. */
  readonly comingSlots: number;
  /** Concurrency of one pod. */
  readonly slotsPerPod: number;
  /** Pool pods that exist or are on their way, and the most there may be. */
  readonly poolPods: number;
  readonly maxPods: number;
  /** Jobs that exist or are on their way, and the most there may be. */
  readonly jobs: number;
  readonly maxJobs: number;
  /** Moving average of an attempt's time on a pod; undefined before the first. */
  readonly serviceMs: number | undefined;
  /** Moving average of launch to ready. */
  readonly coldStartMs: number;
}

export type MissDecision =
  | { readonly kind: 'wait'; readonly reason: string }
  | { readonly kind: 'grow'; readonly pods: number; readonly jobs: number; readonly reason: string }
  | { readonly kind: 'job'; readonly jobs: number; readonly reason: string }
  | { readonly kind: 'exhausted'; readonly reason: string };

export function decideMiss(m: MissInput): MissDecision {
  const wanted = wantedSlots(m);
  const lacking = wanted - m.servingSlots - m.comingSlots;
  if (lacking <= 0) {
    return m.comingSlots > 0
      ? { kind: 'wait', reason: 'enough pods are on their way' }
      : { kind: 'wait', reason: 'a slot is expected before a new pod would be ready' };
  }
  const pods = Math.ceil(lacking / m.slotsPerPod);
  const grow = Math.max(0, Math.min(pods, m.maxPods - m.poolPods));
  const jobs = Math.max(0, Math.min(pods - grow, m.maxJobs - m.jobs));
  if (grow > 0) {
    const why = m.servingSlots === 0 ? 'no pod serves' : 'no slot is expected in time';
    return { kind: 'grow', pods: grow, jobs, reason: why };
  }
  if (jobs > 0) return { kind: 'job', jobs, reason: `the pool is at its maximum of ${m.maxPods}` };
  return { kind: 'exhausted', reason: 'the pool is at its maximum and so are its Jobs' };
}

function wantedSlots(m: MissInput): number {
  if (m.queued === 0) return 0;
  // Nothing is known of a function that has never run: each waiting invocation is worth a slot.
  if (m.serviceMs === undefined) return m.servingSlots + m.queued;
  // A head that waits longer than calls used to take shows that they take longer now: the average lags.
  const serviceMs = Math.max(m.serviceMs, m.headWaitMs);
  const slots = Math.ceil((m.queued * serviceMs) / Math.max(m.coldStartMs, 1));
  return Math.max(1, Math.min(slots, m.servingSlots + m.queued));
}

/** Misses, as the scheduler answers them: by its own placement policy. */
import { decideMiss, NO_GENERIC_PODS } from '@simmer/control-plane/dist/scheduler/placement.js';
import type { FunctionPods } from './pods.ts';

/** Of one function. */
const MAX_PODS = 1_000;

/** Launches what the queue needs; gives how many. */
export function growForMisses(pods: FunctionPods): number {
  const { concurrency } = pods;
  const decision = decideMiss({
    queued: pods.queued,
    headWaitMs: pods.headWaitMs,
    timeoutMs: Number.POSITIVE_INFINITY,
    stalledMs: pods.stalledMs,
    servingSlots: pods.live * concurrency,
    comingSlots: pods.coming * concurrency,
    slotsPerPod: concurrency,
    poolPods: pods.live + pods.coming,
    maxPods: MAX_PODS,
    jobs: 0,
    maxJobs: 0,
    serviceMs: pods.serviceMs,
    coldStartMs: pods.coldStartMs,
    // Every start takes what it always takes.
    comingForMs: 0,
    // A pod that is launched for a miss is claimed from a generic pool, where there is one (pods.ts).
    generic: NO_GENERIC_PODS,
  });
  if (decision.kind !== 'grow') return 0;
  pods.launch(decision.pods, true);
  return decision.pods;
}

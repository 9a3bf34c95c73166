/**
 * The miss policy (DESIGN 5): what to do for invocations that found no free slot. Pure: counts and times in, a
 * decision out. The order is fixed: wait for a slot if one is expected in time; take pods of a generic pool, or have that
 * launch some; grow the pool to its maximum; beyond it launch Jobs within their budget.
 *
 * `In time` means: not later than a new pod would be ready. What is wanted is therefore as many slots as would serve
 * the queue within one cold start, by Little's law: slots = queued x service time / cold start. That keeps a burst of
 * short calls from launching a pod each, and lets a burst of long ones have what its concurrency needs, no more.
 *
 * A generic pod on its way is as good as an own one: it will be the function's when its turn comes (claim-policy.ts). Where
 * the generic pools can launch no more, but still hand out what they have (`inLine`), one's turn there is waited for, for
 * up to half of the first invocation's time; then the function grows by itself.
 */

export interface MissInput {
  /** Invocations that wait. */
  readonly queued: number;
  /** How long the first of them has waited, milliseconds. */
  readonly headWaitMs: number;
  /** What it has of time in all, its wait included; of an asynchronous one: what an attempt of it has. */
  readonly timeoutMs: number;
  /** For how long the first of them has waited and none has got a slot, milliseconds. */
  readonly stalledMs: number;
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
  /** For how long the pods that are on their way have been so, on average; 0: none is. */
  readonly comingForMs: number;
  readonly generic: GenericPods;
}

/** What the generic pools that fit have for this function, after those who asked before it. */
export interface GenericPods {
  /** Idle: its own at once. */
  readonly idle: number;
  /** On their way. */
  readonly coming: number;
  /** That may still be launched. */
  readonly room: number;
  /** There is no room, but its turn will come: pods are on their way to others, or others' idle ones make way. */
  readonly inLine: boolean;
}

export const NO_GENERIC_PODS: GenericPods = { idle: 0, coming: 0, room: 0, inLine: false };

export type MissDecision =
  | { readonly kind: 'wait'; readonly reason: string }
  /** Claims `pods`; `launch`: that the generic pools are to launch. The rest as with `grow`. */
  | {
      readonly kind: 'generic';
      readonly pods: number;
      readonly launch: number;
      readonly grow: number;
      readonly jobs: number;
      readonly reason: string;
    }
  | { readonly kind: 'grow'; readonly pods: number; readonly jobs: number; readonly reason: string }
  | { readonly kind: 'job'; readonly jobs: number; readonly reason: string }
  | { readonly kind: 'exhausted'; readonly reason: string };

export function decideMiss(m: MissInput): MissDecision {
  const pods = lackingPods(m);
  if (pods === 0) {
    return m.comingSlots > 0
      ? { kind: 'wait', reason: 'enough pods are on their way' }
      : { kind: 'wait', reason: 'a slot is expected before a new pod would be ready' };
  }
  const room = Math.max(0, m.maxPods - m.poolPods);
  const claim = Math.min(pods, room, m.generic.idle);
  const expected = Math.min(pods - claim, room - claim, m.generic.coming);
  const launch = Math.min(pods - claim - expected, room - claim - expected, m.generic.room);
  const own = pods - claim - expected - launch;
  const inLine = room > 0 && m.generic.inLine && m.headWaitMs < m.timeoutMs / 2;
  const grow = inLine ? 0 : Math.min(own, room - claim - expected - launch);
  const jobs = inLine ? 0 : Math.max(0, Math.min(own - grow, m.maxJobs - m.jobs));
  const why = m.servingSlots === 0 ? 'no pod serves' : 'no slot is expected in time';
  if (claim + launch > 0) return { kind: 'generic', pods: claim, launch, grow, jobs, reason: why };
  if (grow > 0) return { kind: 'grow', pods: grow, jobs, reason: why };
  if (jobs > 0) return { kind: 'job', jobs, reason: `the pool is at its maximum of ${m.maxPods}` };
  if (expected > 0) return { kind: 'wait', reason: 'a generic pod is on its way' };
  if (inLine) return { kind: 'wait', reason: 'its turn for a generic pod will come' };
  return { kind: 'exhausted', reason: 'the pool is at its maximum and so are its Jobs' };
}

/** Pods that would have to come for what waits, beside those that serve and those on their way. */
export function lackingPods(m: MissInput): number {
  const lacking = wantedSlots(m) - m.servingSlots - m.comingSlots;
  return Math.max(0, Math.ceil(lacking / m.slotsPerPod));
}

/** Pods that are on their way for longer say something of themselves, not of what starts take. */
const SLOW_START_MS = 10_000;

function wantedSlots(m: MissInput): number {
  if (m.queued === 0) return 0;
  // Nothing is known of a function that has never run: each waiting invocation is worth a slot.
  if (m.serviceMs === undefined) return m.servingSlots + m.queued;
  // A queue that stands still for longer than calls used to take shows that they take longer now: the average lags. Not how
  // long its head has waited: at the back of a queue that moves, or for a first pod, that says nothing of calls, and the
  // pool would grow by a multiple of what is needed.
  const serviceMs = Math.max(m.serviceMs, m.stalledMs);
  // Nor is a cold start as short as it used to be while one takes longer: many at once wait for their turns, and if each moment's
  // queue launched what would serve it in the time of one alone, the pool would grow by a multiple of what is needed.
  const coldStartMs = Math.max(1, m.coldStartMs, Math.min(m.comingForMs, SLOW_START_MS));
  const slots = Math.ceil((m.queued * serviceMs) / coldStartMs);
  return Math.max(1, Math.min(slots, m.servingSlots + m.queued));
}

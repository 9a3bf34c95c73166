/**
 * How many pods a load needs. Pure.
 *
 *  1. Little's law: `load` calls run at once on average (arrivals x time of one). Pods are to be busy for no more than
 *     `targetUtilization` of their time: load / (concurrency x target).
 *  2. Few pods need more room than that: their calls come in clumps. Left at 1, each clump would grow the pool by a miss and
 *     the pool would shrink again, for ever. So there are as many as make it rare, at the load that there is, that a call
 *     waits for longer than a cold start, which is what makes a miss grow the pool (scheduler/placement.ts). The
 *     probability of a wait is Erlang's (queue M/M/c), that of its length falls exponentially; service times
 *     are taken to be rather constant than exponential (Allen and Cunneen's correction, squared coefficient of variation 0.25).
 */

export interface Staffing {
  /** Arrivals a millisecond x `serviceMs`: calls that run at once, on average. */
  readonly load: number;
  /** Time of one call on a pod; undefined: nothing is known of it, and rule 2 is left out. */
  readonly serviceMs: number | undefined;
  readonly coldStartMs: number;
  /** Calls that one pod runs at once. */
  readonly concurrency: number;
  /** Above 0, at most 1. */
  readonly targetUtilization: number;
  /** No more than these are asked for: what lies beyond need not be told apart. */
  readonly maxPods: number;
}

/** A wait longer than a cold start is to be this rare: longer than a pod that it launched would then be kept. */
const RARE_MS = 60_000;
const SERVICE_CV2 = 0.25;
const VARIABILITY = (1 + SERVICE_CV2) / 2;
/** Less than one call in an hour and a half, of a minute each: nothing. Sums of fractions leave such crumbs. */
const NO_LOAD = 1e-9;

export function podsFor(s: Staffing): number {
  if (s.load < NO_LOAD) return 0;
  const byLittle = Math.ceil(s.load / (s.concurrency * s.targetUtilization) - NO_LOAD);
  const pods = Math.max(1, byLittle);
  if (s.serviceMs === undefined || s.serviceMs <= 0 || pods >= s.maxPods) return pods;
  return Math.max(pods, Math.ceil(slotsFor(s, s.serviceMs) / s.concurrency));
}

/** The fewest slots at which waits beyond a cold start are rare. */
function slotsFor({ load, coldStartMs }: Staffing, serviceMs: number): number {
  const rare = serviceMs / (load * RARE_MS);
  // Erlang's loss formula by its recursion: the share of calls that would find all of `slots` busy and leave.
  let lost = 1;
  for (let slots = 1; ; slots++) {
    lost = (load * lost) / (slots + load * lost);
    if (slots <= load) continue;
    const waits = lost / (1 - (load / slots) * (1 - lost));
    const beyond = Math.exp(-((slots - load) * coldStartMs) / (serviceMs * VARIABILITY));
    if (waits * VARIABILITY * beyond <= rare) return slots;
  }
}

/**
 * How long a function's last pods are kept when nothing calls it, and whether one is launched ahead of the next call.
 * Policies are pure: time and what happened come in, a plan for the idle time comes out. Times are milliseconds on any
 * clock that only goes forward, so that a simulator's events drive the very code that the control thread runs.
 */

/** What a policy may weigh, as it is known at that moment. */
export interface Traits {
  /** `spec.keepAliveMs`: for a fixed policy all there is, for others what holds until they have learned enough. */
  readonly keepAliveMs: number;
  /** Of launch to ready, as measured. */
  readonly coldStartMs: number;
  /** Of one pod. */
  readonly memoryMib: number;
}

/** Counted from the moment at which the function had nothing to run. */
export interface IdlePlan {
  /** Pods that are there are kept for so long. Infinity: until `evict` names them. */
  readonly keepMs: number;
  /**
   * Where keeping ends before the next call is expected: a pod is ready again from `fromMs`, and kept to `untilMs`.
   * `fromMs` is when it should be ready; whoever launches it allows for the cold start.
   */
  readonly prewarm: { readonly fromMs: number; readonly untilMs: number } | undefined;
  /** For people: a clause such as `idle for less than 300 s`. */
  readonly reason: string;
}

/** One function's part of a policy: what it has learned of it. A few hundred bytes at most. */
export interface KeepAlive {
  /**
   * `calls` came, `idleMs` after the function had nothing to run any more (undefined: it had, or these are its first). Calls
   * that are told together came so close to each other that nobody need know their order.
   */
  called(now: number, calls: number, idleMs: number | undefined, traits: Traits): void;
  /** What holds for the idle time that begins now. Asked once for each, and only where it lasts. */
  plan(now: number, traits: Traits): IdlePlan;
}

/** A function that idles and has pods. */
export interface IdleFunction {
  readonly key: string;
  /** Of all its idle pods. */
  readonly memoryMib: number;
}

/** One for each group of functions that share a memory budget (a namespace). */
export interface KeepAlivePolicy {
  /** As `spec.scaling.keepAlive` names it. */
  readonly name: string;
  /** The same one each time, until `forget`. */
  of(key: string): KeepAlive;
  forget(key: string): void;
  /**
   * The budget is short by `shortMib`: keys of those that give up their idle pods, first the one that is missed least. Absent
   * where the policy does not weigh functions against each other.
   */
  evict?(idle: readonly IdleFunction[], shortMib: number): readonly string[];
}

/** What a plan says of a moment: whether pods that are there are kept, and whether one is to be launched. */
export function inPlan(
  plan: IdlePlan,
  idleMs: number,
  coldStartMs: number,
): { readonly phase: 'kept' | 'ahead' | 'gone'; readonly untilMs: number } {
  const { keepMs, prewarm } = plan;
  if (prewarm !== undefined) {
    const launchAt = Math.max(0, prewarm.fromMs - coldStartMs);
    if (idleMs >= launchAt && idleMs < prewarm.untilMs) {
      return { phase: 'ahead', untilMs: prewarm.untilMs };
    }
    if (idleMs < launchAt && idleMs >= keepMs) return { phase: 'gone', untilMs: launchAt };
    if (idleMs < launchAt) return { phase: 'kept', untilMs: Math.min(keepMs, launchAt) };
  }
  return idleMs < keepMs
    ? { phase: 'kept', untilMs: keepMs }
    : { phase: 'gone', untilMs: Number.POSITIVE_INFINITY };
}

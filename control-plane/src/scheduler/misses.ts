/**
 * Misses: carries out what placement.ts decides. Keeps what was ordered of the control thread and not yet answered, so
 * that nothing is ordered twice for one miss, and looks again while something waits (D4).
 */
import type { PodKind } from '@simmer/protocol/backend';
import type { MissKind } from '../shared/counters.ts';
import type { LaunchRefusedMessage } from '../shared/messages.ts';
import type { FunctionState, LaunchHold } from './function-state.ts';
import type { Invocation } from './invocation.ts';
import { decideMiss, lackingPods, type MissDecision, NO_GENERIC_PODS } from './placement.ts';
import type { Scheduler } from './scheduler.ts';

/**
 * While something waits its function is looked at this often: a slot that was expected may not come. Well below a cold
 * start, so that changing one's mind costs little beside it.
 */
const RECHECK_MS = 50;
/**
 * Functions that wait for the same WarmPool and are looked at within RECHECK_MS: of more, each is looked at less often, or thousands
 * of looks would hold up what runs. When a pod comes, those whose turn it is are looked at anyway.
 */
const MAX_CROWD = 100;
/** The control thread's word comes within a turn or two of both loops; that it never comes is to hold up nobody for long. */
const CLAIM_HOLD_MS = 1_000;

export class Misses {
  private readonly scheduler: Scheduler;

  constructor(scheduler: Scheduler) {
    this.scheduler = scheduler;
  }

  /** The invocation found no free slot and waits now. */
  onQueued(invocation: Invocation): void {
    const { fn } = invocation;
    const decision = this.look(fn, this.scheduler.ports.now());
    if (decision === undefined) return;
    invocation.placementReason = decision.reason;
    fn.counters.countMiss(decision.kind satisfies MissKind);
  }

  /** Decides anew for what waits: after a loss, a refusal, or a while. */
  look(fn: FunctionState, now: number): MissDecision | undefined {
    const { head } = fn.queue;
    if (head === null) {
      this.scheduler.claims.withdraw(fn);
      return undefined;
    }
    const { wheel, claims } = this.scheduler;
    if (fn.timerBucket === -1) {
      const turns = Math.ceil(claims.crowd(fn) / MAX_CROWD);
      wheel.set(fn, now + RECHECK_MS * Math.max(1, turns));
    }
    if (this.failIfHopeless(fn, now)) return undefined;
    const { spec } = fn.record;
    const closed = fn.deleted || this.scheduler.handingOver;
    const input = {
      queued: fn.queue.length,
      headWaitMs: now - head.queuedAt,
      stalledMs: now - Math.max(head.queuedAt, fn.queueMovedAt),
      timeoutMs: head.attemptMs === 0 ? head.deadlineAt - head.queuedAt : head.attemptMs,
      servingSlots: fn.servingSlots,
      comingSlots: (fn.comingPods + fn.orderedPods + fn.orderedJobs) * spec.concurrency,
      slotsPerPod: spec.concurrency,
      poolPods: fn.poolPods + fn.orderedPods,
      maxPods: held(fn.holds.pool, now) || closed ? 0 : spec.maxReplicas,
      jobs: fn.jobs + fn.orderedJobs,
      maxJobs: held(fn.holds.job, now) || closed ? 0 : spec.overflow,
      serviceMs: fn.serviceMs,
      coldStartMs: fn.coldStartMs,
      comingForMs: this.scheduler.pods.comingForMs(fn),
      generic: NO_GENERIC_PODS,
    };
    const lacks = claimable(fn, lackingPods(input), input.maxPods - input.poolPods);
    const generic = lacks > 0 ? claims.ask(fn, lacks, now) : NO_GENERIC_PODS;
    const decision = decideMiss({ ...input, generic });
    if (decision.kind === 'generic') {
      claims.claim(fn, decision.pods, decision.launch);
      this.order(fn, 'pool', decision.grow);
    }
    if (lacks === 0) claims.withdraw(fn);
    if (decision.kind === 'grow') this.order(fn, 'pool', decision.pods);
    if ('jobs' in decision) this.order(fn, 'job', decision.jobs);
    return decision;
  }

  order(fn: FunctionState, kind: PodKind, count: number): void {
    if (count === 0) return;
    if (kind === 'pool') fn.orderedPods += count;
    else fn.orderedJobs += count;
    this.scheduler.ports.post({ type: 'need', functionKey: fn.key, kind, count });
  }

  onRefused(fn: FunctionState, message: LaunchRefusedMessage, now: number): void {
    const hold: LaunchHold = {
      until: now + message.retryAfterMs,
      reason: message.reason,
      hopeless: message.hopeless,
    };
    if (message.kind === 'pool') {
      fn.orderedPods = Math.max(0, fn.orderedPods - message.count);
      fn.holds.pool = hold;
    } else {
      fn.orderedJobs = Math.max(0, fn.orderedJobs - message.count);
      fn.holds.job = hold;
    }
    this.look(fn, now);
  }

  /** A pod that was claimed for it does not load it: nothing is tried until the control thread has said what is to be. */
  onClaimFailed(fn: FunctionState, reason: string): void {
    const until = this.scheduler.ports.now() + CLAIM_HOLD_MS;
    const hold = { until, reason, hopeless: false };
    fn.holds = { pool: hold, job: hold };
  }

  /** A pod came up: what the holds said is no longer true. */
  onServing(fn: FunctionState): void {
    fn.holds.pool = null;
    fn.holds.job = null;
  }

  /** Nothing serves, nothing comes, and the control thread said that nothing will. */
  hopeless(fn: FunctionState, now: number): boolean {
    const { pool, job } = fn.holds;
    return (
      (held(pool, now) && pool?.hopeless === true) || (held(job, now) && job?.hopeless === true)
    );
  }

  heldUntil(fn: FunctionState): number {
    return Math.max(fn.holds.pool?.until ?? 0, fn.holds.job?.until ?? 0);
  }

  private failIfHopeless(fn: FunctionState, now: number): boolean {
    const coming = fn.comingPods + fn.orderedPods + fn.orderedJobs;
    // A pod that comes for a function that was sent on is sent on as well.
    if (fn.servingSlots > 0 || (coming > 0 && !fn.sentOn)) return false;
    if (fn.deleted) {
      this.scheduler.failQueue(fn, 'function_deleted', `Function ${fn.key} was deleted.`);
      return true;
    }
    if (this.scheduler.handingOver) {
      this.scheduler.failQueue(fn, 'draining', 'Another control plane took over.');
      return true;
    }
    if (!this.hopeless(fn, now)) return false;
    this.scheduler.failQueue(fn, 'no_capacity', this.holdReason(fn));
    return true;
  }

  /** For people: why nothing is launched. */
  holdReason(fn: FunctionState): string {
    return fn.holds.pool?.reason ?? fn.holds.job?.reason ?? 'Nothing can be launched.';
  }

  onTimer(fn: FunctionState, now: number): void {
    this.look(fn, now);
  }
}

/** What it may claim of the pods that it lacks: while its pods fail, one that shows whether they still do. */
function claimable(fn: FunctionState, lacks: number, room: number): number {
  if (fn.record.claim === undefined) return 0;
  const most = fn.holds.pool === null ? room : Math.min(room, 1 - fn.comingPods);
  return Math.max(0, Math.min(lacks, most));
}

function held(hold: LaunchHold | null, now: number): boolean {
  return hold !== null && now < hold.until;
}

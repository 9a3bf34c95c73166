/**
 * Retries: carries out what retry.ts decides. What waits for its next attempt holds no slot and has its one timer on the
 * wheel; its request stays held.
 */
import type { ErrorCode } from '@simmer/protocol/errors';
import type { RetryHint } from '@simmer/protocol/frames';
import { ranTooLong } from './failures.ts';
import type { Invocation } from './invocation.ts';
import { letGo } from './let-go.ts';
import { causeOf, decideRetry, type RetryDecision } from './retry.ts';
import type { Scheduler } from './scheduler.ts';

/** A queue that was full when the retry was due is asked again after this. */
const FULL_QUEUE_MS = 100;
/** How often it is looked whether the pod of the attempt before is dead: the way of a kill and of its news is of this order. */
const EXIT_LOOK_MS = 10;

const NO_HINT: RetryHint = {};

export class Retries {
  private readonly scheduler: Scheduler;

  constructor(scheduler: Scheduler) {
    this.scheduler = scheduler;
  }

  /** Its slot is free again. Fails it, unless another attempt follows. */
  attemptFailed(
    invocation: Invocation,
    code: ErrorCode,
    detail: string,
    now: number,
    hint: RetryHint = NO_HINT,
  ): void {
    const { fn, attempts } = invocation;
    const decision = this.decide(invocation, code, now, hint);
    if (!decision.retry) {
      this.scheduler.fail(invocation, code, detail);
      return;
    }
    fn.counters.count('retries');
    this.scheduler.ports.log({
      level: 'info',
      message: 'attempt failed',
      fields: {
        function: fn.key,
        executionId: invocation.id,
        traceId: invocation.traceparent.slice(3, 35),
        code,
        detail,
        attempt: attempts,
        retryInMs: Math.round(decision.delayMs),
      },
    });
    if (invocation.observer === null) keepAttempt(invocation, code, detail, now);
    if (invocation.parts !== null) invocation.parts.forEach(letGo);
    invocation.parts = null;
    invocation.partBytes = 0;
    invocation.credit = 0;
    invocation.placement = '';
    invocation.placementReason = '';
    invocation.queuedAt = 0;
    invocation.cancelSent = false;
    invocation.state = 'waiting';
    invocation.observer?.onWaiting(code, detail, decision.delayMs);
    fn.waiting.push(invocation);
    fn.counters.addGauge('waiting', 1);
    invocation.nextAttemptAt = now + decision.delayMs;
    this.wait(invocation, invocation.nextAttemptAt);
  }

  /**
   * An attempt's time is over. True: another is to follow, and waits until this one has let go of its slot, so that no two
   * of one execution run at once.
   */
  cancelFirst(invocation: Invocation, now: number): boolean {
    if (!this.decide(invocation, 'timeout', now).retry) return false;
    invocation.state = 'cancelling';
    this.scheduler.cancelAttempt(invocation, 'timeout', now);
    return true;
  }

  /** It has let go. */
  attemptTimedOut(invocation: Invocation, now: number): void {
    this.attemptFailed(invocation, 'timeout', ranTooLong(invocation, now), now);
  }

  /** The time of its next attempt has come, or its deadline. */
  onDue(invocation: Invocation, now: number): void {
    if (now >= invocation.deadlineAt) {
      const detail = `Attempt ${invocation.attempts} failed, and the deadline passed before the next.`;
      this.scheduler.fail(invocation, 'timeout', detail);
      return;
    }
    // It was killed, but may run on for a moment: the next attempt is not to run beside it.
    if (invocation.lastPod !== null && now < invocation.lastPod.mayRunUntil) {
      this.wait(invocation, now + EXIT_LOOK_MS);
      return;
    }
    if (!this.scheduler.hasRoom(invocation.fn)) {
      this.wait(invocation, now + FULL_QUEUE_MS);
      return;
    }
    this.leave(invocation);
    this.scheduler.wheel.set(invocation, invocation.deadlineAt);
    this.scheduler.place(invocation, now);
  }

  /** It waits no longer. */
  leave(invocation: Invocation): void {
    invocation.fn.waiting.remove(invocation);
    invocation.fn.counters.addGauge('waiting', -1);
  }

  private decide(
    invocation: Invocation,
    code: ErrorCode,
    now: number,
    { retryable = true, retryAfterMs = null }: RetryHint = NO_HINT,
  ): RetryDecision {
    const { retry } = invocation.fn.record.spec;
    return decideRetry({
      // Nothing is retried once its head has gone to the client.
      cause: invocation.headed ? undefined : causeOf(code),
      sync: invocation.observer === null,
      retryable,
      retryAfterMs,
      attempts: invocation.attempts,
      maxRetries: invocation.maxRetries,
      on: retry.on,
      baseDelayMs: retry.baseDelayMs,
      maxDelayMs: retry.maxDelayMs,
      remainingMs: invocation.deadlineAt - now,
      random: this.scheduler.ports.random(),
    });
  }

  private wait(invocation: Invocation, until: number): void {
    this.scheduler.wheel.set(invocation, Math.min(until, invocation.deadlineAt));
  }
}

/** For the record of a synchronous call; an asynchronous one's observer keeps its own. */
function keepAttempt(invocation: Invocation, code: ErrorCode, detail: string, now: number): void {
  const { lastPod, placement, placementReason } = invocation;
  if (lastPod === null || placement === '') return;
  invocation.earlier ??= [];
  invocation.earlier.push({
    ...{ number: invocation.attempts, startedAt: invocation.dispatchedAt, endedAt: now },
    ...{ pod: lastPod.id, backend: lastPod.backend, cold: lastPod.cold },
    ...{ placement, placementReason, outcome: code, detail },
  });
}

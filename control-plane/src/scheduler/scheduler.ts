/**
 * The scheduler's core: admission, queues, dispatch, ends. No sockets and no clock of its own: clients are `Reply`s,
 * pods are `PodLink`s, time is a parameter, so that tests and benchmarks drive the very code that serves.
 *
 * Invariants:
 *  D1. Every submitted invocation ends exactly once (I1), whatever comes first: result, loss, deadline, hang-up, shutdown.
 *  D2. A slot is taken by `dispatch` and freed by the attempt's result or its pod's loss, by nothing else; what runs on a
 *      pod never exceeds its capacity.
 *  D3. An attempt is bound to a pod at dispatch: whatever slot is free first serves the queue's head.
 *  D4. While an invocation waits, either a slot is expected, or something was ordered, or the function's timer will look
 *      again; nothing waits on an event that may never come.
 */
import type { ErrorCode } from '@simmer/protocol/errors';
import type { HeaderPairs, Outcome, ResultDetails } from '@simmer/protocol/frames';
import { ENDS, HISTOGRAM, type PlacementKind, type ProcessCounters } from '../shared/counters.ts';
import type { LogLine, ToControl } from '../shared/messages.ts';
import { type AdmissionInput, refuse, retryAfterSeconds } from './admission.ts';
import type { Claims } from './claims.ts';
import type { ExecutionLogs } from './execution-logs.ts';
import { endOf } from './executions/execution.ts';
import { OK, outcomeOf, SyncRing } from './executions/sync-ring.ts';
import { codeOf, isDenial, isRefusal, ranTooLong, shownFaults } from './failures.ts';
import type { FunctionState } from './function-state.ts';
import { type Invocation, type InvocationOwner, NO_BODY } from './invocation.ts';
import { failedLine, modeOf, placedLine } from './invocation-lines.ts';
import { letGo } from './let-go.ts';
import type { Misses } from './misses.ts';
import type { Pod } from './pod.ts';
import type { PodLifecycle } from './pod-lifecycle.ts';
import type { Retries } from './retries.ts';
import type { TimingWheel } from './timing-wheel.ts';

/** What the core needs of the rest of the process. */
export interface SchedulerPorts {
  /** Milliseconds, monotonic. */
  now(): number;
  /** From 0 to 1, 1 excluded. */
  random(): number;
  post(message: ToControl): void;
  log(line: LogLine): void;
  /** Whether lines of level debug are wanted: every placement makes one. */
  readonly debug: boolean;
}

export interface SchedulerLimits {
  readonly maxQueuedBytes: number;
  /** Synchronous executions of which is remembered how they ended. */
  readonly maxSyncExecutions: number;
}

export class Scheduler implements InvocationOwner {
  readonly ports: SchedulerPorts;
  readonly wheel: TimingWheel;
  readonly counters: ProcessCounters;
  /** Synchronous calls that have ended. */
  readonly passed: SyncRing;
  private readonly limits: SchedulerLimits;
  /** Set once by core.ts: they refer to each other. */
  misses!: Misses;
  claims!: Claims;
  retries!: Retries;
  pods!: PodLifecycle;
  logs!: ExecutionLogs;
  draining = false;
  /** Another control plane takes over: pods are sent to it (send-off.ts), and nothing is ordered any more. */
  handingOver = false;
  /** Invocations between `open` and their end. */
  live = 0;
  private heldBytes = 0;

  constructor(
    ports: SchedulerPorts,
    wheel: TimingWheel,
    counters: ProcessCounters,
    limits: SchedulerLimits,
  ) {
    this.ports = ports;
    this.wheel = wheel;
    this.counters = counters;
    this.limits = limits;
    this.passed = new SyncRing(limits.maxSyncExecutions);
  }

  /** Whether answers end their connections: clients are to come to another control plane. */
  get closesConnections(): boolean {
    return this.handingOver || this.draining;
  }

  // ---- admission ---------------------------------------------------------------------------------------------------

  /** Whether one more invocation of `bytes` would be taken now; the code of the refusal if not. Counts refusals. */
  refusal(fn: FunctionState, bytes: number, budgetMs: number): ErrorCode | undefined {
    if (this.draining || fn.sentOn) return this.refused(fn, 'draining');
    if (fn.servingSlots + fn.comingPods === 0 && this.misses.hopeless(fn, this.ports.now())) {
      return this.refused(fn, 'no_capacity');
    }
    const code = refuse(this.admissionInput(fn, bytes, budgetMs));
    return code === undefined ? undefined : this.refused(fn, code);
  }

  /** Of one that another's execution will answer: it needs room for its body alone. */
  refusalOfBytes(fn: FunctionState, bytes: number): ErrorCode | undefined {
    if (this.draining || fn.sentOn) return this.refused(fn, 'draining');
    if (this.heldBytes + bytes > this.limits.maxQueuedBytes) return this.refused(fn, 'overloaded');
    return fn.heldBytes + bytes > fn.maxHeldBytes ? this.refused(fn, 'queue_full') : undefined;
  }

  private refused(fn: FunctionState, code: ErrorCode): ErrorCode {
    fn.counters.countError(code);
    return code;
  }

  private admissionInput(fn: FunctionState, bytes: number, budgetMs: number): AdmissionInput {
    return {
      freeSlot: fn.available.withFreeSlot > 0 && fn.queue.length === 0,
      queued: fn.queue.length,
      maxQueued: fn.maxQueued,
      heldBytes: fn.heldBytes + bytes,
      maxHeldBytes: fn.maxHeldBytes,
      totalHeldBytes: this.heldBytes + bytes,
      maxTotalHeldBytes: this.limits.maxQueuedBytes,
      servingSlots: fn.servingSlots,
      serviceMs: fn.serviceMs,
      budgetMs,
    };
  }

  retryAfterSeconds(fn: FunctionState, code: ErrorCode): number {
    if (code === 'no_capacity') {
      const until = this.misses.heldUntil(fn);
      return Math.max(1, Math.ceil((until - this.ports.now()) / 1000));
    }
    return retryAfterSeconds({
      queued: fn.queue.length,
      servingSlots: fn.servingSlots,
      serviceMs: fn.serviceMs,
    });
  }

  /** Takes the invocation on: from here its time runs and `bytes` are held for it. */
  open(invocation: Invocation, bytes: number): void {
    this.live++;
    this.hold(invocation, bytes);
    this.wheel.set(invocation, invocation.bodyDueAt);
  }

  /** More bytes have come than were held: a body of unknown length. */
  hold(invocation: Invocation, bytes: number): void {
    invocation.heldBytes += bytes;
    invocation.fn.heldBytes += bytes;
    this.heldBytes += bytes;
    this.counters.totalHeldBytes = this.heldBytes;
    invocation.fn.counters.addGauge('heldBytes', bytes);
  }

  /** For a body of unknown length: whether what is held for it still fits. */
  overBytes(fn: FunctionState): ErrorCode | undefined {
    if (this.heldBytes > this.limits.maxQueuedBytes) return 'overloaded';
    return fn.heldBytes > fn.maxHeldBytes ? 'queue_full' : undefined;
  }

  /** Its body is complete: dispatch it, or let it wait. */
  submit(invocation: Invocation): void {
    if (invocation.state !== 'receiving') return;
    const { fn } = invocation;
    // The slot or place it was admitted for may have gone to another while its body came.
    if (!this.hasRoom(fn)) {
      this.fail(invocation, 'queue_full', 'The queue filled up while the body was received.');
      return;
    }
    const now = this.ports.now();
    if (now >= invocation.deadlineAt) {
      this.onInvocationTimer(invocation, now);
      return;
    }
    fn.counters.count('accepted');
    this.place(invocation, now);
  }

  /** A slot is free for the next, or a place in the queue. */
  hasRoom(fn: FunctionState): boolean {
    const waiting = fn.queue.length;
    return waiting < fn.maxQueued || (waiting === 0 && fn.available.withFreeSlot > 0);
  }

  /** Dispatches it or lets it wait: `hasRoom` has said yes, and its deadline is to come. */
  place(invocation: Invocation, now: number): void {
    const { fn } = invocation;
    const pod = fn.queue.length === 0 ? fn.available.best() : null;
    if (pod !== null) {
      this.dispatch(invocation, pod, now);
      return;
    }
    invocation.state = 'queued';
    invocation.queuedAt = now;
    if (invocation.observer !== null) invocation.observer.onQueued();
    fn.enqueue(invocation);
    fn.counters.addGauge('queued', 1);
    this.misses.onQueued(invocation);
  }

  // ---- dispatch ----------------------------------------------------------------------------------------------------

  private dispatch(invocation: Invocation, pod: Pod, now: number): void {
    const { fn } = invocation;
    const { counters } = fn;
    invocation.state = 'running';
    invocation.attempts++;
    invocation.dispatchedAt = now;
    invocation.pod = pod;
    invocation.lastPod = pod;
    invocation.stream = ++pod.lastStream;
    const kind = placementOf(invocation, pod);
    invocation.placement = kind;
    counters.countPlacement(kind);
    // Of those that found a free slot it is told by their count: see `histogram` there.
    if (kind !== 'warm') {
      const since = invocation.attempts === 1 ? invocation.arrivedAt : invocation.queuedAt || now;
      counters.observe(HISTOGRAM.wait, now - since);
    }
    counters.addGauge('running', 1);
    pod.running.add(invocation);
    this.pods.onLoadChanged(pod);
    if (this.ports.debug) this.ports.log(placedLine(invocation, pod, now));
    if (invocation.observer !== null) {
      this.wheel.set(invocation, invocation.attemptEndsAt);
      invocation.observer.onDispatched(invocation, pod);
    }
    pod.link?.invoke(invocation, Math.max(1, Math.floor(invocation.attemptEndsAt - now)));
  }

  /** A slot of this pod may be free: serve the head of the queue, or let the pod idle (D3). */
  serve(pod: Pod, now: number): void {
    const { fn } = pod;
    while (pod.state === 'serving' && pod.load < pod.capacity) {
      const next = fn.queue.head;
      if (next === null) break;
      if (now >= next.deadlineAt) {
        // Its timer is about to tell so (up to a tick late): nothing starts past its deadline.
        this.onInvocationTimer(next, now);
        continue;
      }
      fn.queue.remove(next);
      fn.counters.addGauge('queued', -1);
      fn.queueMovedAt = Math.floor(now);
      this.dispatch(next, pod, now);
    }
    this.pods.onLoadChanged(pod);
    if (pod.load === 0 && pod.state === 'serving') {
      pod.idleSince = Math.floor(now);
      if (pod.leaveWhenIdle && fn.queue.length === 0) {
        this.pods.drain(pod, 'nothing waits for it');
      }
    }
  }

  // ---- what the pod says of an attempt -----------------------------------------------------------------------------

  onResult(
    pod: Pod,
    stream: number,
    outcome: Outcome,
    code: string,
    message: string,
    body: Uint8Array | null,
    details?: ResultDetails,
  ): void {
    const invocation = pod.running.get(stream);
    // A late word about an attempt that was given up; its slot was freed then.
    if (invocation === undefined) return;
    const now = this.ports.now();
    this.release(invocation, pod, now);
    if (!invocation.cancelSent) pod.fn.observeService(now - invocation.dispatchedAt);
    if (invocation.state === 'ended') {
      this.wheel.clear(invocation);
    } else if (invocation.state === 'cancelling') {
      this.retries.attemptTimedOut(invocation, now);
    } else if (outcome === 'ok') {
      this.succeed(invocation, body, now);
      if (pod.cold) this.pods.onFirstResult(pod);
    } else {
      const known = codeOf(outcome, code);
      const detail = message || `The pod answered ${outcome}.`;
      if (details?.errors) invocation.faults = shownFaults(details.errors);
      this.retries.attemptFailed(invocation, known, detail, now, details);
    }
    // Its process is ending: whatever it were given now would be lost with it.
    if (code === 'function_exited') this.pods.drainingByItself(pod);
    this.serve(pod, now);
  }

  private succeed(invocation: Invocation, body: Uint8Array | null, now: number): void {
    const { reply, parts } = invocation;
    if (invocation.form === 'value') {
      reply.value(invocation, parts, body ?? NO_BODY);
    } else {
      reply.end(invocation, body);
    }
    invocation.fn.counters.count('succeeded');
    if (invocation.observer === null) this.passed.add(invocation, OK, now);
    this.ended(invocation, now);
  }

  onHead(invocation: Invocation, status: number, headers: HeaderPairs): void {
    if (invocation.state !== 'running') return;
    invocation.headed = true;
    invocation.reply.head(invocation, status, headers);
  }

  /** A piece of a result. Of a raw response it goes on to the client; of a value it is kept until all is there. */
  onChunk(pod: Pod, invocation: Invocation, bytes: Uint8Array): void {
    const { stream } = invocation;
    if (invocation.state === 'ended' || invocation.state === 'cancelling') return;
    if (invocation.form === 'raw') {
      if (invocation.method === 'HEAD') {
        this.endAtHead(invocation);
        return;
      }
      invocation.state = 'streaming';
      invocation.headed = true;
      invocation.reply.chunk(invocation, bytes, (n) => {
        if (invocation.pod === pod) pod.link?.credit(stream, n);
      });
      return;
    }
    invocation.partBytes += bytes.length;
    if (invocation.partBytes > invocation.fn.record.spec.maxResultBytes) {
      const limit = invocation.fn.record.spec.maxResultBytes;
      this.fail(invocation, 'result_too_large', `The result is over ${limit} bytes.`);
      return;
    }
    invocation.parts ??= [];
    invocation.parts.push(bytes.slice());
    pod.link?.credit(stream, bytes.length);
  }

  /** The answer to a HEAD is complete with its head; a handler that streams a body for it may go on for ever. */
  private endAtHead(invocation: Invocation): void {
    const now = this.ports.now();
    invocation.reply.end(invocation, null);
    invocation.fn.counters.count('succeeded');
    this.passed.add(invocation, OK, now);
    this.ended(invocation, now);
    this.cancelAttempt(invocation, 'cancelled', now);
  }

  // ---- ends --------------------------------------------------------------------------------------------------------

  /**
   * Ends it with an error; what still runs for it is cancelled (D1). `retryAfterSeconds`: where it is not for this to work out;
   * `isThere`: somebody hears of it.
   */
  fail(
    invocation: Invocation,
    code: ErrorCode,
    detail: string,
    retryAfterSeconds?: number,
    isThere = true,
  ): void {
    if (invocation.state === 'ended') return;
    const now = this.ports.now();
    const { state, fn } = invocation;
    if (state === 'queued') this.unqueue(invocation);
    else if (state === 'waiting') this.retries.leave(invocation);
    if (state !== 'receiving') {
      fn.counters.count(ENDS[endOf(code, modeOf(invocation))]);
      if (invocation.observer === null) this.passed.add(invocation, outcomeOf(code), now);
    }
    fn.counters.countError(code);
    if (!isRefusal(code) && !isDenial(code)) {
      this.ports.log(failedLine(invocation, code, detail, now));
    }
    this.ended(invocation, now);
    if (state === 'streaming') invocation.reply.abort(invocation);
    else if (isThere) {
      const again = isRefusal(code) || code === 'no_capacity';
      const retryAfter = again ? this.retryAfterSeconds(fn, code) : retryAfterSeconds;
      invocation.reply.fail(invocation, code, detail, retryAfter);
    }
    if (invocation.pod !== null) {
      this.cancelAttempt(invocation, code === 'timeout' ? 'timeout' : code, now);
    }
  }

  /** The client hung up. A running attempt is told; nobody reads its result. */
  clientGone(invocation: Invocation): void {
    const heard = invocation.observer !== null;
    this.fail(invocation, 'cancelled', 'The client closed its connection.', undefined, heard);
  }

  /** By request, not by its client. */
  cancel(invocation: Invocation): void {
    this.fail(invocation, 'cancelled', 'It was cancelled by request.');
  }

  /** Its body has come, and it is not to run: whoever brought it answers its client. */
  withdraw(invocation: Invocation): void {
    if (invocation.state === 'receiving') this.leave(invocation);
  }

  private unqueue(invocation: Invocation): void {
    invocation.fn.queue.remove(invocation);
    invocation.fn.counters.addGauge('queued', -1);
  }

  /** Tells its handler to let go; its pod is killed if it does not within its grace. */
  cancelAttempt(invocation: Invocation, reason: string, now: number): void {
    invocation.cancelSent = true;
    invocation.pod?.link?.cancel(invocation.stream, reason);
    this.wheel.set(invocation, now + invocation.fn.record.spec.graceMs);
  }

  private ended(invocation: Invocation, now: number): void {
    invocation.fn.counters.observe(HISTOGRAM.latency, now - invocation.arrivedAt);
    this.leave(invocation);
  }

  private leave(invocation: Invocation): void {
    invocation.state = 'ended';
    if (invocation.pod !== null) invocation.fn.counters.addGauge('lingering', 1);
    this.wheel.clear(invocation);
    this.live--;
    this.hold(invocation, -invocation.heldBytes);
    // What was held is let go even while a cancelled attempt keeps the invocation itself alive.
    if (invocation.observer === null) letGo(invocation.body);
    invocation.body = NO_BODY;
    if (invocation.parts !== null) invocation.parts.forEach(letGo);
    invocation.parts = null;
  }

  /** Frees the attempt's slot (D2). */
  private release(invocation: Invocation, pod: Pod, now: number): void {
    pod.running.delete(invocation.stream);
    pod.link?.forget(invocation.stream);
    invocation.pod = null;
    invocation.fn.counters.addGauge('running', -1);
    invocation.fn.counters.addSlotMs(now - invocation.dispatchedAt);
    if (invocation.state === 'ended') invocation.fn.counters.addGauge('lingering', -1);
  }

  /** The pod is gone, or its socket is: what ran on it is lost. */
  loseAttempts(pod: Pod, reason: string): void {
    for (const invocation of pod.running.values()) {
      this.release(invocation, pod, this.ports.now());
      if (invocation.state === 'ended') {
        this.wheel.clear(invocation);
      } else if (invocation.state === 'cancelling') {
        this.retries.attemptTimedOut(invocation, this.ports.now());
      } else {
        const detail = `Pod ${pod.id} was lost: ${reason}.`;
        this.retries.attemptFailed(invocation, 'pod_lost', detail, this.ports.now());
      }
    }
  }

  onInvocationTimer(invocation: Invocation, now: number): void {
    const ms = Math.round(now - invocation.arrivedAt);
    switch (invocation.state) {
      case 'receiving':
        this.fail(invocation, 'timeout', `Its body was not received within ${ms} ms.`);
        break;
      case 'queued':
        this.fail(invocation, 'timeout', `It waited ${ms} ms for a pod and got none.`);
        break;
      case 'waiting':
        this.retries.onDue(invocation, now);
        break;
      case 'running':
      case 'streaming':
        if (!this.retries.cancelFirst(invocation, now)) {
          this.fail(invocation, 'timeout', ranTooLong(invocation, now));
        }
        break;
      case 'cancelling':
      case 'ended': {
        const { pod } = invocation;
        const { graceMs } = invocation.fn.record.spec;
        if (pod !== null) {
          this.pods.kill(pod, `its handler held on for ${graceMs} ms after it was cancelled`);
        }
      }
    }
  }

  /** Fails everything that waits for a pod of this function. */
  failQueue(fn: FunctionState, code: ErrorCode, detail: string): void {
    for (let head = fn.queue.head; head !== null; head = fn.queue.head) {
      this.fail(head, code, detail);
    }
  }

  /** Shutting down and out of time: everything of this function that has not ended does, as `draining`. */
  giveUp(fn: FunctionState): void {
    const detail = 'The control plane shut down before the invocation ended.';
    this.failQueue(fn, 'draining', detail);
    for (let one = fn.waiting.head; one !== null; one = fn.waiting.head) {
      this.fail(one, 'draining', detail);
    }
    for (const pod of fn.pods) {
      for (const invocation of pod.running.values()) this.fail(invocation, 'draining', detail);
    }
  }
}

function placementOf(invocation: Invocation, pod: Pod): PlacementKind {
  if (pod.kind === 'job') return 'job';
  if (invocation.queuedAt === 0) return 'warm';
  if (pod.readyAt <= invocation.queuedAt) return 'waited';
  return pod.origin === null ? 'grown' : 'generic';
}

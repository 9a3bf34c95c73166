/**
 * One invocation on its way through the scheduler, and the queue it waits in.
 *
 *                       ┌── waiting ◀─┐           for its next attempt
 *                       ▼             │
 *   receiving ──▶ queued ──▶ running ─┴─▶ ended
 *       │            │          │  ▲        ▲
 *       └────────────┴──────────┴──┼────────┘     refused, timed out, cancelled, lost
 *                                  ├─ streaming: its head has gone to the client
 *                                  └─ cancelling: the attempt ran too long, and another follows once it has let go
 *
 * Invariants:
 *  I1. `reply` is told of the end exactly once: by whoever moves the state to `ended`.
 *  I2. `pod` is set from dispatch until the pod's result (or loss) frees the slot, which may be after the end: a handler
 *      that was cancelled still holds its slot.
 *  I3. Its bytes are counted in the function's and the process's held bytes from admission until its end.
 */
import type { ErrorCode } from '@simmer/protocol/errors';
import type { Form, HeaderPairs } from '@simmer/protocol/frames';
import { ANYONE, type Caller } from '../shared/caller.ts';
import type { PlacementKind } from '../shared/counters.ts';
import type { EarlierAttempt } from './executions/sync-ring.ts';
import type { FunctionState } from './function-state.ts';
import { serialOfTrace } from './ids.ts';
import type { Pod } from './pod.ts';
import type { Reply } from './reply.ts';
import { TimerNode } from './timing-wheel.ts';

export type InvocationState =
  | 'receiving'
  | 'queued'
  | 'running'
  | 'streaming'
  | 'cancelling'
  | 'waiting'
  | 'ended';

/** What an invocation asks of its core: kept apart so that the node needs no knowledge of the scheduler. */
export interface InvocationOwner {
  onInvocationTimer(invocation: Invocation, now: number): void;
}

/** Who keeps a record of an invocation's attempts. Its end is told to its `reply`. */
export interface InvocationObserver {
  onDispatched(invocation: Invocation, pod: Pod): void;
  /** An attempt failed, and the next follows after the delay (milliseconds). */
  onWaiting(code: ErrorCode, detail: string, delayMs: number): void;
  onQueued(): void;
}

export class Invocation extends TimerNode {
  readonly id: string;
  readonly fn: FunctionState;
  readonly form: Form;
  readonly method: string;
  readonly target: string;
  readonly headers: HeaderPairs;
  readonly traceparent: string;
  /** ids.ts, `copyTrace`. */
  readonly traceSerial: number;
  readonly reply: Reply;
  /** On the scheduler's clock, milliseconds. */
  readonly arrivedAt: number;
  readonly deadlineAt: number;
  state: InvocationState = 'receiving';
  body: Uint8Array;
  /** Counted in the held bytes (I3). */
  heldBytes = 0;
  /** When it found no free slot and began to wait; 0 while it never did. */
  queuedAt = 0;
  attempts = 0;
  /** Attempts that may follow the first. */
  maxRetries = 0;
  /** Who asked for it: known before it is submitted. */
  caller: Caller = ANYONE;
  /** The head of a raw response was told to `reply`: no other attempt may follow. */
  headed = false;
  /** Milliseconds that each attempt may take; 0: all of its time. */
  attemptMs = 0;
  /** Set for asynchronous ones. */
  observer: InvocationObserver | null = null;
  dispatchedAt = 0;
  /** Fields of its input or output that are wrong: JSON Pointers, and what is wrong with each. */
  faults: HeaderPairs | null = null;
  /** While it waits. */
  nextAttemptAt = 0;
  placement: PlacementKind | '' = '';
  /** Why the placement came about: the miss decision's reason, or '' for a warm slot. */
  placementReason = '';
  pod: Pod | null = null;
  /** The pod of its last attempt, which may have ended. */
  lastPod: Pod | null = null;
  /** Of a synchronous one: the attempts before its last. */
  earlier: EarlierAttempt[] | null = null;
  stream = 0;
  /** After the end: the pod is to be killed when the timer fires before the slot is free. */
  cancelSent = false;
  /** Bytes of its result that the pod may still send: what the link granted and has not received. */
  credit = 0;
  /** Pieces of a result that did not fit one frame, and their bytes. */
  parts: Uint8Array[] | null = null;
  partBytes = 0;
  // Its place in the queue, or among those that wait for their next attempt.
  prev: Invocation | null = null;
  next: Invocation | null = null;
  /** The next in its chain of `Pod.running`. */
  nextRunning: Invocation | null = null;
  private readonly owner: InvocationOwner;

  constructor(
    owner: InvocationOwner,
    id: string,
    fn: FunctionState,
    form: Form,
    method: string,
    target: string,
    headers: HeaderPairs,
    traceparent: string,
    reply: Reply,
    arrivedAt: number,
    deadlineAt: number,
  ) {
    super();
    this.owner = owner;
    this.id = id;
    this.fn = fn;
    this.form = form;
    this.method = method;
    this.target = target;
    this.headers = headers;
    this.traceparent = traceparent;
    this.traceSerial = serialOfTrace(traceparent);
    this.reply = reply;
    this.arrivedAt = arrivedAt;
    this.deadlineAt = deadlineAt;
    this.body = NO_BODY;
  }

  /** When its body is to be there: an attempt's time is what a client may take to send it. */
  get bodyDueAt(): number {
    const { attemptMs, deadlineAt } = this;
    return attemptMs === 0 ? deadlineAt : Math.min(deadlineAt, this.arrivedAt + attemptMs);
  }

  /** When the attempt that runs is to be over. */
  get attemptEndsAt(): number {
    const { attemptMs, deadlineAt } = this;
    return attemptMs === 0 ? deadlineAt : Math.min(deadlineAt, this.dispatchedAt + attemptMs);
  }

  onTimer(now: number): void {
    this.owner.onInvocationTimer(this, now);
  }
}

export const NO_BODY = new Uint8Array(0);

/** First in, first out, with removal from anywhere in O(1): callers hang up and deadlines pass in any order. */
export class InvocationQueue {
  length = 0;
  head: Invocation | null = null;
  private tail: Invocation | null = null;

  push(invocation: Invocation): void {
    invocation.prev = this.tail;
    invocation.next = null;
    if (this.tail === null) this.head = invocation;
    else this.tail.next = invocation;
    this.tail = invocation;
    this.length++;
  }

  /** The invocation must be in this queue. */
  remove(invocation: Invocation): void {
    const { prev, next } = invocation;
    if (prev === null) this.head = next;
    else prev.next = next;
    if (next === null) this.tail = prev;
    else next.prev = prev;
    invocation.prev = null;
    invocation.next = null;
    this.length--;
  }
}

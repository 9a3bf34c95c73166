/**
 * A pod as the scheduler sees it, and the set of one function's pods ordered for dispatch.
 *
 *   expected ──hello──▶ loading ──ready──▶ serving ──┬──drain──▶ draining ──▶ gone
 *       │                  │                 ▲  │    │
 *       │                  │      reconnect  │  ▼    │ socket lost
 *       └──────────────────┴────────────▶ gone  disconnected ──(no reconnect in time)──▶ gone
 *   loading, serving ──sent to the next control plane──▶ moved ──its socket closes──▶ gone
 *   serving, of a WarmPool ──claimed──▶ loading, of its function
 *
 * What a pod is (function, kind, capacity) is what the control thread or a claim said of it, never its own word.
 */
import type { PodKind } from '@simmer/protocol/backend';
import type { CloseReason } from '@simmer/protocol/frames';
import type { FunctionSource } from '@simmer/protocol/registry';
import type { Gauge } from '../shared/counters.ts';
import type { Grant } from '../shared/messages.ts';
import type { FunctionState } from './function-state.ts';
import type { Invocation } from './invocation.ts';
import { Running } from './running.ts';
import type { TimerNode } from './timing-wheel.ts';

export type PodState =
  | 'expected'
  | 'loading'
  | 'serving'
  | 'disconnected'
  | 'draining'
  | 'moved'
  | 'gone';

/** What the core needs of a pod's socket. */
export interface PodLink {
  /** Sends the attempt: `invoke`, and for a large body the pieces that follow under credit. */
  invoke(invocation: Invocation, budgetMs: number): void;
  cancel(stream: number, reason: string): void;
  credit(stream: number, bytes: number): void;
  /** The attempt has ended here: forget what was still to be sent for it. */
  forget(stream: number): void;
  /** Become the function that the pod is of now: `specialize`, and its code. */
  specialize(session: string): void;
  drain(graceMs: number): void;
  goaway(address: string, session: string): void;
  close(reason: CloseReason): void;
}

export interface PodOwner {
  onPodTimer(pod: Pod, now: number): void;
}

export class Pod extends Running implements TimerNode {
  /** Changes once at most: when a generic pod is claimed (claims.ts). */
  fn: FunctionState;
  state: PodState = 'expected';
  link: PodLink | null = null;
  /** Attempts of earlier sockets that it still runs (they hold slots too). */
  orphans = 0;
  /** Attempts at once. */
  capacity: number;
  /** The stream of its last attempt on this socket. */
  lastStream = 0;
  // Its place in PodSet: its bucket, and below its neighbours there.
  bucket = -1;
  /** The gauge it is counted in; '' before it is counted and once it is gone. */
  counted: Gauge | '' = '';
  /** On the scheduler's clock, whole milliseconds: a field that holds a fraction is an object of its own. */
  idleSince = 0;
  /** Its first result is still to come, and will be observed as the cold start's last phase. */
  cold = true;
  /** Drain it as soon as it idles and nothing waits: Jobs, and pods of a deleted function. */
  leaveWhenIdle: boolean;
  prev: Pod | null = null;
  next: Pod | null = null;
  readonly kind: PodKind;
  readonly id: string;
  readonly backend: string;
  revision: string;
  /** Epoch milliseconds of its launch, as the control thread gave it, or of its claim; and of its process's start. */
  launchedAt: number;
  startedAt = 0;
  /** An earlier control plane launched it: its start says nothing of how long one takes. */
  adopted = false;
  /** Its code, where it gets that over its socket. */
  source: FunctionSource | undefined;
  /** It was killed, and its process may still run, until its exit is told or this time comes. 0: nothing says that it does. */
  mayRunUntil = 0;
  /** On the scheduler's clock. */
  helloAt = 0;
  readyAt = 0;
  /** The WarmPool that it comes from, where it was claimed. */
  origin: FunctionState | null = null;
  /** What it is given with its code, until it is ready. */
  grant: Grant | null = null;
  private readonly owner: PodOwner;
  // Behind what every call touches, where a base class would put them before it.
  timerDue = 0;
  timerPrev: TimerNode | null = null;
  timerNext: TimerNode | null = null;
  timerBucket = -1;

  constructor(
    owner: PodOwner,
    id: string,
    kind: PodKind,
    backend: string,
    fn: FunctionState,
    revision: string,
    capacity: number,
    launchedAt: number,
  ) {
    super();
    this.owner = owner;
    this.id = id;
    this.kind = kind;
    this.backend = backend;
    this.fn = fn;
    this.revision = revision;
    this.capacity = capacity;
    this.launchedAt = launchedAt;
    this.leaveWhenIdle = kind === 'job';
  }

  /** Attempts by stream. */
  get running(): Running {
    return this;
  }

  /** Slots in use. */
  get load(): number {
    return this.size + this.orphans;
  }

  onTimer(now: number): void {
    this.owner.onPodTimer(this, now);
  }
}

/**
 * The serving pods of one function that have a free slot, by load: bucket n holds those that run n attempts, most
 * recently used first. Taking the best pod, and moving one when its load changes, are O(1) but for the walk past empty
 * buckets, at most the concurrency.
 *
 * A function is one (function-state.ts), rather than has one, for the reason that a pod is a Running.
 *
 * Invariants:
 *  S1. A pod is in here exactly while it is serving and load < capacity, in bucket `load`.
 *  S2. Within a bucket the head was used last, so the rest may cool down and be retired.
 *  S3. Until two pods had a free slot at once there are no buckets, but `only`: most functions never have two, and the list of
 *      buckets is two cache lines more.
 */
export class PodSet {
  private only: Pod | null = null;
  private count = 0;
  /** Head and tail of bucket n at 2n and 2n + 1: side by side, as both are touched whenever a load changes. */
  private ends: (Pod | null)[] | null = null;
  /** No pod is in a bucket below this. */
  private lowest = 0;

  /** Pods with a free slot. */
  get withFreeSlot(): number {
    return this.count;
  }

  /** The most recently used idle pod, or the least loaded one (the most recently used among equals). */
  best(): Pod | null {
    const { ends } = this;
    if (ends === null || this.count === 0) return this.only;
    while (ends[2 * this.lowest] === null) this.lowest++;
    return ends[2 * this.lowest] as Pod;
  }

  /** The idle pod that was used longest ago. */
  leastRecentlyUsedIdle(): Pod | null {
    if (this.ends === null) return this.only?.bucket === 0 ? this.only : null;
    return this.ends[1] as Pod | null;
  }

  /** Puts the pod where its state and load say (S1), as its bucket's most recently used. */
  place(pod: Pod): void {
    const bucket = pod.state === 'serving' && pod.load < pod.capacity ? pod.load : -1;
    if (this.ends === null) {
      const { only } = this;
      if (only === null || only === pod) {
        pod.bucket = bucket;
        this.only = bucket === -1 ? null : pod;
        this.count = bucket === -1 ? 0 : 1;
        return;
      }
      if (bucket === -1) return;
      this.only = null;
      this.ends = [null, null];
      this.link(this.ends, only);
    } else if (pod.bucket !== -1) {
      this.unlink(this.ends, pod);
      this.count--;
    }
    pod.bucket = bucket;
    if (bucket === -1) return;
    this.link(this.ends, pod);
    this.count++;
  }

  private link(ends: (Pod | null)[], pod: Pod): void {
    const { bucket } = pod;
    while (ends.length <= 2 * bucket) ends.push(null, null);
    const head = ends[2 * bucket] as Pod | null;
    pod.prev = null;
    pod.next = head;
    if (head === null) ends[2 * bucket + 1] = pod;
    else head.prev = pod;
    ends[2 * bucket] = pod;
    if (bucket < this.lowest) this.lowest = bucket;
  }

  private unlink(ends: (Pod | null)[], pod: Pod): void {
    const { bucket, prev, next } = pod;
    if (prev === null) ends[2 * bucket] = next;
    else prev.next = next;
    if (next === null) ends[2 * bucket + 1] = prev;
    else next.prev = prev;
    pod.prev = null;
    pod.next = null;
  }
}

/**
 * All that the scheduler keeps for one function. Nothing on the warm path is shared between functions but the table
 * that finds them and the process-wide bytes, so that functions can be spread over threads later.
 */

import type { Welcome } from '@simmer/protocol/frames';
import { warmPoolName } from '@simmer/protocol/names';
import type { FunctionCounters } from '../shared/counters.ts';
import type { FunctionRecord } from '../shared/messages.ts';
import { bucketFor, type TokenBucket } from './access/token-bucket.ts';
import { type Invocation, InvocationQueue } from './invocation.ts';
import { type Pod, PodSet } from './pod.ts';
import type { TimerNode } from './timing-wheel.ts';

/** Weight of the newest observation in the moving averages: about the last twenty count. */
const NEWEST = 0.1;
/** What a cold start is taken to last before the first was seen. */
const FIRST_COLD_START_MS = 200;

/** That of all functions for which nothing has waited yet: a queue each, to see that it is empty, would be a cache line each. */
const NO_QUEUE = new InvocationQueue();

/** Launches are suspended: the control thread refused one. */
export interface LaunchHold {
  /** On the scheduler's clock. */
  readonly until: number;
  readonly reason: string;
  /** With no pod in sight, waiting is of no use. */
  readonly hopeless: boolean;
}

export interface FunctionOwner {
  onFunctionTimer(fn: FunctionState, now: number): void;
}

type Schemas = Pick<Welcome, 'inputSchema' | 'outputSchema'>;

function writtenSchemas({ inputSchema, outputSchema }: FunctionRecord['spec']): Schemas {
  return {
    ...(inputSchema && { inputSchema: JSON.stringify(inputSchema) }),
    ...(outputSchema && { outputSchema: JSON.stringify(outputSchema) }),
  };
}

export class FunctionState extends PodSet implements TimerNode {
  // What every invocation touches stands together, here and in Pod: a thousand functions called in turn are so many cache lines.
  /** Replaced by a block of its own when the function is deleted: the shared one may go to another function. */
  counters: FunctionCounters;
  /** Its own from when an invocation first waits (`enqueue`). */
  queue = NO_QUEUE;
  /** Bytes of all bodies held: received, waiting, running. */
  heldBytes = 0;
  /** Its pods belong to another control plane now (send-off.ts). */
  sentOn = false;
  /**
   * Slots of pods that serve, pods on their way (launched or redialling), pool pods and Jobs that are either: kept
   * beside `pods` because every miss asks. Maintained by pod-lifecycle.ts alone.
   */
  servingSlots = 0;
  comingPods = 0;
  /** -1 before the first attempt ended. Whole microseconds: a field that holds a fraction is an object of its own. */
  private averageServiceUs = -1;
  /** What every invocation asks of the spec, without its three objects. */
  timeoutMs = 0;
  maxRequestBytes = 0;
  maxQueued = 0;
  maxHeldBytes = 0;
  maxRetries = 0;
  /** Of `spec.rateLimit`; null: no limit. */
  bucket: TokenBucket | null = null;
  /** Sum of when those on their way were launched, epoch milliseconds. */
  comingLaunchedAt = 0;
  poolPods = 0;
  jobs = 0;
  readonly key: string;
  /** A WarmPool: its pods are ready as soon as they are connected, and get no invocation. */
  readonly generic: boolean;
  private current: FunctionRecord;
  private writtenSchemas: Schemas | null = null;
  /** Every pod that is not gone. */
  readonly pods = new Set<Pod>();
  deleted = false;
  /** Invocations that wait for their next attempt. */
  readonly waiting = new InvocationQueue();
  /** Launches asked for and not yet answered by `pod-expected` or `launch-refused`. */
  orderedPods = 0;
  orderedJobs = 0;
  coldStartMs = FIRST_COLD_START_MS;
  private coldStarts = 0;
  /** When the queue's head last got a slot; whole milliseconds. */
  queueMovedAt = 0;
  holds: { pool: LaunchHold | null; job: LaunchHold | null } = { pool: null, job: null };
  private readonly owner: FunctionOwner;
  // As in Pod.
  timerDue = 0;
  timerPrev: TimerNode | null = null;
  timerNext: TimerNode | null = null;
  timerBucket = -1;

  constructor(owner: FunctionOwner, record: FunctionRecord, counters: FunctionCounters) {
    super();
    this.owner = owner;
    this.key = record.key;
    this.generic = warmPoolName(record.key) !== undefined;
    this.current = record;
    this.record = record;
    this.counters = counters;
  }

  /** Its pods that have a free slot. */
  get available(): PodSet {
    return this;
  }

  enqueue(invocation: Invocation): void {
    if (this.queue === NO_QUEUE) this.queue = new InvocationQueue();
    this.queue.push(invocation);
  }

  get record(): FunctionRecord {
    return this.current;
  }

  set record(record: FunctionRecord) {
    const { spec } = record;
    this.current = record;
    this.writtenSchemas = null;
    this.timeoutMs = spec.timeoutMs;
    this.maxRequestBytes = spec.maxRequestBytes;
    this.maxQueued = spec.queue.maxLength;
    this.maxHeldBytes = spec.queue.maxBytes;
    this.maxRetries = spec.retry.maxRetries;
    this.bucket = bucketFor(spec.rateLimit ?? null, this.bucket);
  }

  /** As a `welcome` holds them: written once, for a thousand pods may come. */
  get schemas(): Schemas {
    this.writtenSchemas ??= writtenSchemas(this.current.spec);
    return this.writtenSchemas;
  }

  /** Moving average of an attempt's time on a pod, milliseconds; undefined before the first ended. */
  get serviceMs(): number | undefined {
    return this.averageServiceUs >= 0 ? this.averageServiceUs / 1000 : undefined;
  }

  observeService(ms: number): void {
    const us = ms * 1000;
    const known = this.averageServiceUs;
    this.averageServiceUs = Math.round(known >= 0 ? known + NEWEST * (us - known) : us);
  }

  observeColdStart(ms: number): void {
    // Nothing is known before the first: pods that take a second would be launched as if they took a fifth of one.
    this.coldStartMs += (this.coldStarts++ === 0 ? 1 : NEWEST) * (ms - this.coldStartMs);
  }

  onTimer(now: number): void {
    this.owner.onFunctionTimer(this, now);
  }
}

/**
 * One function's pods and queue: what its calls meet. Driven by its calls, in the order of their time; what happened between two
 * of them (calls that ended, pods that got ready, what the scaler does) is caught up with first.
 *
 * As in the scheduler: a call takes the pod that was used last of those that idle, else a free slot of the least loaded, else
 * it waits in line; who waits is served by whatever slot is free first. How many pods there are is the scaler's business.
 *
 * Invariants:
 *  1. Events of one function happen in the order of their times; at the same time ends of calls come first.
 *  2. A call is cold if the first pod that could serve it became ready after it came, and it waited for that.
 *  3. A pod idles when it is ready and runs nothing; a pod that starts does not count as idle.
 */
import { Deque, TimeHeap } from './collections.ts';
import type { Totals } from './totals.ts';

/** Decides how many pods a function has. Told what happens to it, at its time. */
export interface Scaler {
  /** When `fire` is to be called; Infinity: never. */
  nextAt: number;
  fire(pods: FunctionPods): void;
  /** A call comes; `idleMs` where nothing was running. */
  called(pods: FunctionPods, idleMs: number | undefined): void;
  /** Calls wait, and no slot is free. */
  missed(pods: FunctionPods): void;
  /** A pod has nothing to do now. */
  rested(pods: FunctionPods): void;
}

/** Gives a pod for a function that has none; undefined: it must be started. */
export interface Reserve {
  /** From the claim until it serves, milliseconds. */
  claim(now: number): number | undefined;
}

/** While something waits, its function is looked at this often, as the scheduler does. */
const RECHECK_MS = 50;
/** Weight of a new call in the moving average of service times. */
const SERVICE_WEIGHT = 0.1;

export class FunctionPods {
  now = 0;
  /** Ready; and on their way. */
  live = 0;
  /** Calls that run. */
  running = 0;
  /** Since when nothing ran; undefined before the first call and while something does. */
  idleSince: number | undefined;
  serviceMs: number | undefined;
  readonly concurrency: number;
  readonly coldStartMs: number;
  readonly totals: Totals;
  private readonly scaler: Scaler;
  private readonly reserve: Reserve | undefined;
  private readonly starting = new TimeHeap();
  private readonly ends = new TimeHeap();
  /** Numbers of pods that idle: by when they began to, for the one that was used last is used next. */
  private readonly idle = new Deque();
  private readonly restedAt: number[] = [];
  private readonly load: number[] = [];
  /** With concurrency over 1: pods that run something and have a free slot. */
  private readonly partial: number[] = [];
  private readonly freeNumbers: number[] = [];
  private readonly waiting = new Deque();
  private readonly waitingService = new Deque();
  private recheckAt = Number.POSITIVE_INFINITY;
  private idleCountedTo = 0;
  private servedAt = 0;

  constructor(
    options: { readonly concurrency: number; readonly coldStartMs: number },
    scaler: Scaler,
    totals: Totals,
    reserve: Reserve | undefined,
  ) {
    this.concurrency = options.concurrency;
    this.coldStartMs = options.coldStartMs;
    this.scaler = scaler;
    this.totals = totals;
    this.reserve = reserve;
  }

  get coming(): number {
    return this.starting.length;
  }

  get idling(): number {
    return this.idle.length;
  }

  get queued(): number {
    return this.waiting.length;
  }

  /** How long the first in line has waited. */
  get headWaitMs(): number {
    return this.waiting.length === 0 ? 0 : this.now - this.waiting.first();
  }

  /** For how long it has waited and none has got a slot. */
  get stalledMs(): number {
    return Math.min(this.headWaitMs, this.now - this.servedAt);
  }

  /** When the pod that idles longest began to. */
  get longestIdleSince(): number {
    return this.restedAt[this.idle.first()] as number;
  }

  // ---- what comes ----------------------------------------------------------------------------------------------------

  call(at: number, serviceMs: number): void {
    this.advance(at);
    this.now = at;
    this.totals.calls++;
    const idleMs = this.idleSince === undefined ? undefined : at - this.idleSince;
    this.idleSince = undefined;
    this.scaler.called(this, idleMs);
    const pod = this.slot();
    if (pod >= 0) {
      this.run(pod, serviceMs);
      this.totals.waited(0, false);
    } else {
      this.waiting.push(at);
      this.waitingService.push(serviceMs);
      this.miss();
    }
  }

  /** Whatever happens until then. */
  advance(to: number): void {
    const { ends, starting, scaler } = this;
    for (;;) {
      const next = Math.min(ends.top, starting.top, scaler.nextAt, this.recheckAt);
      if (next > to) break;
      if (next > this.now) this.now = next;
      if (ends.top <= next) this.ended();
      else if (starting.top <= next) this.ready();
      else if (this.recheckAt <= next) this.recheck();
      else scaler.fire(this);
    }
  }

  finish(at: number): void {
    this.advance(at);
    this.now = at;
    this.countIdle();
  }

  // ---- what the scaler may do ------------------------------------------------------------------------------------------

  /** `needed`: a call waits for it, and a generic pod may be claimed instead. */
  launch(count: number, needed: boolean): void {
    for (let i = 0; i < count; i++) {
      const claimed = needed ? this.reserve?.claim(this.now) : undefined;
      if (claimed === undefined) this.totals.launched++;
      else this.totals.claimed++;
      this.starting.push(this.now + (claimed ?? this.coldStartMs), 0);
    }
  }

  /** Those that idle longest leave. */
  retire(count: number): void {
    this.countIdle();
    for (let i = Math.min(count, this.idle.length); i > 0; i--) {
      this.freeNumbers.push(this.idle.shift());
      this.live--;
    }
  }

  // ---- events ------------------------------------------------------------------------------------------------------------

  private ended(): void {
    const pod = this.ends.pop();
    this.running--;
    const load = (this.load[pod] as number) - 1;
    this.load[pod] = load;
    if (this.waiting.length > 0) {
      this.serveHead(pod, false);
      return;
    }
    if (load === 0) {
      if (this.concurrency > 1) this.removePartial(pod);
      this.rest(pod);
    } else if (load === this.concurrency - 1) this.partial.push(pod);
  }

  private ready(): void {
    this.starting.pop();
    this.live++;
    const pod = this.freeNumbers.pop() ?? this.load.length;
    this.load[pod] = 0;
    while (this.waiting.length > 0 && (this.load[pod] as number) < this.concurrency) {
      this.serveHead(pod, true);
    }
    const load = this.load[pod] as number;
    if (load === 0) this.rest(pod);
    else if (load < this.concurrency) this.partial.push(pod);
  }

  private rest(pod: number): void {
    this.countIdle();
    this.restedAt[pod] = this.now;
    this.idle.push(pod);
    if (this.running === 0 && this.waiting.length === 0) this.idleSince ??= this.now;
    this.scaler.rested(this);
  }

  private serveHead(pod: number, cold: boolean): void {
    this.totals.waited(this.now - this.waiting.shift(), cold);
    const serviceMs = this.waitingService.shift();
    this.servedAt = this.now;
    if (this.waiting.length === 0) this.recheckAt = Number.POSITIVE_INFINITY;
    this.run(pod, serviceMs);
  }

  private run(pod: number, serviceMs: number): void {
    this.running++;
    this.load[pod] = (this.load[pod] as number) + 1;
    this.ends.push(this.now + serviceMs, pod);
    this.totals.runPodMs += serviceMs / this.concurrency;
    const known = this.serviceMs;
    this.serviceMs = known === undefined ? serviceMs : known + SERVICE_WEIGHT * (serviceMs - known);
  }

  /** A pod with a free slot, taken out of where it was; -1: none. */
  private slot(): number {
    if (this.idle.length > 0) {
      this.countIdle();
      const pod = this.idle.pop();
      if (this.concurrency > 1) this.partial.push(pod);
      return pod;
    }
    if (this.partial.length === 0) return -1;
    let best = 0;
    for (let i = 1; i < this.partial.length; i++) {
      if (this.loadOf(i) < this.loadOf(best)) best = i;
    }
    const pod = this.partial[best] as number;
    if ((this.load[pod] as number) === this.concurrency - 1) this.removePartial(pod);
    return pod;
  }

  private loadOf(index: number): number {
    return this.load[this.partial[index] as number] as number;
  }

  private removePartial(pod: number): void {
    const at = this.partial.indexOf(pod);
    const last = this.partial.pop() as number;
    if (at < this.partial.length) this.partial[at] = last;
  }

  private miss(): void {
    this.scaler.missed(this);
    if (this.waiting.length > 0) this.recheckAt = this.now + RECHECK_MS;
  }

  private recheck(): void {
    // With enough on their way there is nothing to decide until one arrives.
    if (this.starting.length * this.concurrency >= this.waiting.length) {
      this.recheckAt = this.starting.top + RECHECK_MS;
    } else this.miss();
  }

  private countIdle(): void {
    this.totals.idlePodMs += this.idle.length * (this.now - this.idleCountedTo);
    this.idleCountedTo = this.now;
  }
}

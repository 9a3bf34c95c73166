/**
 * A pool as sizing sees it, by a fake clock: calls that arrive, wait, take a slot and end; pods that take a cold start to
 * come; the scheduler's own policy for misses; and the sizing policy, sampled each second. What is measured is exact.
 */

import {
  decideSize,
  newSizing,
  type SizingDecision,
  type SizingSettings,
} from '@simmer/control-plane/dist/control/sizing/desired.js';
import { fixedKeepAlive } from '@simmer/control-plane/dist/control/sizing/keep-alive/fixed.js';
import { decideMiss, NO_GENERIC_PODS } from '@simmer/control-plane/dist/scheduler/placement.js';

const SAMPLE_MS = 1_000;
/** As the scheduler's: before the first was measured, and weight of the newest. */
const FIRST_COLD_START_MS = 200;
const NEWEST = 0.1;

export const SETTINGS: SizingSettings = {
  minReplicas: 0,
  maxReplicas: 60,
  scaled: false,
  claims: false,
  concurrency: 1,
  targetUtilization: 0.8,
  stableWindowMs: 60_000,
  scaleDownDelayMs: 60_000,
};

export interface PoolModel {
  readonly arrivals: readonly number[];
  readonly durationMs: number;
  readonly serviceMs: number;
  readonly coldStartMs: number;
  /** Launches at once; the rest wait for their turn. */
  readonly launchesAtOnce: number;
  readonly settings?: Partial<SizingSettings>;
  readonly keepAliveMs: number;
}

export interface Outcome {
  /** For each second: pods that existed, on average, and what was decided at its end. */
  readonly pods: readonly number[];
  readonly decisions: readonly SizingDecision[];
  /** Of each call, in the order of arrival, milliseconds. */
  readonly waits: readonly number[];
  /** Of each pod, order to ready, milliseconds. */
  readonly coldStarts: readonly number[];
  readonly retired: number;
}

interface ModelPod {
  readonly orderedAt: number;
  readonly readyAt: number;
  busyUntil: number;
  /** When it last had work, or was ready. */
  usedAt: number;
}

/** In steps of a millisecond, a sample each second. */
export class PoolRun {
  private readonly model: PoolModel;
  private readonly settings: SizingSettings;
  private readonly state = newSizing(0, 0);
  private readonly keepAlive = fixedKeepAlive.of('f');
  private pods: ModelPod[] = [];
  /** When those were ordered that wait for their turn to be launched. */
  private ordered: number[] = [];
  /** As the scheduler measures it: order to ready. */
  private coldStartMs = FIRST_COLD_START_MS;
  private readonly queue: number[] = [];
  private arrived = 0;
  private grown = 0;
  private ended = false;
  private queueMovedAt = 0;
  private now = 0;
  private readonly outcome = {
    pods: [] as number[],
    decisions: [] as SizingDecision[],
    waits: [] as number[],
    coldStarts: [] as number[],
    retired: 0,
  };

  constructor(model: PoolModel) {
    this.model = model;
    this.settings = { ...SETTINGS, ...model.settings };
  }

  run(): Outcome {
    const { arrivals, durationMs } = this.model;
    let podMs = 0;
    for (this.now = 0; this.now < durationMs || this.queue.length > 0; this.now++) {
      while ((arrivals[this.arrived] ?? Number.POSITIVE_INFINITY) < this.now + 1) {
        this.queue.push(arrivals[this.arrived++] as number);
      }
      for (const { readyAt, orderedAt } of this.pods) {
        if (readyAt !== this.now) continue;
        const weight = this.outcome.coldStarts.length === 0 ? 1 : NEWEST;
        this.outcome.coldStarts.push(readyAt - orderedAt);
        this.coldStartMs += weight * (readyAt - orderedAt - this.coldStartMs);
      }
      this.serve();
      this.miss();
      this.launch();
      podMs += this.pods.length;
      if (this.now % SAMPLE_MS !== SAMPLE_MS - 1) continue;
      this.outcome.pods.push(podMs / SAMPLE_MS);
      podMs = 0;
      this.size();
    }
    return this.outcome;
  }

  private ready(): ModelPod[] {
    return this.pods.filter((pod) => pod.readyAt <= this.now);
  }

  /** Most recently used first. */
  private idle(): ModelPod[] {
    return this.ready()
      .filter((pod) => pod.busyUntil <= this.now)
      .sort((a, b) => b.usedAt - a.usedAt);
  }

  private serve(): void {
    if (this.queue.length === 0) return;
    for (const pod of this.idle()) {
      const at = this.queue.shift();
      if (at === undefined) return;
      if (pod.busyUntil > 0) this.ended = true;
      if (at < this.now) this.queueMovedAt = this.now;
      this.outcome.waits.push(Math.max(0, this.now - at));
      pod.busyUntil = this.now + this.model.serviceMs;
      pod.usedAt = pod.busyUntil;
    }
  }

  private miss(): void {
    if (this.queue.length === 0) return;
    const serving = this.ready().length;
    const all = this.pods.length + this.ordered.length;
    const head = this.queue[0] as number;
    const decision = decideMiss({
      queued: this.queue.length,
      headWaitMs: this.now - head,
      timeoutMs: 30_000,
      stalledMs: this.now - Math.max(head, this.queueMovedAt),
      servingSlots: serving,
      comingSlots: all - serving,
      slotsPerPod: 1,
      poolPods: all,
      maxPods: this.settings.maxReplicas,
      jobs: 0,
      maxJobs: 0,
      serviceMs: this.serviceMs(),
      coldStartMs: this.coldStartMs,
      comingForMs: this.comingForMs(),
      generic: NO_GENERIC_PODS,
    });
    if (decision.kind !== 'grow') return;
    this.order(decision.pods);
    this.grown = this.pods.length + this.ordered.length;
  }

  private comingForMs(): number {
    const starting = this.pods.filter((pod) => pod.readyAt > this.now).map((p) => p.orderedAt);
    const coming = [...starting, ...this.ordered];
    return coming.reduce((sum, at) => sum + this.now - at, 0) / Math.max(1, coming.length);
  }

  private order(count: number): void {
    for (let i = 0; i < count; i++) this.ordered.push(this.now);
  }

  private launch(): void {
    let starting = this.pods.length - this.ready().length;
    while (this.ordered.length > 0 && starting < this.model.launchesAtOnce) {
      const readyAt = this.now + this.model.coldStartMs;
      this.pods.push({
        readyAt,
        orderedAt: this.ordered.shift() as number,
        busyUntil: 0,
        usedAt: readyAt,
      });
      starting++;
    }
  }

  private size(): void {
    const { coldStartMs } = this;
    const { keepAliveMs } = this.model;
    const queued = this.queue.length;
    const decision = decideSize(
      this.state,
      {
        now: this.now + 1,
        arrivals: this.arrived,
        running: this.pods.filter((pod) => pod.busyUntil > this.now).length,
        queued,
        serviceMs: this.serviceMs(),
        pods: this.pods.length + (queued > 0 ? this.ordered.length : 0),
        ready: this.ready().length,
        grown: this.grown,
        traits: { keepAliveMs, coldStartMs, memoryMib: 64 },
      },
      this.settings,
      this.keepAlive,
    );
    this.outcome.decisions.push(decision);
    this.grown = 0;
    const room = Math.max(0, decision.desired - this.pods.length);
    if (queued === 0) this.ordered.length = Math.min(this.ordered.length, room);
    this.order(Math.max(0, decision.ahead - this.pods.length - this.ordered.length));
    const excess = Math.max(0, this.ready().length - decision.desired);
    const leaving = this.idle()
      .filter((pod) => this.now - pod.usedAt >= decision.idleMs)
      .reverse()
      .slice(0, excess);
    this.outcome.retired += leaving.length;
    this.pods = this.pods.filter((pod) => !leaving.includes(pod));
  }

  private serviceMs(): number | undefined {
    return this.ended ? this.model.serviceMs : undefined;
  }
}

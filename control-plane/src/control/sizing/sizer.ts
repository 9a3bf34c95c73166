/**
 * Decides each pool's size: reads what the scheduler counted of its function, and asks the policy (desired.ts). Cheap where
 * nothing happens: a function that rests costs a few reads.
 *
 * Invariants:
 *  Z1. Nothing is decided for a function whose counters are shared with others: its load is not known.
 *  Z2. A pool whose decision cannot have changed is not decided for again.
 *  Z3. What callers ordered of a WarmPool is on top of what it keeps ready: it will be claimed as soon as it is there.
 */
import type { WarmPoolSettings } from '@simmer/protocol/warm-pool';
import type { FunctionCounters } from '../../shared/counters.ts';
import {
  claimedFrom,
  isComing,
  isLive,
  type Pod,
  type Pool,
  type PoolSize,
} from '../pools/pool.ts';
import type { CounterSlots } from '../pools/slots.ts';
import {
  decideSize,
  explain,
  newSizing,
  type SizingSample,
  type SizingSettings,
  type SizingState,
} from './desired.ts';
import { KeepAlives, podMib } from './keep-alives.ts';
import { decideRefill, explainRefill, newRefill, type RefillState } from './refill.ts';

/** A panic window is six of them. */
export const SAMPLE_MS = 1_000;
/** What a call takes is averaged over about so long. */
const SERVICE_WINDOW_MS = 60_000;
/** As the scheduler's: before the first was measured, and weight of the newest. */
const FIRST_COLD_START_MS = 200;
const NEWEST = 0.3;

/** What is known of one pool. */
interface Known {
  readonly counters: FunctionCounters;
  readonly state: SizingState;
  registered: Pool['registered'];
  at: number;
  arrivals: number;
  pods: number;
  /** Attempts that have let their slot go, and the milliseconds for which they had it; both fade. */
  ended: number;
  slotMs: number;
  endedBefore: number;
  slotMsBefore: number;
  coldStarts: number;
  coldStartSumMs: number;
  coldStartMs: number;
  /** Its idle pods were given up for others'; until it is called again. */
  evicted: boolean;
}

export class Sizer {
  private readonly slots: CounterSlots;
  private readonly known = new Map<Pool, Known>();
  private readonly refills = new Map<Pool, RefillState>();
  private readonly keepAlives: KeepAlives;

  /** `idleBytes`: memory that idle pods of one namespace may hold; 0: no bound. */
  constructor(slots: CounterSlots, idleBytes: number) {
    this.slots = slots;
    this.keepAlives = new KeepAlives(idleBytes);
  }

  /** Decides for all of them. Those that need a look: their size changed, or is not what they have. */
  sampleAll(pools: Iterable<Pool>, now: number): readonly Pool[] {
    const due: Pool[] = [];
    const idle = new Map<Pool, number>();
    for (const pool of pools) {
      if (this.sample(pool, now)) due.push(pool);
      if (!this.keepAlives.hasBudget) continue;
      const spare = this.spareOf(pool);
      if (spare > 0) idle.set(pool, spare);
    }
    for (const pool of this.keepAlives.evict(idle)) {
      (this.known.get(pool) as Known).evicted = true;
      pool.size = evictedSize(pool);
      due.push(pool);
    }
    return due;
  }

  /** Pods over its minimum that nothing needs: its function idles. */
  private spareOf(pool: Pool): number {
    const known = this.known.get(pool);
    if (known === undefined || known.evicted || known.state.activity.state !== 'idle') return 0;
    let ready = 0;
    for (const pod of pool.pods.values()) if (isLive(pod) && pod.phase.name === 'ready') ready++;
    return ready - pool.registered.manifest.spec.minReplicas;
  }

  private sample(pool: Pool, now: number): boolean {
    if (pool.registered.pool !== undefined) return this.refill(pool, pool.registered.pool, now);
    const known = this.of(pool, now);
    if (known === undefined) return false;
    const { counters } = known;
    const arrivals = counters.counter('accepted') + counters.counter('retries');
    const running = counters.gauge('running');
    const queued = counters.gauge('queued');
    const before = pool.size;
    const live = [...pool.pods.values()].filter(isLive);
    const rests =
      before !== undefined &&
      now < before.wakeAt &&
      arrivals === known.arrivals &&
      running === 0 &&
      queued === 0 &&
      pool.grown === 0 &&
      live.length === known.pods &&
      pool.registered === known.registered;
    if (rests) return live.length > before.desired; // Z2
    this.observe(known, running, now);
    // What a miss asked for and nobody waits for any more is not there before it is launched.
    const pods = queued > 0 ? live : live.filter((pod) => pod.phase.name !== 'queued');
    const sample: SizingSample = {
      now,
      arrivals,
      running,
      queued,
      serviceMs: known.slotMs > 0 ? known.slotMs / known.ended : undefined,
      pods: pods.length,
      ready: live.filter((pod) => pod.phase.name === 'ready').length,
      grown: pool.grown,
      traits: {
        keepAliveMs: pool.registered.manifest.spec.keepAliveMs,
        coldStartMs: known.coldStartMs,
        memoryMib: podMib(pool),
      },
    };
    if (arrivals !== known.arrivals || running > 0 || queued > 0) known.evicted = false;
    Object.assign(known, { registered: pool.registered, at: now, arrivals, pods: live.length });
    const settings = settingsOf(pool);
    const decision = decideSize(known.state, sample, settings, this.keepAlives.of(pool));
    const size: PoolSize = { ...decision, explain: () => explain(decision, settings) };
    pool.size = known.evicted ? evictedSize(pool) : size;
    pool.grown = 0;
    const { desired, ahead } = pool.size;
    return desired !== before?.desired || ahead > live.length || live.length > desired;
  }

  forget(pool: Pool): void {
    this.keepAlives.forget(pool);
    this.known.delete(pool);
    this.refills.delete(pool);
    pool.size = undefined;
  }

  private refill(pool: Pool, { idle }: WarmPoolSettings, now: number): boolean {
    let state = this.refills.get(pool);
    if (state === undefined) {
      state = newRefill(now - SAMPLE_MS, 0);
      this.refills.set(pool, state);
    }
    const { minReplicas, maxReplicas } = pool.registered.manifest.spec;
    const live = [...pool.pods.values()].filter(isLive);
    const ordered = live.filter((pod: Pod) => pod.needed && isComing(pod)).length; // Z3
    const cold = this.slots.countersOf(pool.slot)?.total('ready');
    const settings = {
      ...{ minReplicas, maxReplicas: maxReplicas - ordered },
      idle: idle ?? minReplicas,
      scaled: pool.registered.scaledBy !== undefined,
    };
    const sample = {
      ...{ now, claims: pool.claims, claimed: claimedFrom(pool) },
      unclaimed: live.length - ordered,
      coldStartMs:
        cold !== undefined && cold.count > 0 ? cold.sumMs / cold.count : FIRST_COLD_START_MS,
    };
    const decision = decideRefill(state, sample, settings);
    const desired = decision.desired + ordered;
    pool.size = {
      ...{ desired, decidedBy: decision.decidedBy, idleMs: 0, wakeAt: now },
      ahead: Math.min(desired, live.length + decision.launch),
      explain: () => explainRefill(decision, { ...settings, maxReplicas }),
    };
    pool.grown = 0;
    return decision.launch > 0 || live.length > desired;
  }

  private of(pool: Pool, now: number): Known | undefined {
    const known = this.known.get(pool);
    if (known !== undefined) return known;
    const counters = this.slots.countersOf(pool.slot);
    if (counters === undefined) return undefined; // Z1
    const fresh: Known = {
      counters,
      // What was called before this first look is load, too.
      state: newSizing(now - SAMPLE_MS, 0),
      registered: pool.registered,
      ...{ at: now - SAMPLE_MS, arrivals: 0, pods: 0 },
      ...{ ended: 0, slotMs: 0, endedBefore: 0, slotMsBefore: 0 },
      ...{ coldStarts: 0, coldStartSumMs: 0, coldStartMs: FIRST_COLD_START_MS },
      evicted: false,
    };
    this.known.set(pool, fresh);
    return fresh;
  }

  private observe(known: Known, running: number, now: number): void {
    const { counters } = known;
    const fade = Math.exp(-(now - known.at) / SERVICE_WINDOW_MS);
    const ended = counters.placed - running;
    const { slotMs } = counters;
    known.ended = known.ended * fade + Math.max(0, ended - known.endedBefore);
    known.slotMs = known.slotMs * fade + Math.max(0, slotMs - known.slotMsBefore);
    known.endedBefore = ended;
    known.slotMsBefore = slotMs;
    const { count, sumMs } = counters.total('ready');
    const fresh = count - known.coldStarts;
    if (fresh <= 0) return;
    const ms = (sumMs - known.coldStartSumMs) / fresh;
    known.coldStartMs =
      count === fresh ? ms : known.coldStartMs + NEWEST * (ms - known.coldStartMs);
    known.coldStarts = count;
    known.coldStartSumMs = sumMs;
  }
}

function evictedSize(pool: Pool): PoolSize {
  const { minReplicas } = pool.registered.manifest.spec;
  return {
    ...{ desired: minReplicas, ahead: minReplicas, idleMs: 0 },
    decidedBy: minReplicas > 0 ? 'minReplicas' : 'keep-alive',
    wakeAt: Number.POSITIVE_INFINITY,
    explain: () =>
      'It idles, and the idle pods of its namespace hold more memory than they may: others are worth more.',
  };
}

export function settingsOf(pool: Pool): SizingSettings {
  const { minReplicas, maxReplicas, concurrency, scaling } = pool.registered.manifest.spec;
  return {
    ...{ minReplicas, maxReplicas, concurrency },
    scaled: pool.registered.scaledBy !== undefined,
    claims: pool.fit !== undefined && 'claim' in pool.fit,
    targetUtilization: scaling.targetUtilization / 100,
    stableWindowMs: scaling.stableWindowMs,
    scaleDownDelayMs: scaling.scaleDownDelayMs,
  };
}

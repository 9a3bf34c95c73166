/**
 * Decides each pool's size: reads what the scheduler counted of its function, and asks the policy (desired.ts). Cheap where
 * nothing happens: a function that rests costs a few reads.
 *
 * Invariants:
 *  Z1. Nothing is decided for a function whose counters are shared with others: its load is not known.
 *  Z2. A pool whose decision cannot have changed is not decided for again.
 */
import { warmPoolName } from '@simmer/protocol/names';
import type { FunctionCounters } from '../../shared/counters.ts';
import { isLive, type Pool } from '../pools/pool.ts';
import type { CounterSlots } from '../pools/slots.ts';
import {
  decideSize,
  newSizing,
  type SizingSample,
  type SizingSettings,
  type SizingState,
} from './desired.ts';
import { fixedKeepAlive } from './keep-alive/fixed.ts';

/** A panic window is six of them. */
export const SAMPLE_MS = 1_000;
/** What a call takes is averaged over about so long. */
const SERVICE_WINDOW_MS = 60_000;
/** As the scheduler's: before the first was measured, and weight of the newest. */
const FIRST_COLD_START_MS = 200;
const NEWEST = 0.3;
/** Of a pod whose template asks for no memory: about what the runtime takes with a small handler. */
const ASSUMED_POD_MIB = 64;

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
}

export class Sizer {
  private readonly slots: CounterSlots;
  private readonly known = new Map<Pool, Known>();

  constructor(slots: CounterSlots) {
    this.slots = slots;
  }

  /** Whether the pool needs a look: its size changed, or is not what it has. */
  sample(pool: Pool, now: number): boolean {
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
        memoryMib: ASSUMED_POD_MIB,
      },
    };
    Object.assign(known, { registered: pool.registered, at: now, arrivals, pods: live.length });
    pool.size = decideSize(known.state, sample, settingsOf(pool), fixedKeepAlive.of(pool.key));
    pool.grown = 0;
    const { desired, ahead } = pool.size;
    return desired !== before?.desired || ahead > live.length || live.length > desired;
  }

  forget(pool: Pool): void {
    this.known.delete(pool);
    pool.size = undefined;
  }

  private of(pool: Pool, now: number): Known | undefined {
    const known = this.known.get(pool);
    if (known !== undefined) return known;
    const counters = this.slots.countersOf(pool.slot);
    if (counters === undefined || warmPoolName(pool.key) !== undefined) return undefined; // Z1
    const fresh: Known = {
      counters,
      // What was called before this first look is load, too.
      state: newSizing(now - SAMPLE_MS, 0),
      registered: pool.registered,
      ...{ at: now - SAMPLE_MS, arrivals: 0, pods: 0 },
      ...{ ended: 0, slotMs: 0, endedBefore: 0, slotMsBefore: 0 },
      ...{ coldStarts: 0, coldStartSumMs: 0, coldStartMs: FIRST_COLD_START_MS },
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

export function settingsOf(pool: Pool): SizingSettings {
  const { minReplicas, maxReplicas, concurrency, scaling } = pool.registered.manifest.spec;
  return {
    ...{ minReplicas, maxReplicas, concurrency },
    scaled: pool.registered.scaledBy !== undefined,
    targetUtilization: scaling.targetUtilization / 100,
    stableWindowMs: scaling.stableWindowMs,
    scaleDownDelayMs: scaling.scaleDownDelayMs,
  };
}

/** One run: a load under one regime. Exact: every call is an event; functions meet only in a generic pool and in a memory budget. */
import type { SizingSettings } from '@simmer/control-plane/dist/control/sizing/desired.js';
import type {
  IdleFunction,
  KeepAlivePolicy,
} from '@simmer/control-plane/dist/control/sizing/keep-alive/policy.js';
import type { Load, SimulatedFunction } from '../load/load.ts';
import type { Regime } from '../regimes.ts';
import { TimeHeap } from './collections.ts';
import { FunctionPods, type Scaler } from './pods.ts';
import { GenericPool, type ReserveSettings } from './reserve.ts';
import { SizedScaler } from './sized.ts';
import { Totals, WaitHistogram } from './totals.ts';

export interface Settings {
  readonly concurrency: number;
  /** Of all pods of all functions; undefined: as much as they take. */
  readonly budgetMib: number | undefined;
  /** Undefined: no generic pool. */
  readonly reserve: ReserveSettings | undefined;
  /** Of Simmer's own sizing: the least time between two looks at a function, milliseconds. */
  readonly sampleMs: number;
  /** `spec.keepAliveMs`. */
  readonly keepAliveMs: number;
  readonly stableWindowMs: number;
  readonly scaleDownDelayMs: number;
  readonly targetUtilization: number;
}

export interface FunctionResult {
  readonly calls: number;
  readonly cold: number;
  readonly waitMs: number;
  readonly idleMibMs: number;
}

export interface RunResult {
  readonly functions: readonly FunctionResult[];
  readonly waitP99Ms: number;
  readonly waitP999Ms: number;
  readonly launched: number;
  readonly claimed: number;
  /** Of the generic pool's own waiting pods. */
  readonly reserveIdleMibMs: number;
  /** What all pods took on average: those that run, those that idle. */
  readonly meanMib: number;
}

interface Part {
  readonly source: SimulatedFunction;
  readonly totals: Totals;
  readonly pods: FunctionPods;
}

export function simulate(load: Load, regime: Regime, settings: Settings): RunResult {
  const waits = new WaitHistogram();
  const reserve = settings.reserve === undefined ? undefined : new GenericPool(settings.reserve);
  const policy = regime.kind === 'simmer' ? regime.policy() : undefined;
  const parts: Part[] = [];
  const budget =
    policy?.evict === undefined || settings.budgetMib === undefined
      ? undefined
      : new Budget(parts, policy, settings.budgetMib);
  for (const source of load.functions) {
    const totals = new Totals(waits);
    const scaler: Scaler =
      regime.kind === 'baseline'
        ? regime.scaler()
        : sized(source, policy as KeepAlivePolicy, settings, (now) => budget?.hold(now));
    const { coldStartMs } = source;
    const pods = new FunctionPods(
      { concurrency: settings.concurrency, coldStartMs },
      scaler,
      totals,
      reserve,
    );
    parts.push({ source, totals, pods });
  }

  const streams = load.functions.map((f) => f.calls());
  const next = new TimeHeap();
  streams.forEach((calls, i) => {
    calls.next();
    if (calls.at < load.durationMs) next.push(calls.at, i);
  });
  while (next.length > 0) {
    const i = next.topValue();
    const calls = streams[i] as (typeof streams)[number];
    (parts[i] as Part).pods.call(calls.at, calls.serviceMs);
    calls.next();
    if (calls.at < load.durationMs) next.replaceTop(calls.at);
    else next.pop();
  }
  for (const { pods } of parts) pods.finish(load.durationMs);

  const sum = (of: (part: Part) => number) => parts.reduce((total, part) => total + of(part), 0);
  return {
    functions: parts.map(({ source, totals }) => ({
      calls: totals.calls,
      cold: totals.cold,
      waitMs: totals.waitMs,
      idleMibMs: totals.idlePodMs * source.memoryMib,
    })),
    waitP99Ms: waits.percentile(99),
    waitP999Ms: waits.percentile(99.9),
    launched: sum((part) => part.totals.launched),
    claimed: sum((part) => part.totals.claimed),
    reserveIdleMibMs: reserve?.idleMibMs(load.durationMs) ?? 0,
    meanMib:
      sum((p) => (p.totals.idlePodMs + p.totals.runPodMs) * p.source.memoryMib) / load.durationMs,
  };
}

function sized(
  source: SimulatedFunction,
  policy: KeepAlivePolicy,
  settings: Settings,
  onLaunch: (now: number) => void,
): Scaler {
  const { concurrency, targetUtilization, stableWindowMs, scaleDownDelayMs } = settings;
  const sizing: SizingSettings = {
    minReplicas: 0,
    maxReplicas: 1_000,
    scaled: false,
    claims: settings.reserve !== undefined,
    concurrency,
    targetUtilization,
    stableWindowMs,
    scaleDownDelayMs,
  };
  const { coldStartMs, memoryMib } = source;
  return new SizedScaler({
    settings: sizing,
    traits: { keepAliveMs: settings.keepAliveMs, coldStartMs, memoryMib },
    keepAlive: policy.of(source.name),
    sampleMs: settings.sampleMs,
    onLaunch,
  });
}

/** The memory that all functions share. Short, those give up their idle pods that the policy names. */
class Budget {
  private readonly parts: readonly Part[];
  private readonly policy: KeepAlivePolicy;
  private readonly budgetMib: number;
  private holding = false;

  constructor(parts: readonly Part[], policy: KeepAlivePolicy, budgetMib: number) {
    this.parts = parts;
    this.policy = policy;
    this.budgetMib = budgetMib;
  }

  hold(now: number): void {
    // Catching up with the others may launch pods of theirs.
    if (this.holding) return;
    this.holding = true;
    let usedMib = 0;
    for (const { pods, source } of this.parts) {
      if (pods.now < now) pods.advance(now);
      usedMib += (pods.live + pods.coming) * source.memoryMib;
    }
    if (usedMib > this.budgetMib) this.evict(usedMib - this.budgetMib);
    this.holding = false;
  }

  private evict(shortMib: number): void {
    const byKey = new Map<string, Part>();
    const idle: IdleFunction[] = [];
    for (const part of this.parts) {
      const { pods, source } = part;
      if (pods.idleSince === undefined || pods.idling === 0) continue;
      byKey.set(source.name, part);
      idle.push({ key: source.name, memoryMib: pods.idling * source.memoryMib });
    }
    for (const key of this.policy.evict?.(idle, shortMib) ?? []) {
      const { pods } = byKey.get(key) as Part;
      pods.retire(pods.idling);
    }
  }
}

/** A load that is small enough for one machine and short enough to wait for: some functions of the shape, with time compressed. */
import { quantile } from '../../../benchmarks/src/stats.ts';
import { NO_BURSTS } from '../load/burst-clock.ts';
import type { Load } from '../load/load.ts';
import type { Shape } from '../load/quantiles.ts';
import { DAY_MS, type Drawn, shapedLoad } from '../load/shaped.ts';
import { ListedCalls } from '../load/traces.ts';

/** Of which the first that fit are taken. */
const DRAWN = 1_000;
/** Rarer ones would not be called in the time there is; more frequent ones are never cold. */
const CALLS_PER_DAY = { least: 20, most: 3_000 } as const;
/** Longest call, as it is replayed. */
const MAX_SERVICE_MS = 2_000;

export interface ReplayedCall {
  /** Milliseconds from the start. */
  readonly at: number;
  readonly serviceMs: number;
}

export interface ReplayedFunction {
  readonly name: string;
  readonly calls: readonly ReplayedCall[];
}

export interface Compression {
  readonly functions: number;
  readonly seconds: number;
  /** Minutes of the shape pass in as many seconds, with 60. */
  readonly factor: number;
  readonly seed: number;
}

export function replayedFunctions(shape: Shape, c: Compression): ReplayedFunction[] {
  const load = shapedLoad(shape, {
    functions: DRAWN,
    days: (c.seconds * 1_000 * c.factor) / DAY_MS,
    seed: c.seed,
    bursts: NO_BURSTS,
    maxCallsPerDay: CALLS_PER_DAY.most,
    coldStartMs: 1,
    coldStartSpread: 0,
  });
  const functions: ReplayedFunction[] = [];
  for (const f of load.functions as readonly Drawn[]) {
    if (functions.length === c.functions) break;
    if (f.callsPerDay < CALLS_PER_DAY.least || f.callsPerDay >= CALLS_PER_DAY.most) continue;
    const calls: ReplayedCall[] = [];
    const stream = f.calls();
    for (stream.next(); stream.at < load.durationMs; stream.next()) {
      const serviceMs = Math.min(Math.round(stream.serviceMs / c.factor), MAX_SERVICE_MS);
      calls.push({ at: stream.at / c.factor, serviceMs });
    }
    if (calls.length > 0) functions.push({ name: f.name, calls });
  }
  return functions;
}

/** The same for the simulator. */
export function asLoad(
  functions: readonly ReplayedFunction[],
  seconds: number,
  coldStartMs: number,
): Load {
  return {
    functions: functions.map(({ name, calls }) => ({
      name,
      memoryMib: 1,
      coldStartMs,
      calls: () => new ListedCalls(calls),
    })),
    durationMs: seconds * 1_000,
    title: 'replay',
  };
}

/** What is compared, of either side. */
export interface Outcome {
  readonly calls: number;
  readonly cold: number;
  readonly coldShareP50: number;
  readonly coldShareP75: number;
  readonly waitMeanMs: number;
  readonly failed: number;
}

export function outcomeOf(
  functions: readonly { readonly calls: number; readonly cold: number; readonly waitMs: number }[],
  failed: number,
): Outcome {
  const sum = (of: (f: (typeof functions)[number]) => number) =>
    functions.reduce((total, f) => total + of(f), 0);
  const shares = functions.map((f) => f.cold / f.calls);
  return {
    calls: sum((f) => f.calls),
    cold: sum((f) => f.cold),
    coldShareP50: quantile(shares, 0.5),
    coldShareP75: quantile(shares, 0.75),
    waitMeanMs: sum((f) => f.waitMs) / sum((f) => f.calls),
    failed,
  };
}

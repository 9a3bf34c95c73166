/** What is reported of a run. */
import { quantile } from '../../../benchmarks/src/stats.ts';
import type { RunResult } from '../engine/simulate.ts';
import type { RegimeName } from '../regimes.ts';

const GIB_HOUR_MIB_MS = 1_024 * 3_600_000;

export interface Summary {
  readonly regime: RegimeName;
  /** Of the generic pool on top; 0: none. */
  readonly genericPods: number;
  /** Functions that were called. */
  readonly functions: number;
  readonly calls: number;
  readonly coldStarts: number;
  /** Share of a function's calls that found no pod and waited for one to start; percentiles over functions. */
  readonly coldShare: { readonly p50: number; readonly p75: number; readonly p99: number };
  /** Every percentile of it, from 0 to 100. */
  readonly coldCurve: readonly number[];
  /** What calls waited for a pod: the mean over all calls, and their 99th percentile; then the 75th percentile over functions of their means. */
  readonly addedMs: { readonly mean: number; readonly p99: number; readonly functionP75: number };
  /** Memory of pods that were ready and ran nothing, the generic pool's included. */
  readonly idleGibHours: number;
  readonly genericIdleGibHours: number;
  readonly launched: number;
  readonly claimed: number;
  /** Over the reference's. */
  readonly coldRatioP75: number;
  readonly idleRatio: number;
}

export function summarize(
  regime: RegimeName,
  genericPods: number,
  result: RunResult,
  reference: RunResult,
): Summary {
  const called = result.functions.filter((f) => f.calls > 0);
  const sum = (of: (f: (typeof called)[number]) => number) =>
    called.reduce((total, f) => total + of(f), 0);
  const calls = sum((f) => f.calls);
  const shares = sharesOf(result);
  const waits = called.map((f) => f.waitMs / f.calls);
  return {
    regime,
    genericPods,
    functions: called.length,
    calls,
    coldStarts: sum((f) => f.cold),
    coldShare: {
      p50: quantile(shares, 0.5),
      p75: quantile(shares, 0.75),
      p99: quantile(shares, 0.99),
    },
    coldCurve: Array.from({ length: 101 }, (_, p) => round(quantile(shares, p / 100))),
    addedMs: {
      mean: sum((f) => f.waitMs) / calls,
      p99: result.waitP99Ms,
      functionP75: quantile(waits, 0.75),
    },
    idleGibHours: idleOf(result) / GIB_HOUR_MIB_MS,
    genericIdleGibHours: result.reserveIdleMibMs / GIB_HOUR_MIB_MS,
    launched: result.launched,
    claimed: result.claimed,
    coldRatioP75: quantile(shares, 0.75) / quantile(sharesOf(reference), 0.75),
    idleRatio: idleOf(result) / idleOf(reference),
  };
}

function sharesOf({ functions }: RunResult): number[] {
  return functions.filter((f) => f.calls > 0).map((f) => f.cold / f.calls);
}

function idleOf({ functions, reserveIdleMibMs }: RunResult): number {
  return functions.reduce((total, f) => total + f.idleMibMs, reserveIdleMibMs);
}

function round(value: number): number {
  return Math.round(value * 10_000) / 10_000;
}

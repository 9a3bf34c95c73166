/**
 * What a pool has cost since this control plane began to keep it, and what it gave for that. Pure: its pods are told about
 * once a second, and are taken to have been so since the last time.
 */
import type { FunctionCounters } from '../../shared/counters.ts';

/** Sums, in milliseconds of the keeper's clock. */
export interface PoolCost {
  at: number;
  /** Of pods that were there: from their launch until they were gone. */
  podMs: number;
  /** Of those that were ready and had nothing to do. */
  idlePodMs: number;
  /** The same, times the memory of each. */
  idleMibMs: number;
  /** Resident memory of one pod, on average, where it can be measured. */
  measuredMib: number | undefined;
}

export function newCost(now: number): PoolCost {
  return { at: now, podMs: 0, idlePodMs: 0, idleMibMs: 0, measuredMib: undefined };
}

export function charge(
  cost: PoolCost,
  now: number,
  pods: number,
  idle: number,
  podMib: number,
): void {
  const elapsed = now - cost.at;
  cost.at = now;
  cost.podMs += pods * elapsed;
  cost.idlePodMs += idle * elapsed;
  cost.idleMibMs += idle * podMib * elapsed;
}

export interface CostFigures {
  readonly podSeconds: number;
  readonly idlePodSeconds: number;
  readonly idleMibSeconds: number;
  /** Of all pods there are, by what one takes. */
  readonly memoryMib: number;
  readonly coldStarts: number;
  /** What a cold start took on average, in seconds. */
  readonly coldStartSeconds: number;
  /** What callers would have waited for, had each that was served by a warm pod waited for a cold start. */
  readonly savedSeconds: number;
}

/** `served`: what found a warm pod: calls of a function, claims of a WarmPool. */
export function figuresOf(
  cost: PoolCost,
  pods: number,
  podMib: number,
  served: number,
  counters: Pick<FunctionCounters, 'total'>,
): CostFigures {
  const { count, sumMs } = counters.total('ready');
  const coldStartSeconds = count === 0 ? 0 : sumMs / count / 1_000;
  return {
    podSeconds: cost.podMs / 1_000,
    idlePodSeconds: cost.idlePodMs / 1_000,
    idleMibSeconds: cost.idleMibMs / 1_000,
    memoryMib: pods * podMib,
    coldStarts: count,
    coldStartSeconds,
    savedSeconds: served * coldStartSeconds,
  };
}

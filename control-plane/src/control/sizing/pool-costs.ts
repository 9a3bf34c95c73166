/** Charges each pool for the pods that it has, and says what that comes to. Reads counters, and the memory of processes of this machine. */
import { readFileSync } from 'node:fs';
import type { FunctionCounters } from '../../shared/counters.ts';
import { isCurrent, isLeaving, type Pool } from '../pools/pool.ts';
import type { CounterSlots } from '../pools/slots.ts';
import { type CostFigures, charge, figuresOf } from './cost.ts';
import { podMib } from './keep-alives.ts';

/** A pool's memory is read at every so many-th charge: a file of each of its processes. */
const MEMORY_EVERY = 10;
/** Of one pool, at most so many: they are alike. */
const MAX_READ = 8;
/** Linux: https://man7.org/linux/man-pages/man5/proc_pid_status.5.html */
const RESIDENT_KIB = /^VmRSS:\s*(\d+) kB$/m;

export class PoolCosts {
  private readonly slots: CounterSlots;
  private readonly residentMib: (pid: number) => number | undefined;
  private turn = 0;

  constructor(slots: CounterSlots, residentMib = residentMibOf) {
    this.slots = slots;
    this.residentMib = residentMib;
  }

  /** Once a second, with all of them. */
  charge(pools: Iterable<Pool>, now: number): void {
    this.turn++;
    let i = 0;
    for (const pool of pools) {
      if (pool.pods.size > 0 && (this.turn + i++) % MEMORY_EVERY === 0) this.measure(pool);
      charge(pool.cost, now, launchedOf(pool), this.idleOf(pool), podMib(pool));
    }
  }

  /** The scheduler counts those that idle; where it counts several functions' together, none that is ready is known to. */
  private idleOf(pool: Pool): number {
    let ready = 0;
    for (const pod of pool.pods.values()) if (pod.phase.name === 'ready') ready++;
    if (pool.registered.pool !== undefined) return ready;
    const idle = this.slots.countersOf(pool.slot)?.gauge('podsIdle') ?? 0;
    return Math.min(ready, idle);
  }

  private measure(pool: Pool): void {
    let sum = 0;
    let read = 0;
    for (const pod of pool.pods.values()) {
      if (read === MAX_READ) break;
      if (pod.backend !== 'process' || pod.label === undefined || isLeaving(pod)) continue;
      if (pod.phase.name !== 'ready' || !isCurrent(pool, pod)) continue;
      const mib = this.residentMib(Number(pod.label));
      if (mib === undefined) continue;
      sum += mib;
      read++;
    }
    if (read > 0) pool.cost.measuredMib = sum / read;
  }
}

/** Pods that exist: not those that wait for their turn. */
function launchedOf(pool: Pool): number {
  let count = 0;
  for (const pod of pool.pods.values()) if (pod.phase.name !== 'queued') count++;
  return count;
}

export function costOf(pool: Pool, counters: FunctionCounters): CostFigures {
  const served = pool.registered.pool !== undefined ? pool.claims : counters.placement('warm');
  return figuresOf(pool.cost, launchedOf(pool), podMib(pool), served, counters);
}

/** Undefined where the process is gone, or the system does not say. */
function residentMibOf(pid: number): number | undefined {
  try {
    const kib = RESIDENT_KIB.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kib === undefined ? undefined : Number(kib) / 1_024;
  } catch {
    return undefined;
  }
}

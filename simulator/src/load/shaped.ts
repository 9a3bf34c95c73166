/** Load of the 2019 trace's shape: any number of functions, each drawn from the quantiles, for any number of days. */
import { Random } from '../../../chaos/src/random.ts';
import { BurstClock, type Bursts } from './burst-clock.ts';
import { type Gaps, gapsOf, normal } from './gaps.ts';
import type { Calls, Load, SimulatedFunction } from './load.ts';
import { type Shape, valueAt } from './quantiles.ts';

export const DAY_MS = 86_400_000;

export interface ShapedLoad {
  readonly functions: number;
  readonly days: number;
  readonly seed: number;
  readonly bursts: Bursts;
  /**
   * Functions that are called more often are called this often. The few that are make up nearly all calls of the trace (the
   * busiest of a thousand has tens of millions a day), and none of their cold starts: pods of such a function are always warm,
   * whatever the policy. The figures tell what the cut leaves out.
   */
  readonly maxCallsPerDay: number;
  /** Median over functions of launch to ready, milliseconds, and the standard deviation of its logarithm. */
  readonly coldStartMs: number;
  readonly coldStartSpread: number;
}

/** Standard deviation over mean of a function's own execution time: the trace tells the mean alone. */
const SERVICE_CV = 0.5;
const SERVICE_TABLE_SIZE = 4_096;

export function shapedLoad(shape: Shape, options: ShapedLoad): Load {
  const { functions, days, seed } = options;
  const clock = new BurstClock(String(seed), options.bursts);
  const draw = (i: number) => drawFunction(shape, options, clock, i);
  return {
    functions: Array.from({ length: functions }, (_, i) => draw(i)),
    durationMs: days * DAY_MS,
    title: `${functions} functions, ${days} days, seed ${seed}`,
  };
}

export interface Drawn extends SimulatedFunction {
  readonly callsPerDay: number;
  readonly interarrivalCv: number;
  readonly serviceMs: number;
}

function drawFunction(shape: Shape, o: ShapedLoad, clock: BurstClock, index: number): Drawn {
  const stream = (column: string) => new Random(`${o.seed}/${index}/${column}`);
  const drawnRate = valueAt(shape.callsPerDay, stream('rate').next());
  const callsPerDay = Math.min(drawnRate, o.maxCallsPerDay);
  const interarrivalCv = valueAt(shape.interarrivalCv, stream('cv').next());
  const serviceMs = valueAt(shape.serviceMs, stream('service').next());
  return {
    name: `f${index}`,
    memoryMib: valueAt(shape.memoryMib, stream('memory').next()),
    coldStartMs: o.coldStartMs * Math.exp(o.coldStartSpread * normal(stream('cold start'))),
    callsPerDay,
    interarrivalCv,
    serviceMs,
    calls() {
      const gaps = gapsOf(stream('gaps'), DAY_MS / callsPerDay, interarrivalCv);
      const read = interarrivalCv === 0 ? (own: number) => own : clock.reader();
      return new RenewalCalls(gaps, read, stream('services'), serviceMs, o.days * DAY_MS);
    },
  };
}

class RenewalCalls implements Calls {
  at = 0;
  serviceMs = 0;
  private own: number;
  private readonly gap: Gaps;
  private readonly read: (own: number) => number;
  private readonly random: Random;
  private readonly meanServiceMs: number;
  private readonly endMs: number;

  constructor(
    gaps: { first: number; next: Gaps },
    read: (own: number) => number,
    random: Random,
    meanServiceMs: number,
    endMs: number,
  ) {
    this.own = gaps.first;
    this.gap = gaps.next;
    this.read = read;
    this.random = random;
    this.meanServiceMs = meanServiceMs;
    this.endMs = endMs;
  }

  next(): void {
    const at = this.read(this.own);
    if (at >= this.endMs) {
      this.at = Number.POSITIVE_INFINITY;
      return;
    }
    this.at = at;
    const drawn = SERVICE_TABLE[Math.floor(this.random.next() * SERVICE_TABLE_SIZE)] as number;
    this.serviceMs = this.meanServiceMs * drawn;
    this.own += this.gap();
  }
}

/** Lognormal, of mean 1, drawn once: a table is ten times faster than the functions. */
const SERVICE_TABLE = (() => {
  const sigma = Math.sqrt(Math.log(1 + SERVICE_CV * SERVICE_CV));
  const random = new Random('service times');
  const table = Float64Array.from({ length: SERVICE_TABLE_SIZE }, () =>
    Math.exp(sigma * normal(random)),
  );
  const mean = table.reduce((sum, value) => sum + value, 0) / SERVICE_TABLE_SIZE;
  return table.map((value) => value / mean);
})();

/** What scenarios find, as it is printed, plotted and written to JSON. */
import { type BaselineName, TARGETS, type TargetName } from './baselines/target.ts';
import { ratios, type Spread, spread } from './stats.ts';

export type Unit = 'ms' | 'µs' | '/s' | 'MiB' | 's' | 'x' | '';

export interface Limit {
  readonly op: '<=' | '>=';
  readonly value: number;
}

/** One quantity of Simmer's beside the baselines' in the same rounds. */
export interface Comparison {
  readonly type: 'comparison';
  readonly scenario: string;
  readonly metric: string;
  readonly unit: Unit;
  readonly better: 'lower' | 'higher';
  readonly values: Partial<Record<TargetName, Spread>>;
  /** Simmer's value over the baseline's, round by round. */
  readonly ratios: Partial<Record<BaselineName, RatioResult>>;
}

export interface RatioResult extends Spread {
  readonly limit?: Limit;
  readonly pass?: boolean;
}

/** One quantity that stands for itself. */
export interface Fact {
  readonly type: 'fact';
  readonly scenario: string;
  readonly metric: string;
  readonly unit: Unit;
  readonly value: number;
  readonly limit?: Limit;
  readonly pass?: boolean;
  /** For people: what it is made of. */
  readonly note?: string;
}

export type Finding = Comparison | Fact;

export function meets(value: number, limit: Limit): boolean {
  return limit.op === '<=' ? value <= limit.value : value >= limit.value;
}

export function comparison(
  scenario: string,
  metric: string,
  unit: Unit,
  better: 'lower' | 'higher',
  rounds: Partial<Record<TargetName, readonly number[]>>,
  limits: Partial<Record<BaselineName, Limit>> = {},
): Comparison {
  const values: Partial<Record<TargetName, Spread>> = {};
  const against: Partial<Record<BaselineName, RatioResult>> = {};
  for (const name of TARGETS) {
    const theirs = rounds[name];
    if (theirs === undefined) continue;
    values[name] = spread(theirs);
    if (name === 'simmer') continue;
    const ratio = spread(ratios(rounds.simmer ?? [], theirs));
    const limit = limits[name];
    against[name] =
      limit === undefined ? ratio : { ...ratio, limit, pass: meets(ratio.median, limit) };
  }
  return { type: 'comparison', scenario, metric, unit, better, values, ratios: against };
}

export function fact(
  scenario: string,
  metric: string,
  unit: Unit,
  value: number,
  more: { limit?: Limit; note?: string } = {},
): Fact {
  const judged =
    more.limit === undefined ? {} : { limit: more.limit, pass: meets(value, more.limit) };
  const note = more.note === undefined ? {} : { note: more.note };
  return { type: 'fact', scenario, metric, unit, value, ...judged, ...note };
}

/** Distributions that are known by their quantiles alone, and their columns in a file. */
import { readFileSync } from 'node:fs';

/** Values by probability, both ascending. */
export interface Quantiles {
  readonly probability: readonly number[];
  readonly value: readonly number[];
}

/** Of the 2019 trace: what a function is drawn from, each column by a random number of its own. */
export interface Shape {
  readonly callsPerDay: Quantiles;
  readonly interarrivalCv: Quantiles;
  readonly serviceMs: Quantiles;
  readonly memoryMib: Quantiles;
}

/**
 * The value at a probability. Between two known ones the logarithm is taken to be linear, as tails are heavy; next to a zero,
 * the value itself. Outside of what is known: the nearest known value.
 */
export function valueAt({ probability, value }: Quantiles, u: number): number {
  let high = probability.findIndex((p) => p >= u);
  if (high < 0) high = probability.length - 1;
  const [p1, v1] = [probability[high] as number, value[high] as number];
  if (high === 0 || u >= p1) return v1;
  const [p0, v0] = [probability[high - 1] as number, value[high - 1] as number];
  const share = (u - p0) / (p1 - p0);
  return v0 > 0 ? v0 * (v1 / v0) ** share : v0 + (v1 - v0) * share;
}

/** @throws where a column is missing or is not ascending. */
export function readShape(file: string): Shape {
  const [header = '', ...lines] = readFileSync(file, 'utf8').trim().split(/\r?\n/);
  const names = header.split(',');
  const rows = lines.map((line) => line.split(',').map(Number));
  const column = (name: string): number[] => {
    const at = names.indexOf(name);
    if (at < 0) throw new Error(`${file}: there is no column ${name}`);
    const values = rows.map((row) => row[at] as number);
    const ascends = values.every((v, i) => v >= (values[i - 1] ?? Number.NEGATIVE_INFINITY));
    if (!ascends) throw new Error(`${file}: ${name} is no column of ascending numbers`);
    return values;
  };
  const probability = column('probability');
  const quantiles = (name: string): Quantiles => ({ probability, value: column(name) });
  return {
    callsPerDay: quantiles('invocations_per_day'),
    interarrivalCv: quantiles('interarrival_cv'),
    serviceMs: quantiles('execution_ms'),
    memoryMib: quantiles('memory_mib'),
  };
}

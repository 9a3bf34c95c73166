/**
 * What a pool is judged by: for each second the fewest pods that keep every call's wait under the cold start, found with
 * the calls known beforehand; and, as no pool knows what comes next, the most of them within the scale-down delay before.
 */

export interface IdealInput {
  /** Milliseconds, rising. */
  readonly arrivals: readonly number[];
  readonly durationMs: number;
  readonly serviceMs: number;
  readonly coldStartMs: number;
  readonly scaleDownDelayMs: number;
}

export function idealPods(input: IdealInput): number[] {
  const { arrivals, durationMs, scaleDownDelayMs } = input;
  const fewest: number[] = [];
  let next = 0;
  // When each pod has done what it was given.
  let free: readonly number[] = [];
  for (let second = 0; second < Math.ceil(durationMs / 1_000); second++) {
    const until = (second + 1) * 1_000;
    const from = next;
    while (next < arrivals.length && (arrivals[next] as number) < until) next++;
    const calls = arrivals.slice(from, next);
    let pods = calls.length === 0 ? 0 : 1;
    let after = served(calls, free, pods, second * 1_000, input);
    while (after === undefined) after = served(calls, free, ++pods, second * 1_000, input);
    free = after;
    fewest.push(pods);
  }
  const delay = Math.round(scaleDownDelayMs / 1_000);
  return fewest.map((_, i) => Math.max(...fewest.slice(Math.max(0, i - delay), i + 1)));
}

/** When `pods` pods are free again after these calls; undefined where one of them waits for too long. */
function served(
  calls: readonly number[],
  before: readonly number[],
  pods: number,
  startMs: number,
  { serviceMs, coldStartMs }: IdealInput,
): number[] | undefined {
  // What runs on pods that are given up still ends there.
  const free = [...before].sort((a, b) => a - b).slice(0, pods);
  while (free.length < pods) free.push(startMs);
  for (const at of calls) {
    let soonest = 0;
    for (let i = 1; i < free.length; i++) {
      if ((free[i] as number) < (free[soonest] as number)) soonest = i;
    }
    const begins = Math.max(at, free[soonest] as number);
    if (begins - at >= coldStartMs) return undefined;
    free[soonest] = begins + serviceMs;
  }
  return free;
}

/** How often a series that rose falls, or one that fell rises. */
export function turnsOf(series: readonly number[]): number {
  let turns = 0;
  let direction = 0;
  for (const [i, n] of series.entries()) {
    const step = Math.sign(n - (series[i - 1] ?? n));
    if (step === 0) continue;
    if (direction !== 0 && step !== direction) turns++;
    direction = step;
  }
  return turns;
}

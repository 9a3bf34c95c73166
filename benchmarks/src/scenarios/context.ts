/** What every scenario is given, and the interleaved comparison that most are made of. */

import type { Running, TargetName, TargetOptions } from '../baselines/target.ts';
import { availableTargets, startTarget } from '../baselines/targets.ts';
import type { Generator } from '../load/generator-process.ts';
import type { LoadResult } from '../load/recorder.ts';
import type { LoadSpec } from '../load/spec.ts';
import type { Finding } from '../results.ts';

export interface Context {
  readonly generator: Generator;
  /** Under a minute in all: shorter rounds, and without the scenarios that need long ones. */
  readonly quick: boolean;
  /** Says on standard error what is going on. */
  log(text: string): void;
}

export interface Scenario {
  /** As `--only` names it. */
  readonly name: string;
  readonly inQuick: boolean;
  run(context: Context): Promise<Finding[]>;
}

export type LoadShape = Omit<LoadSpec, 'port' | 'method' | 'paths'>;
export type Rounds = Partial<Record<TargetName, LoadResult[]>>;

export const MIN_ROUNDS = 5;
/** Before the first round each target is driven for this long: V8 has compiled what is hot by then. */
const WARM_UP_MS = { full: 3_000, quick: 700 } as const;

/** Starts every target of this machine, drives each warm, and ends them after `use`. */
export async function withTargets<T>(
  context: Context,
  options: TargetOptions,
  use: (targets: readonly Running[]) => Promise<T>,
): Promise<T> {
  const running: Running[] = [];
  try {
    for (const name of availableTargets()) running.push(await startTarget(name, options));
    for (const target of running) {
      await drive(context, target, {
        bodyBytes: 256,
        warmupMs: 0,
        durationMs: context.quick ? WARM_UP_MS.quick : WARM_UP_MS.full,
        mode: { loop: 'closed', connections: 32 },
      });
    }
    return await use(running);
  } finally {
    await Promise.all(running.map((target) => target.stop()));
  }
}

export function drive(context: Context, target: Running, load: LoadShape): Promise<LoadResult> {
  return context.generator.run({
    ...load,
    ...(target.headers && { headers: target.headers }),
    port: target.port,
    method: 'POST',
    paths: [target.path],
  });
}

/** Round after round, in each of them every target in turn, so that what disturbs the machine meets all alike. */
export async function interleave(
  context: Context,
  targets: readonly Running[],
  rounds: number,
  load: LoadShape,
): Promise<Rounds> {
  const results: Rounds = {};
  for (let round = 0; round < rounds; round++) {
    for (const target of targets) {
      const result = await drive(context, target, load);
      const list = results[target.name] ?? [];
      results[target.name] = list;
      list.push(result);
    }
  }
  return results;
}

/** One number of each round. */
export function pick(
  rounds: Rounds,
  of: (result: LoadResult) => number,
): Partial<Record<TargetName, number[]>> {
  return Object.fromEntries(
    Object.entries(rounds).map(([name, results]) => [name, results.map(of)]),
  );
}

/** Everything but a success: other statuses, connections lost, requests without an answer. */
export function failures(
  results: readonly LoadResult[],
  allowedStatuses: readonly number[] = [],
): number {
  let count = 0;
  for (const r of results) {
    count += r.unfinished;
    for (const n of Object.values(r.errors)) count += n;
    for (const [status, n] of Object.entries(r.byStatus)) {
      const code = Number(status);
      if ((code < 200 || code > 299) && !allowedStatuses.includes(code)) count += n;
    }
  }
  return count;
}

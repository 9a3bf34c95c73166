/** The warm path, one pod, beside all baselines: idle latency, throughput, larger bodies. */
import type { BaselineName } from '../baselines/target.ts';
import { comparison, type Finding, fact, type Limit } from '../results.ts';
import {
  type Context,
  failures,
  interleave,
  MIN_ROUNDS,
  pick,
  type Scenario,
  withTargets,
} from './context.ts';

const OK = { p50: { op: '<=', value: 1.1 }, p99: { op: '<=', value: 1.1 } } as const;
const THROUGHPUT_64: Partial<Record<BaselineName, Limit>> = {
  relay: { op: '>=', value: 0.85 },
  nginx: { op: '>=', value: 1.5 },
  push: { op: '>=', value: 2.0 },
};
/** More rounds where the targets are tightest. */
const TIGHT_ROUNDS = 9;

/** The warm path: what a plain call costs. */
export const warm: Scenario = {
  name: 'warm',
  inQuick: true,
  run: (context) =>
    withTargets(context, { pods: 1, handler: 'echo' }, async (targets) => {
      const findings: Finding[] = [];
      const tight = context.quick ? MIN_ROUNDS : TIGHT_ROUNDS;
      const ms = context.quick ? 400 : 2_000;
      const warmupMs = context.quick ? 100 : 300;

      context.log('idle latency');
      const idle = await interleave(context, targets, tight, {
        bodyBytes: 256,
        warmupMs,
        durationMs: ms,
        mode: { loop: 'closed', connections: 1 },
      });
      const name = 'idle, 1 connection, 256 B';
      findings.push(
        comparison(
          name,
          'p50',
          'ms',
          'lower',
          pick(idle, (r) => r.ok.p50Ms),
          { relay: OK.p50 },
        ),
        comparison(
          name,
          'p99',
          'ms',
          'lower',
          pick(idle, (r) => r.ok.p99Ms),
          { nginx: OK.p99 },
        ),
      );

      for (const connections of context.quick ? [64] : [64, 500]) {
        context.log(`throughput at ${connections} connections`);
        const rounds = await interleave(context, targets, connections === 64 ? tight : MIN_ROUNDS, {
          bodyBytes: 256,
          warmupMs,
          durationMs: context.quick ? 500 : 2_500,
          mode: { loop: 'closed', connections },
        });
        const scenario = `${connections} connections, 256 B`;
        const limits = connections === 64 ? THROUGHPUT_64 : {};
        findings.push(
          comparison(
            scenario,
            'throughput',
            '/s',
            'higher',
            pick(rounds, (r) => r.throughput),
            limits,
          ),
          comparison(
            scenario,
            'p99',
            'ms',
            'lower',
            pick(rounds, (r) => r.ok.p99Ms),
          ),
          fact(scenario, 'failures other than 429', '', failures(rounds.simmer ?? [], [429]), {
            limit: { op: '<=', value: 0 },
          }),
        );
        if (connections === 64) findings.push(generatorShare(scenario, rounds.simmer ?? []));
      }
      if (!context.quick) findings.push(...(await bodies(context, targets)));
      return findings;
    }),
};

async function bodies(
  context: Context,
  targets: Parameters<typeof interleave>[1],
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const [label, bodyBytes] of [
    ['64 KiB', 65_536],
    ['1 MiB', 1_048_576],
  ] as const) {
    for (const connections of [1, 16]) {
      context.log(`bodies of ${label}, ${connections} connections`);
      const rounds = await interleave(context, targets, MIN_ROUNDS, {
        bodyBytes,
        warmupMs: 400,
        durationMs: 1_500,
        mode: { loop: 'closed', connections },
      });
      const scenario = `${connections} connection${connections === 1 ? '' : 's'}, ${label}`;
      findings.push(
        connections === 1
          ? comparison(
              scenario,
              'p50',
              'ms',
              'lower',
              pick(rounds, (r) => r.ok.p50Ms),
            )
          : comparison(
              scenario,
              'throughput',
              '/s',
              'higher',
              pick(rounds, (r) => r.throughput),
            ),
        fact(scenario, 'failures', '', failures(rounds.simmer ?? []), {
          limit: { op: '<=', value: 0 },
        }),
      );
    }
  }
  return findings;
}

function generatorShare(
  scenario: string,
  rounds: readonly { generatorUsPerRequest: number }[],
): Finding {
  const last = rounds.at(-1)?.generatorUsPerRequest ?? Number.NaN;
  return fact(scenario, 'processor time of the load generator for each request', 'µs', last, {
    note: 'shares the cores with what is measured, the same for each target',
  });
}

/** Several pods behind one address. */
export const pods: Scenario = {
  name: 'pods',
  inQuick: false,
  async run(context) {
    const findings: Finding[] = [];
    for (const count of [2, 8]) {
      context.log(`${count} pods`);
      const rounds = await withTargets(context, { pods: count, handler: 'echo' }, (targets) =>
        interleave(context, targets, MIN_ROUNDS, {
          bodyBytes: 256,
          warmupMs: 300,
          durationMs: 1_500,
          mode: { loop: 'closed', connections: 64 },
        }),
      );
      const scenario = `${count} pods, 64 connections, 256 B`;
      findings.push(
        comparison(
          scenario,
          'throughput',
          '/s',
          'higher',
          pick(rounds, (r) => r.throughput),
        ),
        comparison(
          scenario,
          'p99',
          'ms',
          'lower',
          pick(rounds, (r) => r.ok.p99Ms),
        ),
        fact(scenario, 'failures', '', failures(rounds.simmer ?? []), {
          limit: { op: '<=', value: 0 },
        }),
      );
    }
    return findings;
  },
};

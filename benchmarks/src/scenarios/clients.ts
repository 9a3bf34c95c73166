/** What a thousand clients cost the one: its idle latency beside connections that carry nothing, and all of them active. */
import { comparison, type Finding, fact } from '../results.ts';
import { median, ratios, spread } from '../stats.ts';
import {
  drive,
  failures,
  interleave,
  MIN_ROUNDS,
  pick,
  type Scenario,
  withTargets,
} from './context.ts';

const MANY = 1_000;

/** 1 and 1,000 client connections. */
export const clients: Scenario = {
  name: 'clients',
  inQuick: false,
  run: (context) =>
    withTargets(context, { pods: 1, handler: 'echo' }, async (targets) => {
      const findings: Finding[] = [];
      const simmer = targets.find((target) => target.name === 'simmer');
      if (simmer === undefined) return findings;
      context.log(`1 and ${MANY} client connections`);
      const alone: number[] = [];
      const among: number[] = [];
      for (let i = 0; i < MIN_ROUNDS; i++) {
        for (const [p50s, idleConnections] of [
          [alone, 0],
          [among, MANY - 1],
        ] as const) {
          const result = await drive(context, simmer, {
            bodyBytes: 256,
            warmupMs: 700,
            durationMs: 1_500,
            mode: { loop: 'closed', connections: 1, idleConnections },
          });
          p50s.push(result.ok.p50Ms);
        }
      }
      const ratio = spread(ratios(among, alone));
      const scenario = `${MANY} client connections`;
      findings.push(
        fact(scenario, 'p50 of one of them, of its p50 alone', 'x', ratio.median, {
          note: `quartiles ${ratio.q1.toFixed(2)} to ${ratio.q3.toFixed(2)}; alone ${median(alone).toFixed(3)} ms`,
        }),
      );
      const active = await interleave(context, targets, MIN_ROUNDS, {
        bodyBytes: 256,
        warmupMs: 700,
        durationMs: 1_500,
        mode: { loop: 'closed', connections: MANY },
      });
      findings.push(
        comparison(
          scenario,
          'throughput, all active',
          '/s',
          'higher',
          pick(active, (r) => r.throughput),
        ),
        fact(scenario, 'failures other than 429', '', failures(active.simmer ?? [], [429]), {
          limit: { op: '<=', value: 0 },
        }),
      );
      return findings;
    }),
};

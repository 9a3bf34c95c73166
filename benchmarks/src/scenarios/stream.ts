/** Clients on one WebSocket beside clients on connections of their own: the same calls, so many in flight. */

import { echoFunction, invokePath, startServer } from '../baselines/simmer.ts';
import type { LoadResult } from '../load/recorder.ts';
import { type Finding, fact } from '../results.ts';
import { median, ratios, spread } from '../stats.ts';
import { type Context, failures, MIN_ROUNDS, type Scenario } from './context.ts';

export const stream: Scenario = {
  name: 'stream',
  inQuick: false,
  async run(context) {
    const server = await startServer([echoFunction(1)]);
    try {
      const findings: Finding[] = [];
      for (const inFlight of [1, 64])
        findings.push(...(await beside(context, server.port, inFlight)));
      return findings;
    } finally {
      await server.stop();
    }
  },
};

async function beside(context: Context, port: number, inFlight: number): Promise<Finding[]> {
  context.log(`one WebSocket with ${inFlight} in flight, beside as many HTTP connections`);
  const drive = (websocket: boolean, durationMs: number) =>
    context.generator.run({
      ...({ port, method: 'POST', paths: [invokePath('bench')], bodyBytes: 256 } as const),
      warmupMs: 700,
      durationMs,
      mode: { loop: 'closed', connections: inFlight, ...(websocket && { websocket }) },
    });
  await drive(true, 1_500);
  await drive(false, 1_500);
  const http: LoadResult[] = [];
  const ws: LoadResult[] = [];
  for (let i = 0; i < MIN_ROUNDS; i++) {
    http.push(await drive(false, 2_000));
    ws.push(await drive(true, 2_000));
  }
  const scenario = `one WebSocket, ${inFlight} in flight`;
  const both = (of: (result: LoadResult) => number, digits: number) => {
    const s = spread(ratios(ws.map(of), http.map(of)));
    const [mine, theirs] = [median(ws.map(of)), median(http.map(of))];
    const note = `quartiles ${s.q1.toFixed(2)} to ${s.q3.toFixed(2)}; ${mine.toFixed(digits)} and ${theirs.toFixed(digits)}`;
    return { median: s.median, note };
  };
  const [p50, p99] = [both((r) => r.ok.p50Ms, 3), both((r) => r.ok.p99Ms, 3)];
  const throughput = both((r) => r.throughput, 0);
  const of = `of ${inFlight} HTTP connection${inFlight === 1 ? '' : 's'}`;
  return [
    fact(scenario, `throughput, ${of}`, 'x', throughput.median, { note: throughput.note }),
    fact(scenario, `p50, ${of}`, 'x', p50.median, { note: p50.note }),
    fact(scenario, `p99, ${of}`, 'x', p99.median, { note: p99.note }),
    fact(scenario, 'failures', '', failures([...ws, ...http]), { limit: { op: '<=', value: 0 } }),
  ];
}

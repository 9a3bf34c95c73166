/** Resident memory of what idles: the control plane, a warm pod, and beside them a Node process that does nothing. */
import { setTimeout as sleep } from 'node:timers/promises';
import { echoFunction, startServer } from '../baselines/simmer.ts';
import { childrenOf, eventually, residentMiB, start } from '../child.ts';
import { fact } from '../results.ts';
import type { Scenario } from './context.ts';

/** What was allocated at the start has been given back by then. */
const SETTLE_MS = 3_000;

/** Idle memory. */
export const memory: Scenario = {
  name: 'memory',
  inQuick: false,
  async run(context) {
    context.log('idle memory');
    const server = await startServer([echoFunction(1)]);
    const empty = await start(process.execPath, ['-e', 'process.stdin.resume()']);
    try {
      const pod = await eventually('a pod', async () => (await server.pods('bench'))[0]);
      await sleep(SETTLE_MS);
      const helpers = childrenOf(server.child.pid).filter((pid) => pid !== pod.pid);
      return [
        fact('memory', 'idle control plane', 'MiB', residentMiB(server.child.pid) as number, {
          note: 'both threads, one function',
        }),
        ...helpers.map((pid) =>
          fact('memory', 'process that starts the pods', 'MiB', residentMiB(pid) ?? Number.NaN, {
            note: 'process backend only',
          }),
        ),
        fact('memory', 'warm pod', 'MiB', residentMiB(pod.pid) as number, { note: 'echo handler' }),
        fact('memory', 'empty Node process', 'MiB', residentMiB(empty.pid) as number, {
          note: 'for comparison',
        }),
      ];
    } finally {
      await Promise.all([server.stop(), empty.stop()]);
    }
  },
};

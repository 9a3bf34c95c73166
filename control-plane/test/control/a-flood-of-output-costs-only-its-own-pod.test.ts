import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { BYTES_PER_SECOND } from '../../src/control/backends/pod-output.ts';
import { ProcessBackend } from '../../src/control/backends/process.ts';
import { listen, requestFor } from './backend-contract.ts';
import { until } from './fakes.ts';

const POD = fileURLToPath(new URL('fixtures/pod.mjs', import.meta.url));
/** One read of a pipe may come on top of a window's budget, of each of the two streams. */
const READ_BYTES = 65_536;

t.test(
  'a pod that floods is read within its budget, another as ever, and both can be ended',
  async (t) => {
    const arrivals: { podId: string; at: number; bytes: number }[] = [];
    const backend = new ProcessBackend({
      command: { file: process.execPath, args: [POD] },
      environment: { PATH: process.env['PATH'] ?? '' },
      onLine: ({ podId }, _stream, line) =>
        void arrivals.push({ podId, at: performance.now(), bytes: line.length + 1 }),
    });
    t.teardown(() => backend.close());
    const { exited } = listen(backend);
    const flood = requestFor('floods', tmpdir());
    const quiet = requestFor('ticks', tmpdir());
    const begin = performance.now();
    await backend.launch(flood);
    await backend.launch(quiet);
    const of = (podId: string) => arrivals.filter((a) => a.podId === podId);
    const bytes = () => of(flood.podId).reduce((sum, a) => sum + a.bytes, 0);
    // The machine may be busy: what counts is that it goes on, window after window.
    for (const windows of [0.5, 1.5, 2.5]) {
      const more = () => bytes() > windows * BYTES_PER_SECOND;
      await until(`the flood filled ${windows} windows`, more);
    }
    await until('the other was heard meanwhile', () => of(quiet.podId).length > 30);

    const seconds = (performance.now() - begin) / 1_000;
    const most = (Math.floor(seconds) + 1) * (BYTES_PER_SECOND + 2 * READ_BYTES);
    t.ok(bytes() <= most, `${bytes()} bytes in ${seconds.toFixed(1)} s`);

    await backend.terminate(flood.podId, 0);
    t.match(await exited(flood.podId), { reason: 'signal SIGKILL' });
  },
);

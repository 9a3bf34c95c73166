/**
 * Entry of a process: the assembled scheduler on real sockets. `node server.js <functions> <idle pods> [timed]`. With
 * `timed` it prints, for each line that it is given, its own time since the last: `{"ownMs":..,"requests":..}`.
 */
import { createInterface } from 'node:readline';
import { TICK_MS } from '@simmer/control-plane/dist/scheduler/timing-wheel.js';
import { loadUws } from '@simmer/control-plane/dist/scheduler/uws.js';
import { announce } from '../child.ts';
import { assemble } from './assembly.ts';
import { timedUws, Watch } from './timed-uws.ts';

const MAX_HEADER_BYTES = 16_384;

const [functions = '1', idlePods = '0', timed] = process.argv.slice(2);
const watch = new Watch();
const uws = await loadUws(MAX_HEADER_BYTES);
const { core, port, podPort, pods } = await assemble(
  timed === undefined ? uws : timedUws(uws, watch),
  Number(functions),
  Number(idlePods),
);
setInterval(() => core.wheel.advance(performance.now()), TICK_MS);
announce({ port, podPort, pods });
createInterface({ input: process.stdin }).on('line', () => {
  const { ownMs, requests } = watch;
  watch.ownMs = 0;
  watch.requests = 0;
  process.stdout.write(`${JSON.stringify({ ownMs, requests })}\n`);
});

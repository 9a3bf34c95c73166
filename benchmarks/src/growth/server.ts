/** Entry of a process: the assembled scheduler on real sockets. `node server.js <functions> <idle pods>`. */
import { TICK_MS } from '@simmer/control-plane/dist/scheduler/timing-wheel.js';
import { loadUws } from '@simmer/control-plane/dist/scheduler/uws.js';
import { announce } from '../child.ts';
import { assemble } from './assembly.ts';

const MAX_HEADER_BYTES = 16_384;

const [functions = '1', idlePods = '0'] = process.argv.slice(2);
const { core, port, podPort, pods } = await assemble(
  await loadUws(MAX_HEADER_BYTES),
  Number(functions),
  Number(idlePods),
);
setInterval(() => core.wheel.advance(performance.now()), TICK_MS);
announce({ port, podPort, pods });

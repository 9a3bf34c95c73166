/**
 * From the spawn of a pod to its `ready`, beside what an empty Node process takes from its spawn to its exit, the two
 * interleaved. Docs: docs/adr/0002-runtime-cold-start.md.
 *
 *   node runtime/bench/cold-start.mjs [--rounds 21] [--only name,name] [--variants <file>]
 *
 * A variants file is a module whose default export maps names to `{ flags?, file?, handler?, env?, welcome? }`, for measuring one
 * choice against another.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { decodeEach, encode } from '@simmer/protocol/codec';
import { RUNTIME_NODE_FLAGS } from '@simmer/protocol/runtime-environment';
import { WebSocketServer } from 'ws';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '21' },
    only: { type: 'string' },
    variants: { type: 'string' },
  },
});

const RUNTIME = fileURLToPath(new URL('../dist/runtime.cjs', import.meta.url));
const WARM_UP_ROUNDS = 2;

const folder = mkdtempSync(join(tmpdir(), 'simmer-cold-start-'));
const empty = write('empty.cjs', '');
const HANDLERS = {
  esm: write('echo.mjs', 'export default async (input) => input;'),
  commonjs: write('echo.cjs', 'module.exports = async (input) => input;'),
  typescript: write('echo.mts', 'export default async (input: unknown) => input;'),
  fetch: write('fetch.mjs', 'export const fetch = async (request) => new Response(request.body);'),
};

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
await once(server, 'listening');

/** What a variant is: a function that resolves with the milliseconds it took. */
const WELCOME = {
  kind: 'welcome',
  session: 'session',
  heartbeatMs: 60_000,
  maxRequestBytes: 10_485_760,
  maxResultBytes: 10_485_760,
  windowBytes: 1_048_576,
  logBytes: 0,
};
const SCHEMA = JSON.stringify({
  type: 'object',
  required: ['text'],
  properties: { text: { type: 'string', pattern: '^[a-z]+$' }, n: { type: 'integer' } },
});

const variants = { 'empty node (to exit)': () => emptyNode() };
if (values.variants === undefined) {
  for (const [name, handler] of Object.entries(HANDLERS)) variants[name] = () => pod({ handler });
  variants['esm with a schema'] = () =>
    pod({ handler: HANDLERS.esm, welcome: { inputSchema: SCHEMA } });
} else {
  const module = await import(pathToFileURL(values.variants).href);
  for (const [name, options] of Object.entries(module.default)) {
    variants[name] = () => pod({ handler: HANDLERS.esm, ...options });
  }
}
const names = Object.keys(variants).filter(
  (name, i) => i === 0 || values.only === undefined || values.only.split(',').includes(name),
);

const times = new Map(names.map((name) => [name, []]));
for (let round = -WARM_UP_ROUNDS; round < Number(values.rounds); round++) {
  for (const name of names) {
    const ms = await variants[name]();
    if (round >= 0) times.get(name).push(ms);
  }
}
server.close();
rmSync(folder, { recursive: true });

const base = median(times.get(names[0]));
console.log(`${'spawn to ready, ms'.padEnd(28)}   min    p25  median   over empty`);
for (const name of names) {
  const sorted = times.get(name).toSorted((a, b) => a - b);
  const cells = [sorted[0], sorted[sorted.length >> 2], median(sorted)];
  const over = name === names[0] ? '' : (median(sorted) - base).toFixed(1);
  console.log(
    name.padEnd(28) + cells.map((ms) => ms.toFixed(1).padStart(7)).join('') + over.padStart(11),
  );
}

function write(name, text) {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

function median(list) {
  return list.toSorted((a, b) => a - b)[list.length >> 1];
}

async function emptyNode() {
  const start = performance.now();
  const child = spawn(process.execPath, [empty], { stdio: 'ignore' });
  await once(child, 'exit');
  return performance.now() - start;
}

async function pod({
  flags = RUNTIME_NODE_FLAGS,
  file = RUNTIME,
  handler,
  env = {},
  welcome = {},
}) {
  const ready = new Promise((resolve) => {
    server.once('connection', (ws) => {
      const take = ({ kind }) => {
        if (kind === 'hello') ws.send(encode({ ...WELCOME, ...welcome }));
        if (kind === 'ready') resolve(performance.now());
        return true;
      };
      ws.on('message', (data) => decodeEach(data, take));
    });
  });
  const start = performance.now();
  const child = spawn(process.execPath, [...flags, ...(file === null ? [] : [file])], {
    env: {
      SIMMER_ADDRESS: `ws://127.0.0.1:${server.address().port}`,
      SIMMER_POD_UID: 'pod',
      SIMMER_TOKEN: 'token',
      SIMMER_FUNCTION: 'default/bench',
      SIMMER_HANDLER: handler,
      SIMMER_EXIT_WITH_STDIN: '1',
      ...env,
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const at = await ready;
  child.kill('SIGKILL');
  await once(child, 'exit');
  return at - start;
}

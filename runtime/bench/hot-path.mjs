/**
 * What one invocation costs the pod: its process's CPU time (user and system) for each of many small echo calls, kept at
 * a constant number in flight, and the round trip at one in flight. Against a WebSocket server in another process, so
 * that only the pod is measured.
 *
 *   node runtime/bench/hot-path.mjs [--flags '<node flags>'] [--runtime <file>] [--rounds 5]
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { decodeEach, encode } from '@simmer/protocol/codec';
import { RUNTIME_NODE_FLAGS } from '@simmer/protocol/runtime-environment';
import { WebSocketServer } from 'ws';

const { values } = parseArgs({
  options: {
    flags: { type: 'string', default: RUNTIME_NODE_FLAGS.join(' ') },
    runtime: {
      type: 'string',
      default: fileURLToPath(new URL('../dist/runtime.cjs', import.meta.url)),
    },
    rounds: { type: 'string', default: '5' },
  },
});

const CALLS = 40_000;
const IDLE_CALLS = 3_000;

const HANDLERS = {
  echo: 'export default async (input) => input;',
  context:
    'export default async (input, ctx) => { ctx.signal; return { ...input, id: ctx.executionId }; };',
  awaits:
    'export default async (i) => { await null; await null; await null; await null; return i; };',
  timer: 'export default (i) => new Promise((done) => setImmediate(done, i));',
  raw: 'export default async (input) => input;',
  fetch: 'export const fetch = async (r) => Response.json(await r.json());',
};

const folder = mkdtempSync(join(tmpdir(), 'simmer-bench-'));
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
await new Promise((resolve) => server.on('listening', resolve));
const body = Buffer.from(JSON.stringify({ input: { text: 'x'.repeat(200), n: 1 }, metadata: {} }));
const rawBody = Buffer.from(JSON.stringify({ text: 'x'.repeat(200), n: 1 }));

const rows = Object.fromEntries(Object.keys(HANDLERS).map((name) => [name, { at64: [], at1: [] }]));
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [name, source] of Object.entries(HANDLERS)) {
    const { at64, at1 } = await measure(name, source);
    rows[name].at64.push(at64);
    rows[name].at1.push(at1);
  }
}
server.close();
rmSync(folder, { recursive: true });
console.log('handler    CPU us/call at 64   round trip us p50 at 1');
for (const [name, { at64, at1 }] of Object.entries(rows)) {
  console.log(
    `${name.padEnd(12)}${median(at64).toFixed(1).padStart(10)}${median(at1).toFixed(1).padStart(16)}`,
  );
}

function median(list) {
  return list.toSorted((a, b) => a - b)[list.length >> 1];
}

async function measure(name, source) {
  const file = join(folder, `${name}.mjs`);
  writeFileSync(file, source);
  const connected = new Promise((resolve) => server.once('connection', resolve));
  const child = spawn(
    process.execPath,
    [...values.flags.split(' ').filter(Boolean), values.runtime],
    {
      env: {
        SIMMER_ADDRESS: `ws://127.0.0.1:${server.address().port}`,
        SIMMER_POD_UID: 'pod',
        SIMMER_TOKEN: 'token',
        SIMMER_FUNCTION: 'default/bench',
        SIMMER_HANDLER: file,
        SIMMER_CAPACITY: '100',
      },
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  const ws = await connected;
  ws._socket.setNoDelay(true);
  const raw = name === 'raw' || name === 'fetch';
  let stream = 0;
  let onResult = () => {};
  let onReady;
  const ready = new Promise((resolve) => {
    onReady = resolve;
  });
  const take = (frame) => {
    if (frame.kind === 'hello') {
      ws.send(
        encode({
          kind: 'welcome',
          session: 's',
          heartbeatMs: 60_000,
          maxRequestBytes: 1e7,
          maxResultBytes: 1e7,
          windowBytes: 1e6,
          logBytes: 0,
        }),
      );
    } else if (frame.kind === 'ready') onReady();
    else if (frame.kind === 'result') {
      if (frame.outcome !== 'ok') throw new Error(`${frame.code} ${frame.message}`);
      onResult();
    }
    return true;
  };
  ws.on('message', (data) => decodeEach(data, take));
  await ready;
  const invoke = () => {
    stream++;
    ws.send(
      encode({
        kind: 'invoke',
        stream,
        executionId: `e1f2a3b4-${stream}`,
        attempt: 1,
        budgetMs: 30_000,
        form: raw ? 'raw' : 'value',
        method: raw ? 'POST' : '',
        target: raw ? '/' : '',
        headers: [
          ['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
          ...(raw
            ? [
                ['content-type', 'application/json'],
                ['host', 'localhost:8080'],
              ]
            : []),
        ],
        body: raw ? rawBody : body,
        more: false,
      }),
    );
  };
  const run = (calls, inFlight) =>
    new Promise((resolve) => {
      let sent = 0;
      let done = 0;
      onResult = () => {
        if (++done === calls) resolve();
        else if (sent < calls) {
          sent++;
          invoke();
        }
      };
      while (sent < inFlight) {
        sent++;
        invoke();
      }
    });
  await run(10_000, 64);
  const before = cpuOf(child.pid);
  await run(CALLS, 64);
  const at64 = (cpuOf(child.pid) - before) / CALLS;
  const times = [];
  for (let i = 0; i < IDLE_CALLS; i++) {
    const start = performance.now();
    await run(1, 1);
    times.push((performance.now() - start) * 1_000);
  }
  child.kill('SIGKILL');
  return { at64, at1: median(times) };
}

/** Microseconds, from the scheduler's own account of the process's threads. */
function cpuOf(pid) {
  let total = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    total += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
  }
  return total / 1_000;
}

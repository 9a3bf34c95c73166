import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** Where no timeout is meant: a pod that has just been killed may have to be replaced on a busy machine. */
const PATIENCE_MS = '60000';
/** Where one is meant. */
const TIMEOUT_MS = '400';

interface Started {
  readonly port: number;
  stop(): Promise<number | null>;
}

async function start(): Promise<Started> {
  const flags = ['--functions', 'examples', '--port', '0', '--management-port', '0'];
  flags.push('--pod-port', '0', '--callback-allow', '127.0.0.1');
  const server = spawn(process.execPath, ['control-plane/dist/main.js', ...flags], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(server, 'exit');
  const stop = async () => {
    server.kill('SIGTERM');
    return (await exited)[0] as number | null;
  };
  for await (const line of createInterface({ input: server.stdout })) {
    const { message, port } = JSON.parse(line) as { message: string; port: number };
    if (message !== 'serving') continue;
    server.stdout.resume();
    return { port, stop };
  }
  throw new Error('it ended before it served');
}

const server = await start();
const at = (path: string) => `http://127.0.0.1:${server.port}${path}`;
const headers = { 'x-timeout-ms': PATIENCE_MS };
t.teardown(() => server.stop());

async function invoke(name: string, input: unknown, timeoutMs = PATIENCE_MS) {
  const response = await fetch(at(`/v1/functions/${name}:invoke`), {
    method: 'POST',
    headers: { 'x-timeout-ms': timeoutMs },
    body: JSON.stringify({ input }),
  });
  const body = (await response.json()) as Record<string, unknown>;
  return { status: response.status, body };
}

t.test('echo gives back what it was given', async (t) => {
  for (const input of [null, 0, 'text', [1, [2]], { a: { b: 'ü' } }, 'x'.repeat(300_000)]) {
    t.match(await invoke('echo', input), { status: 200, body: { output: input } });
  }
});

t.test('word-stats counts words of an envelope and of plain text', async (t) => {
  const stats = {
    words: 6,
    unique: 4,
    top: [
      { word: 'be', count: 2 },
      { word: 'to', count: 2 },
    ],
  };
  const text = 'To be, or not to be?';
  t.match(await invoke('word-stats', { text, top: 2 }), { status: 200, body: { output: stats } });
  const raw = await fetch(at('/fn/word-stats'), {
    method: 'POST',
    headers: { ...headers, 'content-type': 'text/plain' },
    body: text,
  });
  t.match(await raw.json(), { words: 6, unique: 4 });
  const bad = await invoke('word-stats', { text, top: 0 });
  t.match(bad, { status: 400, body: { code: 'bad_input' } });
});

t.test('image-resize answers with a smaller image, or says what is wrong', async (t) => {
  const image = readFileSync(new URL('../examples/image-resize/sample.png', import.meta.url));
  const post = (query: string, body: Uint8Array<ArrayBuffer>) =>
    fetch(at(`/fn/image-resize${query}`), { method: 'POST', headers, body });
  const small = await post('?width=48&format=jpeg', new Uint8Array(image));
  t.equal(small.status, 200);
  t.equal(small.headers.get('content-type'), 'image/jpeg');
  t.equal(small.headers.get('x-image-size'), '48x32');
  t.equal(Buffer.from(await small.arrayBuffer()).readUInt16BE(0), 0xffd8, 'a JPEG begins so');
  t.equal((await post('?width=0', new Uint8Array(image))).status, 400);
  t.equal((await post('', new Uint8Array([1, 2, 3]))).status, 422);
});

t.test('page is served with the client that it loads', async (t) => {
  for (const [path, type] of [
    ['', 'text/html'],
    ['/page.js', 'text/javascript'],
    ['/client.js', 'text/javascript'],
  ]) {
    const response = await fetch(at(`/fn/page${path}`), { headers });
    t.equal(response.status, 200);
    t.match(response.headers.get('content-type'), type);
    t.ok((await response.text()).length > 1_000);
  }
  t.equal((await fetch(at('/fn/page/other'), { headers })).status, 404);
});

t.test('stream sends its events while it makes them', async (t) => {
  const response = await fetch(at('/fn/stream?count=3&intervalMs=20'), { headers });
  t.equal(response.headers.get('content-type'), 'text/event-stream');
  const text = await response.text();
  t.same(text.match(/"count":\d/g), ['"count":1', '"count":2', '"count":3']);
});

t.test(
  'report is told to its receiver, which takes only what is signed, and nothing twice',
  async (t) => {
    const { key } = (await (await fetch(at('/v1/functions/report/callback-key'))).json()) as {
      key: string;
    };
    const receiver = spawn(process.execPath, ['examples/report/receiver.mjs'], {
      cwd: ROOT,
      env: { ...process.env, CALLBACK_KEY: key, PORT: '0' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.teardown(() => receiver.kill());
    const lines = createInterface({ input: receiver.stdout })[Symbol.asyncIterator]();
    const line = async () => (await lines.next()).value as string;
    const callbackUrl = (await line()).replace('listening on ', '');
    const orders = ['tea', 'tea', 'salt'].map((product) => ({ product, price: 2 }));
    const enqueue = async (input: unknown) => {
      const body = JSON.stringify({ input, callbackUrl });
      const answer = await fetch(at('/v1/functions/report:enqueue'), { method: 'POST', body });
      t.equal(answer.status, 202);
      return ((await answer.json()) as { executionId: string }).executionId;
    };
    const id = await enqueue({ orders });
    const output = {
      orders: 3,
      products: { tea: { count: 2, total: 4 }, salt: { count: 1, total: 2 } },
    };
    t.equal(await line(), `${id} succeeded after 1 attempt(s): ${JSON.stringify(output)}`);
    const bad = await enqueue({});
    t.match(await line(), new RegExp(`^${bad} failed after 1 attempt`));

    const post = (headers: Record<string, string>, body: string) =>
      fetch(callbackUrl, { method: 'POST', headers, body });
    t.equal((await post({}, '{}')).status, 401);
    t.match(await line(), /^refused/);
    const body = JSON.stringify({ executionId: id });
    const timestamp = String(Math.floor(Date.now() / 1_000));
    const signature = createHmac('sha256', key).update(`${timestamp}.${body}`).digest('hex');
    const again = await post(
      {
        ...{ 'idempotency-key': id, 'x-simmer-timestamp': timestamp },
        'x-simmer-signature': `v1=${signature}`,
      },
      body,
    );
    t.equal(again.status, 204);
    t.equal(await line(), `${id} again: nothing to do`);
  },
);

/** The table in the handler's own comment: mode, and at the end status and code. */
const modes = readFileSync(new URL('../examples/fails/handler.js', import.meta.url), 'utf8')
  .split('\n')
  .flatMap((line) => {
    const row = /^ \* {3}([a-z-]+) {2,}\S.*? {2,}(\d{3})(?: (\w+))?/.exec(line);
    return row === null ? [] : [{ mode: row[1] as string, status: Number(row[2]), code: row[3] }];
  });

t.test('fails fails as its table says, and serves the next call each time', async (t) => {
  t.ok(modes.length >= 15, `${modes.length} modes`);
  for (const { mode, status, code } of modes) {
    const failed = await invoke('fails', { mode }, code === 'timeout' ? TIMEOUT_MS : PATIENCE_MS);
    t.equal(failed.status, status, mode);
    t.equal(failed.body['code'], code, mode);
    t.match(await invoke('fails', { mode: 'ok' }), { status: 200 }, `after ${mode}`);
  }
});

t.test('the control plane ends with 0 when it is told to', async (t) => {
  t.equal(await server.stop(), 0);
});

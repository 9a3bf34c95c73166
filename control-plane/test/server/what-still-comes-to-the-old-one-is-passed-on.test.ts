/** A control plane that has handed over, its clients' requests, and the next one that answers them: over real sockets. */
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { Plane, RuntimePod } from './plane.ts';
import { eventually, request } from './simmer.ts';

const PIECE = 65_536;
const PIECES = 1_024;
const HANDLER = `
let pulled = 0;
export const fetch = async (request) => {
  const url = new URL(request.url);
  switch (url.pathname) {
    case '/empty': return new Response(null, { status: 204 });
    case '/gone': return new Response('gone', { status: 410, statusText: 'Gone' });
    case '/stream': return new Response(new ReadableStream({
      async start(c) { for (let i = 0; i < 3; i++) { c.enqueue(new TextEncoder().encode('piece')); await 1; } c.close(); },
    }));
    case '/endless': return new Response(new ReadableStream({
      pull(c) { if (++pulled > ${PIECES}) c.close(); else c.enqueue(new Uint8Array(${PIECE})); },
    }));
    case '/pulled': return Response.json(pulled);
    case '/hang': return new Promise((_, reject) => request.signal.addEventListener('abort', () => reject(new Error('told'))));
    case '/echo': return new Response(await request.arrayBuffer());
  }
  return Response.json({
    method: request.method, url: url.pathname + url.search, body: await request.text(),
    mine: request.headers.get('x-mine'), all: [...request.headers.keys()].filter((k) => k.startsWith('x-m')),
  }, { headers: { 'x-answer': request.headers.get('x-mine') ?? '', 'set-cookie': 'a=1' } });
};
`;

async function setUp(t: Parameters<typeof Plane.start>[0]) {
  const [old, next] = [await Plane.start(t, 'old'), await Plane.start(t, 'next')];
  for (const plane of [old, next]) plane.define('fn', { concurrency: 10 });
  const pod = next.expect('fn');
  next.identify(pod);
  RuntimePod.start(t, next.podAddress, pod, { SIMMER_CAPACITY: '10' }, HANDLER);
  await next.serving('fn');
  return { old, next, forwarder: old.handOverTo(next) };
}

t.test('every shape of request and answer is as it were over there', async (t) => {
  const { old, next, forwarder } = await setUp(t);
  const mine = Buffer.from('grüße', 'utf8').toString('latin1');
  const calls: [string, string, { body?: string; headers?: Record<string, string> }?][] = [
    ['POST', '/v1/functions/fn:invoke', { body: '{"input":{}}' }],
    ['POST', '/v1/functions/nobody:invoke', { body: '{}' }],
    ['GET', '/nowhere'],
    ['GET', '/fn/fn/a%20b?c=d&c=%C3%A9', { headers: { 'x-mine': mine, 'x-more': '1' } }],
    ['PUT', '/fn/fn/a', { body: 'text', headers: { 'content-length': '4' } }],
    ['DELETE', '/fn/fn/a', { body: 'in pieces', headers: { 'transfer-encoding': 'chunked' } }],
    ['POST', '/fn/fn/a', { headers: { 'content-length': '0' } }],
    ['HEAD', '/fn/fn/gone'],
    ['GET', '/fn/fn/empty'],
    ['GET', '/fn/fn/gone'],
    ['GET', '/fn/fn/stream'],
    ['POST', '/fn/fn/echo', { body: 'x'.repeat(5_000_000) }],
  ];
  const own = new Set(['date', 'connection', 'x-execution-id', 'x-trace-id', 'keep-alive']);
  for (const [method, path, options = {}] of calls) {
    const [there, here] = [
      await request(next.port, path, { method, ...options }),
      await request(old.port, path, { method, ...options }),
    ];
    const what = `${method} ${path}`;
    t.equal(here.status, there.status, what);
    t.equal(withoutId(here.text), withoutId(there.text), what);
    const headers = (of: typeof here) =>
      Object.entries(of.headers).filter(([name]) => !own.has(name));
    t.strictSame(headers(here).sort(), headers(there).sort(), what);
    t.equal(here.headers.connection, 'close', what);
    t.match(here.headers['x-execution-id'], /^next/, 'its id is of the one that ran it');
  }
  t.equal(forwarder.live, 0);
});

t.test('a client that hangs up is told there', async (t) => {
  const { old, next, forwarder } = await setUp(t);
  const call = httpRequest({ port: old.port, path: '/fn/fn/hang' });
  call.on('error', () => {});
  call.end();
  await eventually('it runs', () => next.core.scheduler.live === 1);
  call.destroy();
  await eventually('it ends', () => next.core.scheduler.live === 0);
  t.equal(forwarder.live, 0);
  const fn = next.core.functions.get('default/fn');
  t.equal(fn?.counters.errors('cancelled'), 1);
});

t.test('who reads slowly is not read for', async (t) => {
  const { old } = await setUp(t);
  const call = httpRequest({ port: old.port, path: '/fn/fn/endless' });
  call.end();
  const [response] = (await once(call, 'response')) as [IncomingMessage];
  const pulled = async () => Number((await request(old.port, '/fn/fn/pulled')).text);
  let before = -1;
  await eventually('the handler waits', async () => {
    const now = await pulled();
    const same = now === before;
    before = now;
    return same && now > 0;
  });
  t.ok(before < PIECES, `${before} pieces of ${PIECES}`);
  let bytes = 0;
  for await (const piece of response) bytes += piece.length;
  t.equal(bytes, PIECES * PIECE);
});

t.test('where the next one cannot be reached, it is to be tried again', async (t) => {
  const old = await Plane.start(t, 'old');
  const closed = createServer().listen(0, '127.0.0.1');
  await once(closed, 'listening');
  const { port } = closed.address() as AddressInfo;
  closed.close();
  await once(closed, 'close');
  for (const address of [`http://127.0.0.1:${port}`, '']) {
    const forwarder = old.forwardTo(address);
    for (const method of ['POST', 'HEAD']) {
      const answer = await request(old.port, '/fn/fn/x', { method });
      t.equal(answer.status, 503);
      t.equal(answer.headers['retry-after'], '1');
      t.equal(answer.headers['x-execution-id'], 'x-1');
      t.equal(answer.headers.connection, 'close');
      if (method === 'POST') t.match(answer.json, { code: 'draining', executionId: 'x-1' });
    }
    t.equal(forwarder.live, 0);
  }
});

t.test('where the next one breaks off, so does the answer', async (t) => {
  const old = await Plane.start(t, 'old');
  const heads = [
    '',
    'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nha',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nha\r\n',
  ];
  for (const head of heads) {
    const asked: Socket[] = [];
    const breaking = await listening(t, (socket) => {
      asked.push(socket);
      socket.once('data', () => socket.write(head));
    });
    const { port } = breaking.address() as AddressInfo;
    const forwarder = old.forwardTo(`http://127.0.0.1:${port}`);
    const answer = request(old.port, '/fn/fn/x', { body: '{}' });
    await eventually('it was asked', () => (asked[0]?.bytesRead ?? 0) > 0);
    // After what it says has got there.
    await delay(0);
    asked[0]?.resetAndDestroy();
    await t.rejects(answer, { code: /^(ECONNRESET|HPE_INVALID_EOF_STATE)$/ }, head);
    t.equal(asked.length, 1, 'it is not asked twice');
    t.equal(forwarder.live, 0);
  }
});

async function listening(
  t: { teardown(end: () => void): unknown },
  onSocket: (socket: Socket) => void,
): Promise<Server> {
  const server = createServer(onSocket).listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  return server;
}

function withoutId(text: string): string {
  return text.replace(/"executionId":"[^"]*"/, '');
}

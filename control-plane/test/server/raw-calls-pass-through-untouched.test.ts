import { createHash, randomBytes } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import t from 'tap';
import { head, RawSocket } from './raw-socket.ts';
import { eventually, Simmer } from './simmer.ts';

const FIVE_MIB = 5 * 1_048_576;
const AT_ONCE = 4;

const FETCH = `
let pulled = 0;
export const fetch = async (request) => {
  const url = new URL(request.url);
  switch (url.pathname) {
    case '/echo':
      return new Response(request.body, {
        status: Number(url.searchParams.get('status') ?? 200),
        headers: { 'content-type': request.headers.get('content-type') ?? 'text/plain', 'x-method': request.method },
      });
    case '/inspect':
      return Response.json({
        method: request.method, url: url.pathname + url.search,
        headers: [...request.headers], body: await request.text(),
      });
    case '/cookies': {
      const headers = new Headers([['set-cookie', 'a=1'], ['set-cookie', 'b=2']]);
      return new Response(null, { status: 204, headers });
    }
    case '/length':
      return new Response(request.method === 'HEAD' ? null : 'twelve bytes', { headers: { 'content-length': '12' } });
    case '/pulled':
      return Response.json(pulled);
    case '/endless':
      return new Response(new ReadableStream({
        pull(controller) { pulled += 65536; controller.enqueue(Buffer.alloc(65536, 'x')); },
      }, { highWaterMark: 0 }));
    case '/breaks':
      return new Response(ReadableStream.from((async function* () {
        yield Buffer.from('the beginning');
        await new Promise((resolve) => setTimeout(resolve, 50));
        throw new Error('half way');
      })()));
    default:
      return new Response('nothing here', { status: 404 });
  }
};
`;
const VALUE = `export default async (input) => input;`;

const simmer = await Simmer.start(t, [
  { name: 'raw', code: FETCH, spec: { minReplicas: 1, maxReplicas: 1, concurrency: 20 } },
  { name: 'value', code: VALUE, spec: { minReplicas: 1 } },
]);

t.test('method, path, query, headers and body reach the handler as they were sent', async (t) => {
  for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
    const body = method === 'GET' ? undefined : 'the body';
    const { status, json } = await simmer.request('/fn/raw/inspect?a=1&b=%20x&c=%2F', {
      method,
      headers: { 'x-custom': 'one', 'content-type': 'text/x-odd', accept: 'a/b' },
      ...(body !== undefined && { body }),
    });
    t.equal(status, 200);
    t.equal(json.method, method);
    t.equal(json.url, '/inspect?a=1&b=%20x&c=%2F');
    t.equal(json.body, body ?? '');
    const headers = Object.fromEntries(json.headers);
    t.match(headers, { 'x-custom': 'one', 'content-type': 'text/x-odd', accept: 'a/b' });
    t.notOk('connection' in headers);
  }
  t.equal((await simmer.request('/fn/raw')).text, 'nothing here');
  t.equal((await simmer.request('/fn/raw.default/inspect')).json.url, '/inspect');
});

t.test(
  'status, headers, content type and a binary body come back as the handler gave them',
  async (t) => {
    const body = randomBytes(5_000);
    for (const status of [200, 201, 404, 418, 500, 503]) {
      const answer = await simmer.request(`/fn/raw/echo?status=${status}`, {
        body,
        headers: { 'content-type': 'application/x-binary' },
      });
      t.equal(answer.status, status);
      t.equal(answer.headers['content-type'], 'application/x-binary');
      t.equal(answer.headers['x-method'], 'POST');
      t.ok(answer.body.equals(body));
      t.ok(answer.headers['x-execution-id']);
    }
  },
);

t.test('204 with two cookies', async (t) => {
  const answer = await simmer.request('/fn/raw/cookies');
  t.equal(answer.status, 204);
  t.same(answer.headers['set-cookie'], ['a=1', 'b=2']);
  t.equal(answer.body.length, 0);
});

t.test('HEAD has a length and no body, and keeps its connection', async (t) => {
  const client = await RawSocket.open(simmer.port);
  for (const path of ['/fn/raw/length', '/fn/raw/endless', '/fn/value', '/fn/raw/cookies']) {
    client.received = '';
    client.write(head('HEAD', path));
    const answer = await client.until('the head', /\r\n\r\n/);
    t.match(answer, /^HTTP\/1.1 20[04] .*x-execution-id/s, path);
    if (path.endsWith('length')) t.match(answer, /\r\ncontent-length: 12\r\n/i);
    if (path.endsWith('endless')) t.notMatch(answer, /content-length/i);
    client.write(head('GET', '/fn/raw/length'));
    t.match(
      await client.until('the next answer', /twelve bytes$/),
      /\r\n\r\nHTTP\/1.1 200 OK/,
      path,
    );
  }
  client.end();
});

t.test(
  'a default handler gets JSON as a value, text as a string, else bytes; and back',
  async (t) => {
    const json = await simmer.request('/fn/value', {
      body: '{"a":[1]}',
      headers: { 'content-type': 'application/json' },
    });
    t.same(json.json, { a: [1] });
    t.match(json.headers['content-type'], 'application/json');
    const text = await simmer.request('/fn/value', {
      body: 'plain',
      headers: { 'content-type': 'text/plain' },
    });
    t.equal(text.text, 'plain');
    t.match(text.headers['content-type'], 'text/plain');
    const bytes = randomBytes(2_000);
    const binary = await simmer.request('/fn/value', {
      body: bytes,
      headers: { 'content-type': 'application/octet-stream' },
    });
    t.ok(binary.body.equals(bytes));
    const bad = await simmer.request('/fn/value', {
      body: '{',
      headers: { 'content-type': 'application/json' },
    });
    t.match([bad.status, bad.json.code], [400, 'invalid_json']);
  },
);

t.test('5 MiB each way, several at once, with small calls between them', async (t) => {
  const sha = (data: Uint8Array) => createHash('sha256').update(data).digest('hex');
  let large = AT_ONCE;
  const bodies = Array.from({ length: AT_ONCE }, () => randomBytes(FIVE_MIB));
  const calls = bodies.map(async (body) => {
    const answer = await simmer.request('/fn/raw/echo', { body });
    large--;
    return answer;
  });
  let between = 0;
  while (large > 0) {
    const { status } = await simmer.request('/fn/raw/inspect');
    t.equal(status, 200);
    if (large > 0) between++;
  }
  for (const [i, answer] of (await Promise.all(calls)).entries()) {
    t.equal(answer.status, 200);
    t.equal(sha(answer.body), sha(bodies[i] as Buffer));
  }
  t.ok(between > 0, `${between} small calls were answered before the last large one`);
  const { status, json } = await simmer.invoke('value', 'v'.repeat(FIVE_MIB));
  t.equal(status, 200);
  t.equal(json.output.length, FIVE_MIB);
  const whole = await simmer.request('/fn/value', {
    body: bodies[0] as Buffer,
    headers: { 'content-type': 'application/octet-stream' },
  });
  t.equal(sha(whole.body), sha(bodies[0] as Buffer));
  await simmer.quiet('default/raw');
});

t.test('a reader that stops slows its handler, not the server', async (t) => {
  const pulled = async () => (await simmer.request('/fn/raw/pulled')).json as number;
  const before = await pulled();
  const req = httpRequest({ host: '127.0.0.1', port: simmer.port, path: '/fn/raw/endless' });
  req.end();
  const res = await new Promise<import('node:http').IncomingMessage>((resolve) => {
    req.on('response', resolve);
  });
  res.pause();
  let last = -1;
  let rests = 0;
  // The sockets' buffers fill, then nothing more is asked of the handler: the same count thirty looks in a row.
  await eventually('the handler rests', async () => {
    const now = await pulled();
    rests = now === last ? rests + 1 : 0;
    last = now;
    return rests >= 30;
  });
  const held = last - before;
  t.ok(held > 0 && held < 50_000_000, `it made ${held} bytes`);
  let read = 0;
  res.on('data', (data: Buffer) => {
    read += data.length;
  });
  res.resume();
  await eventually('it goes on once the reader does', async () => read > 2 * held);
  req.destroy();
  await simmer.quiet('default/raw');
});

t.test(
  'a stream that breaks after its beginning is cut short, not ended as if complete',
  async (t) => {
    await t.rejects(simmer.request('/fn/raw/breaks'), { code: 'ECONNRESET' });
    const client = await RawSocket.open(simmer.port);
    client.write(head('GET', '/fn/raw/breaks'));
    const answer = await client.untilClosed();
    t.match(answer, /the beginning/);
    t.notMatch(answer, /\r\n0\r\n\r\n$/);
    await simmer.quiet('default/raw');
  },
);

/** The claims of docs/http-parser.md, each with a raw socket. */
import t, { type Test } from 'tap';
import { head, RawSocket } from './raw-socket.ts';
import { Simmer } from './simmer.ts';

const simmer = await Simmer.start(t, [{ name: 'echo', spec: { minReplicas: 1 } }], {
  flags: ['--max-header-bytes', '16KiB'],
});
const INVOKE = '/v1/functions/echo:invoke';

async function exchange(bytes: string): Promise<string> {
  const client = await RawSocket.open(simmer.port);
  client.write(bytes);
  return await client.untilClosed();
}

function isParsersOwn(t: Test, answer: string, status: number): void {
  t.match(answer, new RegExp(`^HTTP/1.1 ${status} `));
  t.match(answer, /<h1>.*<\/h1>/, 'is HTML');
  t.match(answer, /connection: close/i);
  t.notMatch(answer, /x-execution-id/i);
}

t.test('431: a header block over max-header-bytes, or more headers than it keeps', async (t) => {
  isParsersOwn(t, await exchange(head('GET', '/', { 'X-A': 'a'.repeat(20 * 1_024) })), 431);
  const many = Array.from({ length: 101 }, (_, i) => [`X-${i}`, 1] as const);
  isParsersOwn(t, await exchange(head('GET', '/', Object.fromEntries(many))), 431);
});

t.test('a header block below the limit is served', async (t) => {
  const client = await RawSocket.open(simmer.port);
  client.write(head('GET', '/nothing', { 'X-A': 'a'.repeat(15 * 1_024) }));
  t.match(await client.until('the answer', /route_not_found/), /x-execution-id/);
  client.end();
});

t.test('505: another version, and a first line that is none', async (t) => {
  isParsersOwn(t, await exchange('GET /fn/echo HTTP/1.0\r\nHost: a\r\n\r\n'), 505);
  isParsersOwn(t, await exchange('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), 505);
  isParsersOwn(t, await exchange('this is no request at all, my friend\r\n\r\n'), 505);
  isParsersOwn(t, await exchange('GET http://a/fn/echo HTTP/1.1\r\nHost: a\r\n\r\n'), 505);
  isParsersOwn(t, await exchange('OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n'), 505);
  isParsersOwn(t, await exchange('CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n'), 505);
  isParsersOwn(t, await exchange('GET /fn/echo HTTP/1.1\nHost: a\n\n'), 505);
  isParsersOwn(t, await exchange('\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03'), 505);
  const trailers = `${head('POST', INVOKE, { 'Transfer-Encoding': 'chunked' })}2\r\n{}\r\n0\r\nX: 1\r\n\r\n`;
  isParsersOwn(t, await exchange(trailers), 505);
});

t.test('400: headers that are none, no Host, contradictory or broken lengths', async (t) => {
  const bad = [
    'GET /fn/echo HTTP/1.1\r\n\r\n',
    'GET /fn/echo HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n',
    'GET /fn/echo HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n',
    'GET /fn/echo HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n',
    head('POST', INVOKE, { 'Content-Length': 'two' }),
    head('POST', INVOKE, { 'Content-Length': -1 }),
    `${head('POST', INVOKE, { 'Content-Length': 5, 'Transfer-Encoding': 'chunked' })}0\r\n\r\n`,
    `${head('POST', INVOKE, { 'Transfer-Encoding': 'chunked' })}zz\r\nabc\r\n`,
  ];
  for (const bytes of bad) isParsersOwn(t, await exchange(bytes), 400);
});

t.test('a second request before the first was answered closes the connection', async (t) => {
  const answer = await exchange(`${head('POST', INVOKE, { 'Content-Length': 2 })}{}`.repeat(2));
  t.equal(answer, '');
});

t.test('a client that says it will send no more gets no answer', async (t) => {
  // Its handler does not answer before the server has heard of it.
  const gate = simmer.gate();
  const body = JSON.stringify({ input: { wait: gate } });
  const client = await RawSocket.open(simmer.port, true);
  client.socket.end(`${head('POST', INVOKE, { 'Content-Length': body.length })}${body}`);
  t.equal(await client.untilClosed(), '');
  simmer.open(gate);
});

t.test('Expect: 100-continue is answered, and Connection: close kept to', async (t) => {
  const client = await RawSocket.open(simmer.port);
  client.write(
    head('POST', INVOKE, { Expect: '100-continue', 'Content-Length': 2, Connection: 'close' }),
  );
  await client.until('100', /^HTTP\/1.1 100 Continue\r\n\r\n/);
  client.write('{}');
  t.match(await client.untilClosed(), /HTTP\/1.1 200 OK.*succeeded/s);
});

t.test('other codings are read as chunked; of two lengths the first counts', async (t) => {
  const coded = await RawSocket.open(simmer.port);
  coded.write(
    `${head('POST', INVOKE, { 'Transfer-Encoding': 'gzip, chunked' })}2\r\n{}\r\n0\r\n\r\n`,
  );
  t.match(await coded.until('the answer', /\}$/), /succeeded/);
  coded.end();
  const twice = await RawSocket.open(simmer.port);
  twice.write(
    `POST ${INVOKE} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}`,
  );
  t.match(await twice.until('the answer', /\}$/), /succeeded/);
  twice.end();
});

t.test('none of it harms the server', async (t) => {
  t.equal((await simmer.invoke('echo')).status, 200);
  await simmer.quiet('default/echo');
  t.equal(simmer.stderr, '');
});

import { request as httpRequest } from 'node:http';
import t, { type Test } from 'tap';
import { WebSocket } from 'ws';
import { Issuer } from './issuer.ts';
import { KeyFile } from './keys.ts';
import { Plane, RuntimePod } from './plane.ts';
import { eventually, Simmer } from './simmer.ts';
import { StreamPeer } from './stream-peer.ts';

/** The HTTP answer to an upgrade that is refused; undefined where it was let in. */
function refusal(
  port: number,
  headers: Readonly<Record<string, string>> = {},
  // biome-ignore lint/suspicious/noExplicitAny: tests read what they expect
): Promise<{ status: number; json: any } | undefined> {
  return new Promise((resolve, reject) => {
    const req = httpRequest({
      host: '127.0.0.1',
      port,
      path: '/v1/stream',
      headers: {
        ...{ connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' },
        ...{ 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==', ...headers },
      },
    });
    req.on('upgrade', (_res, socket) => {
      socket.destroy();
      resolve(undefined);
    });
    req.on('response', (res) => {
      let text = '';
      res.on('data', (part) => {
        text += part;
      });
      res.on('end', () => resolve({ status: res.statusCode as number, json: JSON.parse(text) }));
    });
    req.on('error', reject);
    req.end();
  });
}

/** What a socket is closed with after this is sent. */
async function closedWith(t: Pick<Test, 'teardown'>, port: number, data: string | Uint8Array) {
  const peer = await StreamPeer.open(t, port, typeof data === 'string' ? 'json' : 'msgpack');
  peer.ws.send(data as string);
  return (await eventually('it is closed', () => peer.closed)).code;
}

t.test('messages', async (t) => {
  const simmer = await Simmer.start(t, [
    { name: 'fn', spec: { concurrency: 300, minReplicas: 1 } },
    { name: 'small', spec: { minReplicas: 1, maxRequestBytes: 100_000 } },
  ]);
  const { port } = simmer;

  await t.test('subprotocols', async (t) => {
    t.match(await refusal(port, { 'sec-websocket-protocol': 'mqtt' }), {
      status: 400,
      json: { code: 'unknown_subprotocol' },
    });
    t.equal(
      await refusal(port, { 'sec-websocket-protocol': 'mqtt, simmer.client.v1.json' }),
      undefined,
    );
    const none = new WebSocket(`ws://127.0.0.1:${port}/v1/stream`);
    const greeting = await new Promise((resolve) => none.once('message', resolve));
    t.match(JSON.parse(String(greeting)), { type: 'hello' });
    none.terminate();
  });

  await t.test('pages of other origins are not let in', async (t) => {
    t.match(await refusal(port, { origin: 'https://evil.example' }), {
      status: 403,
      json: { code: 'forbidden' },
    });
    t.match(await refusal(port, { origin: 'null' }), { status: 403 });
    t.equal(await refusal(port, { origin: `http://127.0.0.1:${port}` }), undefined, 'its own');
    t.ok((await simmer.metric('simmer_stream_refused_upgrades_total')) >= 3);
    const open = await Simmer.start(t, [{ name: 'fn' }], {
      flags: ['--cors-origins', 'https://app.example'],
    });
    t.equal(await refusal(open.port, { origin: 'https://app.example' }), undefined);
    t.match(await refusal(open.port, { origin: 'https://evil.example' }), { status: 403 });
  });

  await t.test('what cannot be read ends the socket, or its request', async (t) => {
    for (const text of ['', 'no', '[]', '{}', '{"type":"hello"}', '{"type":"invoke"}']) {
      t.equal(await closedWith(t, port, text), 4400, text);
    }
    t.equal(await closedWith(t, port, Buffer.from('dd01c9c380', 'hex')), 4400);
    const peer = await StreamPeer.open(t, port, 'json');
    peer.ws.send('{"type":"invoke","id":1}');
    t.match(await peer.problem(1), { code: 'invalid_message', detail: /function/ });
    peer.ws.send('{"type":"invoke","id":2,"function":"fn","timeoutMs":"5"}');
    t.match(await peer.problem(2), { code: 'invalid_message', detail: /timeoutMs/ });
    peer.ws.send(`{"type":"invoke","id":3,"function":"fn","more":true}`);
    t.match(await peer.problem(3), { code: 'invalid_message' });
    peer.send({
      type: 'request',
      id: 4,
      function: 'fn',
      method: 'GET',
      path: '/',
      headers: [['a', 'b\r\nc: d']],
    });
    t.match(await peer.problem(4), { code: 'invalid_message', detail: /headers/ });
    // Of what is not open, or not known, nothing is made.
    peer.send({ type: 'cancel', id: 99 });
    peer.send({ type: 'credit', id: 99, bytes: 1 });
    peer.ws.send('{"type":"ping","later":{"field":[1]},"nonce":3}');
    t.equal((await peer.next('pong')).nonce, 3);
    peer.send({
      type: 'invoke',
      id: 5,
      function: 'fn',
      input: JSON.stringify({ wait: simmer.gate() }),
    });
    peer.send({ type: 'invoke', id: 5, function: 'fn' });
    t.equal((await eventually('it is closed', () => peer.closed)).code, 4422);
    await simmer.quiet('default/fn');
  });

  await t.test(
    'more than may be open is refused, and so is a body that is too large, as it comes',
    async (t) => {
      const peer = await StreamPeer.open(t, port);
      const { maxRequests } = await peer.next('hello');
      const wait = simmer.gate();
      const input = JSON.stringify({ wait });
      for (let id = 1; id <= maxRequests + 1; id++)
        peer.send({ type: 'invoke', id, function: 'fn', input });
      t.match(await peer.problem(maxRequests + 1), { code: 'stream_limit', status: 429 });
      t.equal((await peer.next('error', maxRequests + 1)).retryAfterSeconds, 1);
      simmer.open(wait);
      await peer.output(maxRequests);
      const small = { type: 'request', function: 'small', method: 'POST', path: '/' } as const;
      const body = new Uint8Array(65_536);
      peer.send({ ...small, id: 500, body, more: true });
      peer.send({ type: 'data', id: 500, bytes: body, more: true });
      t.match(await peer.problem(500), { code: 'payload_too_large', status: 413 });
      // What is still on its way of it is dropped.
      peer.send({ type: 'data', id: 500, bytes: body });
      peer.send({ ...small, id: 501, body, more: true, length: 200_000 });
      t.match(await peer.problem(501), { code: 'payload_too_large' });
      await simmer.quiet('default/small');
      await simmer.quiet('default/fn');
    },
  );

  await t.test('of the calls of one key one runs, over HTTP or here', async (t) => {
    const peer = await StreamPeer.open(t, port);
    const runs = simmer.gate();
    const call = {
      type: 'invoke',
      function: 'fn',
      idempotencyKey: 'k',
      input: JSON.stringify({ runs }),
    } as const;
    peer.send({ ...call, id: 1 });
    const first = await peer.output(1);
    peer.send({ ...call, id: 2 });
    t.same(await peer.output(2), first);
    t.equal((await peer.next('result', 2)).replayed, true);
    t.equal((await peer.next('result', 1)).replayed, undefined);
    peer.send({ ...call, id: 3, input: '{"echo":2}' });
    t.match(await peer.problem(3), { code: 'idempotency_key_reused', status: 422 });
    peer.send({ ...call, id: 4, idempotencyKey: '' });
    t.match(await peer.problem(4), { code: 'invalid_idempotency_key' });
    const later = { ...call, type: 'enqueue', idempotencyKey: 'later' } as const;
    peer.send({ ...later, id: 5 });
    const { executionId } = await peer.next('accepted', 5);
    peer.send({ ...later, id: 6 });
    t.match(await peer.next('accepted', 6), { executionId, replayed: true });
    peer.send({ type: 'subscribe', id: 7, executionId });
    await peer.next('execution', 7);
    t.equal(simmer.runs(runs).length, 2);
  });

  await t.test('a shutdown answers what runs, refuses the rest, and says goodbye', async (t) => {
    const [busy, idle] = [await StreamPeer.open(t, port), await StreamPeer.open(t, port)];
    const [runs, wait] = [simmer.gate(), simmer.gate()];
    busy.send({
      type: 'invoke',
      id: 1,
      function: 'fn',
      input: JSON.stringify({ runs, wait, echo: 1 }),
    });
    await eventually('it runs', () => simmer.runs(runs).length === 1);
    simmer.child.kill('SIGTERM');
    await busy.next('goaway');
    t.equal((await eventually('the idle one is closed', () => idle.closed)).code, 1001);
    t.equal(idle.count('goaway'), 1);
    busy.send({ type: 'invoke', id: 2, function: 'fn' });
    t.equal((await busy.problem(2)).code, 'draining');
    t.match(await refusal(port), { status: 503, json: { code: 'draining' } });
    simmer.open(wait);
    t.equal((await busy.output(1)).echo, 1);
    t.equal((await eventually('it is closed', () => busy.closed)).code, 1001);
    t.equal(await simmer.exited, 0);
  });
});

t.test('credentials', async (t) => {
  const keys = new KeyFile(t);
  const all = keys.add();
  const reader = keys.add({ scopes: ['read'] });
  const narrow = keys.add({ functions: ['default/a'] });
  const simmer = await Simmer.start(t, [{ name: 'a' }, { name: 'b' }], {
    flags: ['--api-keys', keys.path],
  });
  const { port } = simmer;
  const offer = (key: string) => `simmer.bearer.${Buffer.from(key).toString('base64url')}`;

  t.match(await refusal(port), { status: 401, json: { code: 'unauthenticated' } });
  t.match(await refusal(port, { authorization: `Bearer ${all}x` }), { status: 401 });
  t.match(await refusal(port, { 'sec-websocket-protocol': offer(`${all}x`) }), { status: 401 });
  t.equal(await refusal(port, { authorization: `Bearer ${all}` }), undefined);
  t.equal(await refusal(port, { 'x-api-key': all }), undefined);

  const peer = await StreamPeer.open(t, port, 'msgpack', [offer(all)]);
  t.equal(peer.ws.protocol, 'simmer.client.v1.msgpack', 'the credential is not sent back');
  peer.send({ type: 'invoke', id: 1, function: 'a', input: '{"echo":1}' });
  t.equal((await peer.output(1)).echo, 1);
  const reading = await StreamPeer.open(t, port, 'json', [offer(reader)]);
  reading.send({ type: 'invoke', id: 1, function: 'a' });
  t.match(await reading.problem(1), { code: 'forbidden', status: 403 });
  const some = await StreamPeer.open(t, port, 'json', [offer(narrow)]);
  some.send({ type: 'invoke', id: 1, function: 'a', input: '{"echo":1}' });
  t.equal((await some.output(1)).echo, 1);
  some.send({ type: 'invoke', id: 2, function: 'b' });
  t.equal((await some.problem(2)).code, 'forbidden');
  peer.send({ type: 'enqueue', id: 2, function: 'b' });
  const { executionId } = await peer.next('accepted', 2);
  some.send({ type: 'subscribe', id: 3, executionId });
  t.equal((await some.problem(3)).code, 'execution_not_found');
  peer.send({ type: 'invoke', id: 3, function: all });
  t.match((await peer.problem(3)).detail, '"smr_..." is not a name');
  const request = { type: 'request', function: 'a', method: 'GET', path: '/' } as const;
  peer.send({ ...request, id: 4, headers: [[`${all} `, '']] });
  t.match((await peer.problem(4)).detail, '"smr_... " is not one');

  // One that is taken back holds no longer, though its socket was open before.
  keys.file = { ...keys.file, keys: keys.file.keys.filter(({ id }) => !all.includes(id)) };
  keys.write();
  await eventually('the socket of a key that was taken back is closed', () => {
    if (peer.closed === undefined) peer.send({ type: 'subscribe', id: Date.now(), executionId });
    return peer.closed;
  });
  t.equal(peer.closed?.code, 4401);
  some.send({ type: 'ping' });
  await some.next('pong');
  const printed = JSON.stringify(simmer.logs()) + simmer.stderr + (await simmer.metrics());
  for (const key of [all, reader, narrow]) t.notOk(printed.includes(key.slice(-20)));
});

t.test('tokens of an issuer, which are checked elsewhere first', async (t) => {
  const issuer = await Issuer.start(t);
  const simmer = await Simmer.start(t, [{ name: 'a' }], {
    flags: [...issuer.flags, '--jwt-functions-claim', 'functions'],
  });
  const { port } = simmer;
  const offer = (token: string) => `simmer.bearer.${Buffer.from(token).toString('base64url')}`;
  const claims = { functions: ['default/*'] };
  const now = () => Math.floor(Date.now() / 1_000);
  const expired = await issuer.token({ ...claims, exp: now() - 60 });
  t.match(await refusal(port, { authorization: `Bearer ${expired}` }), { status: 401 });
  t.match(await refusal(port, { 'sec-websocket-protocol': offer(expired) }), { status: 401 });
  const openedFor = async (seconds: number) => {
    const short = await issuer.token({ ...claims, exp: now() + seconds });
    const opened = await StreamPeer.open(t, port, 'msgpack', [offer(short)]);
    opened.send({ type: 'invoke', id: 1, function: 'a', input: '{"echo":1}' });
    t.equal((await opened.output(1)).echo, 1);
    return opened;
  };
  // A busy machine may be too slow for the first.
  const peer = await openedFor(3).catch(() => openedFor(20));
  let id = 1;
  await eventually('the socket of a token that has expired is closed', () => {
    if (peer.closed === undefined) peer.send({ type: 'subscribe', id: ++id, executionId: 'x' });
    return peer.closed;
  });
  t.equal(peer.closed?.code, 4401);
});

t.test('a token that is found good after the goodbye comes too late', async (t) => {
  const issuer = await Issuer.start(t);
  const keys = new KeyFile(t);
  const key = keys.add();
  const flags = [...issuer.flags, '--jwt-functions-claim', 'functions', '--api-keys', keys.path];
  const simmer = await Simmer.start(t, [{ name: 'a' }], { flags });
  const offer = `simmer.bearer.${Buffer.from(key).toString('base64url')}`;
  const busy = await StreamPeer.open(t, simmer.port, 'msgpack', [offer]);
  const [runs, wait] = [simmer.gate(), simmer.gate()];
  busy.send({ type: 'invoke', id: 1, function: 'a', input: JSON.stringify({ runs, wait }) });
  await eventually('it runs', () => simmer.runs(runs).length === 1);
  issuer.mode = 'held';
  const token = await issuer.token({ functions: ['default/*'] });
  const late = refusal(simmer.port, { authorization: `Bearer ${token}` });
  await eventually('the issuer is asked', () => issuer.heldRequests > 0);
  simmer.child.kill('SIGTERM');
  await busy.next('goaway');
  issuer.release();
  t.match(await late, { status: 503, json: { code: 'draining' } });
  simmer.open(wait);
  await busy.output(1);
  t.equal(await simmer.exited, 0);
});

t.test('a socket is closed over silence, never over its age', async (t) => {
  const plane = await Plane.start(t, 'a', undefined, 100);
  const live = new WebSocket(`ws://127.0.0.1:${plane.port}/v1/stream`);
  const silent = new WebSocket(`ws://127.0.0.1:${plane.port}/v1/stream`, { autoPong: false });
  t.teardown(() => live.terminate());
  t.teardown(() => silent.terminate());
  let pings = 0;
  let heardAlone = 0;
  live.on('ping', () => {
    pings++;
  });
  silent.on('ping', () => {
    heardAlone++;
  });
  let lost = false;
  silent.on('close', () => {
    lost = true;
  });
  silent.on('error', () => {});
  // Ten idle timeouts of one that says nothing but its pongs.
  await eventually('the live one is pinged on and on', () => pings >= 20);
  t.equal(live.readyState, WebSocket.OPEN);
  t.ok(lost, 'the half-open one was found');
  t.ok(heardAlone <= 3, `after ${heardAlone} pings`);
});

t.test(
  'another control plane takes over: what runs is answered here, the rest is sent there',
  async (t) => {
    const [plane, next] = [await Plane.start(t, 'a'), await Plane.start(t, 'b')];
    plane.define('fn', { minReplicas: 1 });
    const pod = plane.expect('fn');
    plane.identify(pod);
    RuntimePod.start(t, plane.podAddress, pod);
    await plane.serving('fn');
    const peer = await StreamPeer.open(t, plane.port);
    const input = JSON.stringify({ echo: 1 });
    peer.send({ type: 'invoke', id: 1, function: 'fn', input });
    t.equal((await peer.output(1)).echo, 1);
    plane.forwardTo(`http://127.0.0.1:${next.port}`);
    await peer.next('goaway');
    t.equal((await eventually('it is closed', () => peer.closed)).code, 1001);
    t.match(await refusal(plane.port), { status: 503, json: { code: 'draining' } });
    t.equal(await refusal(next.port), undefined);
  },
);

import { createHmac } from 'node:crypto';
import { openApiDocument } from '@simmer/protocol/api/openapi';
import t from 'tap';
import { arrival, hang, type Received, Receiver, status } from './receiver.ts';
import { eventually, Simmer } from './simmer.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const RETRY = { baseDelayMs: 10 };

/** The headers of a callback, as the OpenAPI document has them. */
const DESCRIBED: readonly { name: string; schema: { pattern?: string } }[] = Object.values(
  // biome-ignore lint/suspicious/noExplicitAny: a path into a document
  (openApiDocument('0.0.0') as any).paths['/v1/functions/{name}:enqueue'].post.callbacks.ended,
  // biome-ignore lint/suspicious/noExplicitAny: as above
).flatMap((item: any) => item.post.parameters);

const standard = await Receiver.start(t);
const simmer = await Simmer.start(
  t,
  [
    { name: 'actor', spec: { minReplicas: 1, retry: RETRY } },
    { name: 'told', spec: { minReplicas: 1, callback: { url: standard.url('/told') } } },
  ],
  { flags: ['--callback-allow', '127.0.0.1', '--callback-timeout-ms', '4000'] },
);

/** The id of the execution. */
async function enqueue(
  envelope: Record<string, unknown>,
  name = 'actor',
  headers: Record<string, string> = {},
): Promise<string> {
  const body = JSON.stringify(envelope);
  const path = `/v1/functions/${name}:enqueue`;
  const { status: code, json } = await simmer.request(path, { method: 'POST', headers, body });
  t.equal(code, 202);
  return json.executionId;
}

async function verify(received: Received, name = 'actor'): Promise<void> {
  const { json } = await simmer.request(`/v1/functions/${name}/callback-key`);
  const timestamp = received.headers['x-simmer-timestamp'] as string;
  t.ok(Math.abs(Date.now() / 1_000 - Number(timestamp)) < 60, 'a time of now');
  const hmac = createHmac('sha256', json.key).update(`${timestamp}.${received.body}`);
  t.equal(received.headers['x-simmer-signature'], `v1=${hmac.digest('hex')}`);
}

t.test('it gets what GET answers, signed, and one trace leads to it', async (t) => {
  const receiver = await Receiver.start(t);
  const id = await enqueue(
    { input: { echo: 'ö', log: 'the handler was here' }, callbackUrl: receiver.url('/a?b=c') },
    'actor',
    { 'x-trace-id': TRACE },
  );
  const received = await arrival(receiver, id);
  t.match(received, { method: 'POST', path: '/a?b=c' });
  t.match(received.headers, {
    'content-type': 'application/json',
    'x-execution-id': id,
    'idempotency-key': id,
    'user-agent': /^simmer\/\d/,
    traceparent: new RegExp(`^00-${TRACE}-[0-9a-f]{16}-01$`),
  });
  t.equal(DESCRIBED.length, 5);
  for (const { name, schema } of DESCRIBED) {
    const { pattern = '.' } = schema;
    t.match(received.headers[name.toLowerCase()], new RegExp(pattern), `${name}, as described`);
  }
  await verify(received);
  t.equal(received.body, (await simmer.request(`/v1/executions/${id}`)).text);
  t.match(received.json, { status: 'succeeded', traceId: TRACE, attempts: [{ outcome: 'ok' }] });
  t.match(received.json.output, { echo: 'ö', traceId: TRACE, executionId: id });
  await eventually('the handler is in the log', () =>
    simmer.logs().some((l) => l.message === 'the handler was here' && l['traceId'] === TRACE),
  );
});

t.test('one trace leads through every attempt, its log, the record and the callback', async (t) => {
  const receiver = await Receiver.start(t);
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
  const traceparent = `00-${trace}-00f067aa0ba902b7-01`;
  const input = { log: 'an attempt was here', error: 'on purpose' };
  const id = await enqueue({ input, callbackUrl: receiver.url() }, 'actor', {
    ...{ traceparent, 'x-max-retries': '2' },
  });
  const { headers, json } = await arrival(receiver, id);
  t.equal(headers['traceparent'], traceparent);
  t.match(json, { traceId: trace, attempts: { length: 3 } });
  const lines = await eventually('each attempt is in the log', () => {
    const of = simmer.logs().filter((l) => l['executionId'] === id);
    return of.filter((l) => l.message === 'an attempt was here').length === 3 && of;
  });
  t.ok(lines.length >= 6, 'with what became of each');
  for (const line of lines) t.equal(line['traceId'], trace, line.message);
});

t.test('whatever its end is: failed, timed out, cancelled; large or small', async (t) => {
  const receiver = await Receiver.start(t);
  const callbackUrl = receiver.url();
  const failed = await enqueue({ input: { error: 'on purpose' }, callbackUrl }, 'actor', {
    'x-max-retries': '1',
  });
  const { json } = await arrival(receiver, failed);
  t.match(json, { status: 'dead_lettered' });
  t.match(json, { error: { code: 'function_error', attempts: 2 }, attempts: { length: 2 } });
  const wait = simmer.gate();
  const late = await enqueue({ input: { wait }, callbackUrl }, 'actor', {
    ...{ 'x-timeout-ms': '50', 'x-max-retries': '0' },
  });
  t.match((await arrival(receiver, late)).json, { error: { code: 'timeout' } });
  const cancelled = await enqueue({ input: { wait }, callbackUrl });
  await simmer.request(`/v1/executions/${cancelled}`, { method: 'DELETE' });
  t.match((await arrival(receiver, cancelled)).json, { status: 'cancelled' });
  const echo = 'x'.repeat(300_000);
  const large = await enqueue({ input: { echo }, callbackUrl });
  const received = await arrival(receiver, large);
  t.equal(received.json.output.echo, echo);
  await verify(received);
});

t.test('the manifest says where to, unless the request does', async (t) => {
  const receiver = await Receiver.start(t);
  const byManifest = await enqueue({}, 'told');
  const byRequest = await enqueue({ callbackUrl: receiver.url() }, 'told');
  const none = await enqueue({ callbackUrl: null }, 'told');
  const received = await arrival(standard, byManifest);
  t.equal(received.path, '/told');
  await verify(received, 'told');
  await arrival(receiver, byRequest);
  await simmer.request(`/v1/executions/${none}?wait=30`);
  const after = await enqueue({}, 'told');
  await arrival(standard, after);
  t.same([standard.of(byRequest), standard.of(none), receiver.of(none)], [[], [], []]);
});

t.test('what may not be a callback URL is refused with the field', async (t) => {
  const bad = [
    ...[
      '',
      'example.com/x',
      '/path',
      'ftp://example.com/',
      'https://',
      'http://user:pw@example.com/',
    ],
    ...['http://[::1]/', 'http://[::ffff:127.0.0.2]/'],
    ...['http://127.0.0.2/', 'http://2130706434/', 'http://0x7f.2/', 'http://0177.0.0.2/'],
    ...['http://169.254.169.254/latest/meta-data', 'http://[fd00:ec2::254]/', 'http://0.0.0.0/'],
    ...[`http://example.com/${'x'.repeat(2_048)}`, 7, {}],
  ];
  for (const callbackUrl of bad) {
    const body = JSON.stringify({ callbackUrl });
    const { status: code, json } = await simmer.request('/v1/functions/actor:enqueue', { body });
    t.match([code, json.code], [400, 'invalid_callback_url'], JSON.stringify(callbackUrl));
    t.match(json.detail, /callbackUrl/);
  }
  const large = JSON.stringify({ input: 'x'.repeat(100_000), callbackUrl: 'http://127.0.0.2/' });
  const answer = await simmer.request('/v1/functions/actor:enqueue', { body: large });
  t.equal(answer.json.code, 'invalid_callback_url', 'off the scheduler, too');
  await simmer.quiet('default/actor');
});

t.test('it is told again until the receiver takes it, as the same delivery', async (t) => {
  const receiver = await Receiver.start(t, (response, received, nth) => {
    if (nth === 1) status(503)(response, received, nth);
    else if (nth === 2) response.destroy();
    else if (nth === 3) hang(response, received, nth);
    else if (nth === 4) status(429, { 'retry-after': '1' })(response, received, nth);
    else response.writeHead(204).end();
  });
  const id = await enqueue({ callbackUrl: receiver.url() });
  const last = await arrival(receiver, id, 5);
  const all = receiver.of(id);
  t.same(new Set(all.map(({ headers }) => headers['idempotency-key'])), new Set([id]));
  t.same(new Set(all.map(({ body }) => body)), new Set([last.body]));
  for (const received of all) await verify(received);
  const lines = simmer.logs().filter((l) => l['executionId'] === id);
  t.equal(lines.length, 4);
  t.match(lines[0], {
    message: 'callback attempt failed',
    ...{ level: 'info', function: 'default/actor', attempts: 1, reason: 'answered 503' },
    ...{ host: `127.0.0.1:${receiver.port}` },
  });
  t.match(lines[2]?.['reason'], /no answer within 4000 ms/);
  t.ok((lines[3]?.['retryInMs'] as number) >= 1_000, 'as long as Retry-After says');
  await eventually(
    'it is taken',
    async () => (await simmer.metric('simmer_callbacks_pending')) === 0,
  );
  t.equal(receiver.of(id).length, 5, 'and never again');
});

t.test('one that is hopeless is dead at once', async (t) => {
  for (const code of [400, 401, 404, 410, 301, 302, 303]) {
    const receiver = await Receiver.start(t, status(code, { location: standard.url() }));
    const id = await enqueue({ callbackUrl: receiver.url('/?token=secret') });
    const line = await eventually('it is told', () =>
      simmer.logs().find((l) => l.message === 'callback dead-lettered' && l['executionId'] === id),
    );
    t.match(line, { level: 'warn', attempts: 1, reason: `answered ${code}` });
    t.equal(receiver.of(id).length, 1);
  }
  t.notOk(JSON.stringify(simmer.logs()).includes('token=secret'), 'no query in the log');
  t.equal(await simmer.metric('simmer_callbacks_dead_total', { function: 'default/actor' }), 7);
});

t.test('one that was given up is a dead letter, whose replay delivers it', async (t) => {
  const receiver = await Receiver.start(t, status(410));
  const url = receiver.url('/there');
  const id = await enqueue(
    { input: { error: 'on purpose' }, callbackUrl: `${url}?secret` },
    'actor',
    {
      ...{ 'x-max-retries': '0', 'x-trace-id': TRACE },
    },
  );
  const path = `/v1/dead-letters/${id}-callback`;
  const find = () =>
    eventually('it is a letter', async () => {
      const answer = await simmer.request(path);
      return answer.status === 200 && answer.json;
    });
  const letter = await find();
  t.match(letter, {
    ...{ id: `${id}-callback`, executionId: id, reason: 'callback', function: 'actor', url },
    ...{ traceId: TRACE, error: { code: 'callback_failed', detail: /answered 410/, attempts: 1 } },
    attempts: [{ number: 1, status: 410, detail: 'answered 410' }],
  });
  t.notOk(JSON.stringify(letter).includes('secret'));
  const document = (await simmer.request(`/v1/executions/${id}`)).json;
  t.same(letter.body, document, 'what was to be told');
  t.match(document.status, 'dead_lettered', 'the execution is a letter of its own');
  t.equal((await simmer.request(`/v1/dead-letters/${id}`)).json.reason, 'execution');

  const replay = () => simmer.request(`${path}:replay`, { method: 'POST', body: '' });
  const again = await replay();
  t.match([again.status, again.json], [202, { executionId: id, status: 'dead_lettered' }]);
  await arrival(receiver, id, 2);
  await find();
  t.equal(receiver.of(id).length, 2, 'one that fails again is a letter again');

  receiver.answering = (response) => void response.end();
  t.equal((await replay()).status, 202);
  const last = await arrival(receiver, id, 3);
  await verify(last);
  t.same(last.json, document);
  t.equal(last.headers['idempotency-key'], id);
  await eventually('it is taken', async () => {
    return (await simmer.metric('simmer_callbacks_pending')) === 0;
  });
  t.equal((await simmer.request(path)).status, 404);
});

t.test('redirects are followed where they may lead, and no further', async (t) => {
  const target = await Receiver.start(t);
  const paths: Record<string, string> = {
    '/good': target.url('/here'),
    '/relative': '/good',
    '/metadata': 'http://169.254.169.254/latest',
    '/mapped': 'http://[::ffff:169.254.169.254]/latest',
    '/loop': '/loop',
    '/nowhere': 'http://',
  };
  const receiver = await Receiver.start(t, (response, received, nth) => {
    status(nth % 2 === 0 ? 307 : 308, { location: paths[received.path] as string })(
      ...([response, received, nth] as const),
    );
  });
  for (const path of ['/good', '/relative']) {
    const id = await enqueue({ callbackUrl: receiver.url(path) });
    const received = await arrival(target, id);
    t.match(received, { method: 'POST', path: '/here' });
    await verify(received);
  }
  for (const [path, reason] of [
    ['/metadata', /169\.254\.169\.254, which is not allowed/],
    ['/mapped', /which is not allowed/],
    ['/loop', /too often/],
    ['/nowhere', /no URL/],
  ] as const) {
    const id = await enqueue({ callbackUrl: receiver.url(path) });
    const line = await eventually('it is told', () =>
      simmer.logs().find((l) => l.message === 'callback dead-lettered' && l['executionId'] === id),
    );
    t.match(line['reason'], reason);
  }
});

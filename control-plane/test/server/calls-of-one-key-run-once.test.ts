import t from 'tap';
import { KeyFile } from './keys.ts';
import { head, RawSocket } from './raw-socket.ts';
import { ACTOR, type Answer, eventually, isAlive, Simmer } from './simmer.ts';

const ALL = 50;

/** A raw answer with everything that must come again as it was; with `?stream` in pieces, with `?size` of that many bytes. */
const RAW = `
import { appendFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
export const fetch = async (request) => {
  const { searchParams } = new URL(request.url);
  appendFileSync(searchParams.get('runs'), 'run\\n');
  if (searchParams.has('stream')) {
    return new Response(ReadableStream.from((async function* () {
      yield Buffer.from('one'); await delay(20); yield Buffer.from('two');
    })()));
  }
  const size = Number(searchParams.get('size'));
  if (size > 0) return new Response(new Uint8Array(size).fill(7));
  const headers = [['set-cookie', 'b=2'], ['x-own', 'yes'], ['set-cookie', 'a=1'], ['content-type', 'application/x-own']];
  return new Response(Uint8Array.from([0, 255, 13, 10, 7]), { status: 207, headers });
};
`;

/** Kills its own pod on the first attempt. */
const DIES_ONCE = `
import { appendFileSync, existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
export default async ({ hold, runs }, ctx) => {
  appendFileSync(runs, 'run\\n');
  while (!existsSync(hold)) await delay(5);
  if (ctx.attempt === 1) process.kill(process.pid, 'SIGKILL');
  return ctx.attempt;
};
`;

const one = { minReplicas: 1, maxReplicas: 1, overflow: 0 };
const simmer = await Simmer.start(t, [
  { name: 'actor', spec: { ...one, concurrency: 100, maxResultBytes: 8_388_608 } },
  { name: 'other', spec: { ...one, concurrency: 100 } },
  { name: 'raw', code: RAW, spec: { ...one, concurrency: 100 } },
  { name: 'dies', code: DIES_ONCE, spec: { minReplicas: 1, maxReplicas: 2, overflow: 0 } },
  { name: 'single', code: ACTOR, spec: { ...one, queue: { maxLength: 1 } } },
]);

const withKey = (key: string, more: Record<string, string> = {}) => ({
  headers: { 'idempotency-key': key, ...more },
});
const replayed = ({ headers }: Answer) => headers['idempotent-replayed'] === 'true';
const metric = (name: string, fn: string, labels: Record<string, string> = {}) =>
  simmer.metric(name, { function: `default/${fn}`, ...labels });
const attached = (fn: string) =>
  metric('simmer_idempotent_requests_total', fn, { result: 'attached' });

/** Waits until this many calls have run and this many more wait for them. */
const attachedAre = (fn: string, count: number) =>
  eventually(`${count} have attached`, async () => (await attached(fn)) >= count);

t.test('fifty at once: the handler runs once, and all get its answer', async (t) => {
  const [gate, runs] = [simmer.gate(), simmer.gate()];
  const before = await attached('actor');
  const input = { hold: gate, runs, echo: 'é' };
  const calls = Array.from({ length: ALL }, () => simmer.invoke('actor', input, withKey('many')));
  await attachedAre('actor', before + ALL - 1);
  simmer.open(gate);
  const answers = await Promise.all(calls);
  t.equal(simmer.runs(runs).length, 1);
  for (const answer of answers) {
    t.equal(answer.status, 200);
    t.equal(answer.text, answers[0]?.text);
    t.equal(answer.headers['x-execution-id'], answer.json.executionId);
    t.equal(answer.headers['x-trace-id'], answer.json.output.traceId);
  }
  t.equal(answers.filter(replayed).length, ALL - 1, 'one is the first');
  await simmer.quiet('default/actor');
});

t.test('after its end the answer comes again, byte for byte', async (t) => {
  const runs = simmer.gate();
  const first = await simmer.invoke('actor', { runs, echo: [1, 'x'] }, withKey('again'));
  const second = await simmer.invoke('actor', { runs, echo: [1, 'x'] }, withKey('again'));
  t.equal(simmer.runs(runs).length, 1);
  t.notOk(replayed(first));
  t.ok(replayed(second));
  t.same(second.body, first.body);
  t.equal(second.headers['x-execution-id'], first.headers['x-execution-id']);
  t.equal(second.headers['x-trace-id'], first.headers['x-trace-id']);
});

t.test('a raw answer comes again with status, headers and body', async (t) => {
  const runs = simmer.gate();
  const path = `/fn/raw/some/path?runs=${encodeURIComponent(runs)}`;
  const call = () => simmer.request(path, { method: 'PUT', ...withKey('raw'), body: 'x' });
  const [first, second] = [await call(), await call()];
  t.equal(simmer.runs(runs).length, 1);
  t.equal(second.status, 207);
  t.same(second.body, Buffer.from([0, 255, 13, 10, 7]));
  t.same(second.headers['set-cookie'], ['b=2', 'a=1']);
  const { date: _, 'idempotent-replayed': mark, ...headers } = second.headers;
  const { date: __, ...firstHeaders } = first.headers;
  t.same(headers, firstHeaders);
  t.equal(mark, 'true');
});

t.test('a raw answer of many bytes comes again whole, to many and more than once', async (t) => {
  // Of this size on the memory of an answer is given back once it is written.
  const body = Buffer.alloc(40_000, 7);
  const path = `/fn/raw/?size=${body.length}&runs=${encodeURIComponent(simmer.gate())}`;
  const call = () => simmer.request(path, { body: 'x', ...withKey('raw bytes') });
  const atOnce = await Promise.all([call(), call(), call()]);
  for (const { body: got } of [...atOnce, await call(), await call()]) t.ok(got.equals(body));
});

t.test('another request under the key is refused, and changes nothing', async (t) => {
  const runs = simmer.gate();
  const base = { method: 'POST', body: JSON.stringify({ input: { runs } }) };
  const invoke = '/v1/functions/actor:invoke';
  const first = await simmer.request(invoke, { ...base, ...withKey('mine') });
  const others = {
    body: await simmer.request(invoke, { ...base, body: '{}', ...withKey('mine') }),
    type: await simmer.request(invoke, {
      ...base,
      ...withKey('mine', { 'content-type': 'text/x' }),
    }),
    route: await simmer.request('/v1/functions/actor:enqueue', { ...base, ...withKey('mine') }),
    raw: await simmer.request('/fn/actor/', { ...base, ...withKey('mine') }),
  };
  for (const [what, answer] of Object.entries(others)) {
    t.equal(answer.status, 422, what);
    t.equal(answer.json.code, 'idempotency_key_reused', what);
    t.not(answer.headers['x-execution-id'], first.headers['x-execution-id'], what);
  }
  t.same((await simmer.request(invoke, { ...base, ...withKey('mine') })).body, first.body);
  t.equal(simmer.runs(runs).length, 1);
  await eventually('each is logged at info', () => {
    const lines = simmer.logs().filter((line) => line.message === 'idempotency key reused');
    return lines.length === 4 && lines.every((line) => line['level'] === 'info');
  });
  t.equal(
    await metric('simmer_idempotent_requests_total', 'actor', { result: 'conflict' }),
    4,
    'and counted',
  );
});

t.test('a raw call of another method, path or query is another request', async (t) => {
  const runs = encodeURIComponent(simmer.gate());
  const call = (path: string, method = 'POST') =>
    simmer.request(`/fn/raw${path}`, { method, body: 'x', ...withKey('target') });
  t.equal((await call(`/a?runs=${runs}`)).status, 207);
  t.equal((await call(`/a?runs=${runs}&b`)).status, 422);
  t.equal((await call(`/b?runs=${runs}`)).status, 422);
  t.equal((await call(`/a?runs=${runs}`, 'PUT')).status, 422);
  t.equal((await call(`/a?runs=${runs}`)).status, 207);
});

t.test('a key belongs to its function', async (t) => {
  const answers = await Promise.all(
    ['actor', 'other'].map((name) => simmer.invoke(name, { echo: name }, withKey('shared'))),
  );
  t.same(
    answers.map((answer) => [answer.status, answer.json.output.echo, replayed(answer)]),
    [
      [200, 'actor', false],
      [200, 'other', false],
    ],
  );
});

t.test('a key belongs to its caller, and says nothing to others', async (t) => {
  const keys = new KeyFile(t);
  const callers = [1, 2].map(() => keys.add());
  const stranger = keys.add({ functions: ['default/none'] });
  const own = await Simmer.start(t, [{ name: 'fn', spec: { minReplicas: 1 } }], {
    flags: ['--api-keys', keys.path],
  });
  const runs = own.gate();
  const call = (apiKey: string, echo: unknown) =>
    own.invoke('fn', { runs, echo }, withKey('k', { 'x-api-key': apiKey }));
  const [one, two] = callers as [string, string];
  t.equal((await call(one, 1)).json.output.echo, 1);
  t.equal((await call(two, 2)).json.output.echo, 2, 'another request of another caller');
  for (const [apiKey, echo] of [
    [one, 1],
    [two, 2],
  ] as const) {
    const again = await call(apiKey, echo);
    t.ok(replayed(again));
    t.equal(again.json.output.echo, echo);
  }
  t.equal((await call(one, 2)).status, 422);
  t.equal((await call(stranger, 1)).status, 403);
  t.equal((await own.invoke('fn', { runs, echo: 1 }, withKey('k'))).status, 401);
  t.equal(own.runs(runs).length, 2);
});

t.test('who called first may hang up: the others get the answer', async (t) => {
  const [gate, runs] = [simmer.gate(), simmer.gate()];
  const before = await attached('actor');
  const body = JSON.stringify({ input: { wait: gate, runs } });
  const first = await RawSocket.open(simmer.port);
  const headers = { 'Content-Length': body.length, 'Idempotency-Key': 'left' };
  first.write(`${head('POST', '/v1/functions/actor:invoke', headers)}${body}`);
  await eventually('it runs', () => simmer.runs(runs).length === 1);
  const rest = [1, 2].map(() => simmer.invoke('actor', { wait: gate, runs }, withKey('left')));
  const also = await RawSocket.open(simmer.port);
  also.write(`${head('POST', '/v1/functions/actor:invoke', headers)}${body}`);
  await attachedAre('actor', before + 3);
  first.reset();
  also.reset();
  simmer.open(gate);
  for (const answer of await Promise.all(rest)) {
    t.equal(answer.status, 200);
    t.ok(replayed(answer));
  }
  t.equal((await simmer.invoke('actor', { wait: gate, runs }, withKey('left'))).status, 200);
  t.equal(simmer.runs(runs).length, 1);
  await simmer.quiet('default/actor');
});

t.test('with nobody left it goes on, and who comes later gets its answer', async (t) => {
  const [gate, runs] = [simmer.gate(), simmer.gate()];
  const body = JSON.stringify({ input: { wait: gate, runs } });
  const first = await RawSocket.open(simmer.port);
  const headers = { 'Content-Length': body.length, 'Idempotency-Key': 'alone' };
  first.write(`${head('POST', '/v1/functions/actor:invoke', headers)}${body}`);
  await eventually('it runs', () => simmer.runs(runs).length === 1);
  first.reset();
  // Another connection's turn comes after the reset was seen.
  await eventually('it is gone', () => first.socket.destroyed);
  await simmer.invoke('actor');
  simmer.open(gate);
  await simmer.quiet('default/actor');
  const answer = await simmer.invoke('actor', { wait: gate, runs }, withKey('alone'));
  t.equal(answer.status, 200, 'its signal was not raised');
  t.ok(replayed(answer));
  t.equal(simmer.runs(runs).length, 1);
});

t.test('who waits has its own time, and the execution goes on', async (t) => {
  const [gate, runs] = [simmer.gate(), simmer.gate()];
  const first = simmer.invoke('actor', { hold: gate, runs }, withKey('slow'));
  await eventually('it runs', () => simmer.runs(runs).length === 1);
  const brief = withKey('slow', { 'x-timeout-ms': '100' });
  const second = await simmer.invoke('actor', { hold: gate, runs }, brief);
  t.equal(second.status, 504);
  t.equal(second.json.code, 'timeout');
  simmer.open(gate);
  const answer = await first;
  t.equal(answer.status, 200);
  t.equal(second.json.executionId, answer.json.executionId);
  t.equal(simmer.runs(runs).length, 1);
});

t.test("the first one's time is its execution's: a timeout is replayed", async (t) => {
  const [gate, runs] = [simmer.gate(), simmer.gate()];
  const brief = withKey('brief', { 'x-timeout-ms': '1000' });
  const first = await simmer.invoke('actor', { wait: gate, runs }, brief);
  const second = await simmer.invoke('actor', { wait: gate, runs }, withKey('brief'));
  t.equal(first.status, 504);
  t.equal(second.status, 504);
  t.equal(second.text, first.text);
  t.ok(replayed(second));
  t.equal(simmer.runs(runs).length, 1);
});

t.test('a failure is replayed', async (t) => {
  const runs = simmer.gate();
  const call = () => simmer.invoke('actor', { runs, error: 'no luck' }, withKey('fails'));
  const [first, second] = [await call(), await call()];
  t.equal(first.json.code, 'function_error');
  t.equal(second.text, first.text);
  t.equal(second.status, 500);
  t.ok(replayed(second));
  t.equal(simmer.runs(runs).length, 1);
});

t.test('a lost pod: run again once, for all', async (t) => {
  const [gate, runs] = [simmer.gate(), simmer.gate()];
  const calls = Array.from({ length: 5 }, () =>
    simmer.invoke('dies', { hold: gate, runs }, withKey('lost')),
  );
  await attachedAre('dies', 4);
  const [pid] = await simmer.pids('dies');
  simmer.open(gate);
  for (const { json } of await Promise.all(calls)) t.equal(json.output, 2);
  t.equal(simmer.runs(runs).length, 2);
  t.notOk(isAlive(pid as number));
});

t.test('what was refused is not recorded', async (t) => {
  const [gate, runs] = [simmer.gate(), simmer.gate()];
  const holders = [1, 2].map(() => simmer.invoke('single', { hold: gate }));
  await eventually('one runs and one waits', async () => {
    return (await metric('simmer_function_queue_depth', 'single')) === 1;
  });
  const refused = await simmer.invoke('single', { runs }, withKey('refused'));
  t.equal(refused.status, 429);
  t.ok(refused.headers['retry-after']);
  simmer.open(gate);
  await Promise.all(holders);
  const answer = await simmer.invoke('single', { runs, echo: 1 }, withKey('refused'));
  t.equal(answer.status, 200, 'also with another body');
  t.notOk(replayed(answer));
  t.equal(simmer.runs(runs).length, 1);
});

t.test('what only repeats needs no place in a full queue', async (t) => {
  const gate = simmer.gate();
  const first = await simmer.invoke('single', { echo: 1 }, withKey('before'));
  const holders = [1, 2].map(() => simmer.invoke('single', { hold: gate }));
  await eventually('the queue is full', async () => {
    return (await metric('simmer_function_queue_depth', 'single')) === 1;
  });
  const again = await simmer.invoke('single', { echo: 1 }, withKey('before'));
  t.equal(again.text, first.text);
  simmer.open(gate);
  await Promise.all(holders);
});

t.test('large bodies and large results', async (t) => {
  const runs = simmer.gate();
  const echo = 'x'.repeat(300_000);
  const call = (text: string, key: string) =>
    simmer.invoke('actor', { runs, echo: text }, withKey(key));
  // More than is copied for them in one turn.
  const answers = await Promise.all(Array.from({ length: 40 }, () => call(echo, 'large')));
  const [first] = answers as [Answer];
  t.equal(first.json.output.echo, echo);
  t.ok(answers.every(({ body }) => body.equals(first.body)));
  t.equal(answers.filter(replayed).length, 39);
  t.same((await call(echo, 'large')).body, first.body);
  t.equal((await call(`${echo.slice(1)}y`, 'large')).status, 422);
  t.equal(simmer.runs(runs).length, 1);

  const huge = 'x'.repeat(1_100_000);
  t.equal((await call(huge, 'huge')).status, 200);
  const again = await call(huge, 'huge');
  t.equal(again.status, 409);
  t.equal(again.json.code, 'idempotent_result_unavailable');
  t.equal(simmer.runs(runs).length, 2, 'it was not run again');
});

t.test('a streamed answer cannot be replayed', async (t) => {
  const runs = simmer.gate();
  const path = `/fn/raw/?stream&runs=${encodeURIComponent(runs)}`;
  const first = await simmer.request(path, withKey('stream'));
  t.equal(first.text, 'onetwo');
  const second = await simmer.request(path, withKey('stream'));
  t.equal(second.status, 409);
  t.equal(second.json.code, 'idempotent_result_unavailable');
  t.equal(second.json.executionId, first.headers['x-execution-id']);
  t.equal(simmer.runs(runs).length, 1);
});

t.test('a key is 1 to 255 printable ASCII characters', async (t) => {
  for (const key of ['k'.repeat(256), 'a\tb', 'gr\u00fcn']) {
    const answer = await simmer.invoke('actor', {}, withKey(key));
    t.equal(answer.status, 400, key);
    t.equal(answer.json.code, 'invalid_idempotency_key', key);
  }
  t.equal((await simmer.invoke('actor', {}, withKey('k'.repeat(255)))).status, 200);
  t.equal((await simmer.invoke('actor', {}, withKey('"a key", as RFC 8941'))).status, 200);
});

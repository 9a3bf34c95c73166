import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { eventually, Simmer } from './simmer.ts';

/** Fails in its `mode` while the file `broken` is there. */
const FRAGILE = `
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
export default async ({ broken, mode, echo }, ctx) => {
  if (!existsSync(broken)) return { echo, executionId: ctx.executionId, traceId: ctx.traceId };
  if (mode === 'die') process.kill(process.pid, 'SIGKILL');
  if (mode === 'hang') await delay(60_000, undefined, { signal: ctx.signal });
  if (mode === 'bad input') throw ctx.badInput('not like this');
  throw new Error('on purpose');
};
`;
const RETRY = { maxRetries: 1, baseDelayMs: 10 };

const simmer = await Simmer.start(
  t,
  [
    { name: 'fragile', code: FRAGILE, spec: { minReplicas: 1, retry: RETRY } },
    {
      ...{ name: 'narrow', code: FRAGILE },
      spec: { maxReplicas: 1, overflow: 0, queue: { maxLength: 1 }, retry: { maxRetries: 0 } },
    },
    { name: 'doomed', code: FRAGILE, spec: { minReplicas: 1, retry: { maxRetries: 0 } } },
    { name: 'few', code: FRAGILE, spec: { minReplicas: 1, retry: { maxRetries: 0 } } },
    { name: 'actor', spec: { minReplicas: 1 } },
  ],
  {
    flags: [
      ...['--dead-letters-max', '5', '--dead-letters-max-bytes', '1MiB'],
      ...['--callback-allow', '127.0.0.1'],
    ],
  },
);

/** The path of a file that is there: handlers fail until it is gone. */
function breakage(): string {
  const file = simmer.gate();
  simmer.open(file);
  return file;
}

interface Ended {
  readonly executionId: string;
  readonly status: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests read what they expect
  readonly [field: string]: any;
}

async function run(name: string, input: object, headers: Record<string, string> = {}) {
  const body = JSON.stringify({ input, metadata: { from: 'a test' } });
  const answer = await simmer.request(`/v1/functions/${name}:enqueue`, {
    ...{ method: 'POST', headers, body },
  });
  t.equal(answer.status, 202);
  return ended(answer.json.executionId);
}

async function ended(id: string): Promise<Ended> {
  return (await simmer.request(`/v1/executions/${id}?wait=30`)).json;
}

const post = (path: string) => simmer.request(path, { method: 'POST', body: '' });
const remove = (path: string) => simmer.request(path, { method: 'DELETE' });
const letter = (id: string) => simmer.request(`/v1/dead-letters/${id}`);
const lettersOf = async (name: string): Promise<Ended[]> =>
  (await simmer.request(`/v1/dead-letters?function=${name}`)).json.deadLetters;

t.test('with its request, every attempt and its last error, it is there', async (t) => {
  const broken = breakage();
  const trace = '0af7651916cd43dd8448eb211c80319c';
  const before = await simmer.metric('simmer_dead_letters_total');
  const dead = await run('fragile', { broken, echo: 'ö' }, { 'x-trace-id': trace });
  t.match(dead, { status: 'dead_lettered', error: { code: 'function_error', attempts: 2 } });
  const { status, json } = await letter(dead.executionId);
  t.equal(status, 200);
  t.match(json, {
    ...{ id: dead.executionId, executionId: dead.executionId, reason: 'execution' },
    ...{ function: 'fragile', traceId: trace, input: { broken, echo: 'ö' } },
    metadata: { from: 'a test' },
    error: { code: 'function_error', detail: /on purpose/ },
    attempts: [
      { number: 1, outcome: 'function_error', backend: 'process' },
      { number: 2, outcome: 'function_error' },
    ],
  });
  const [first] = await lettersOf('fragile');
  t.equal(first?.executionId, dead.executionId);
  t.notOk('input' in (first as object), 'a list has no bodies');
  t.equal(await simmer.metric('simmer_dead_letters_total'), before + 1);
  const line = await eventually('it is in the log', () => {
    return simmer.logs().find((l) => l.message === 'dead letter');
  });
  t.match(line, { executionId: dead.executionId, code: 'function_error', attempts: 2 });
  t.equal((await remove(`/v1/dead-letters/${dead.executionId}`)).status, 204);
  const gone = await letter(dead.executionId);
  t.match([gone.status, gone.json.code], [404, 'dead_letter_not_found']);
  t.equal((await remove(`/v1/dead-letters/${dead.executionId}`)).status, 404);
  t.equal(await simmer.metric('simmer_dead_letters'), 0);
});

t.test('which failures become one, and which do not', async (t) => {
  const broken = breakage();
  const timeout = { 'x-timeout-ms': '100' };
  t.equal((await run('fragile', { broken, mode: 'die' })).status, 'dead_lettered');
  t.equal((await run('fragile', { broken, mode: 'hang' }, timeout)).status, 'dead_lettered');
  t.equal((await lettersOf('fragile')).length, 2);
  const bad = await run('fragile', { broken, mode: 'bad input' });
  t.match([bad.status, bad.error.code], ['failed', 'bad_input']);
  const body = JSON.stringify({ input: { broken, mode: 'hang' } });
  const { json } = await simmer.request('/v1/functions/fragile:enqueue', { method: 'POST', body });
  t.equal((await remove(`/v1/executions/${json.executionId}`)).json.status, 'cancelled');
  t.equal((await simmer.invoke('fragile', { broken })).status, 500, 'its caller knows');
  t.equal((await lettersOf('fragile')).length, 2);
  t.same((await remove('/v1/dead-letters?function=fragile')).json, { deleted: 2 });
  await simmer.quiet('default/fragile');
});

t.test('replayed, it is a new execution, and its letter is gone', async (t) => {
  const broken = breakage();
  const trace = '1af7651916cd43dd8448eb211c80319c';
  const dead = await run('fragile', { broken, echo: 7 }, { 'x-trace-id': trace });
  rmSync(broken);
  const answer = await post(`/v1/dead-letters/${dead.executionId}:replay`);
  t.equal(answer.status, 202);
  const { executionId } = answer.json;
  t.not(executionId, dead.executionId);
  t.equal(answer.headers['location'], `/v1/executions/${executionId}`);
  const end = await ended(executionId);
  t.match(end, { status: 'succeeded', replayOf: dead.executionId, traceId: trace });
  t.match(end['output'], { echo: 7, executionId, traceId: trace });
  t.equal((await letter(dead.executionId)).status, 404);
  t.equal((await post(`/v1/dead-letters/${dead.executionId}:replay`)).status, 404, 'once');
  t.equal((await ended(dead.executionId)).status, 'dead_lettered', 'what it was stays');
  t.equal(await simmer.metric('simmer_dead_letters_replayed_total'), 1);
});

t.test('replayed, and failed again, it is a dead letter again', async (t) => {
  const broken = breakage();
  let { executionId } = await run('fragile', { broken, echo: 'kept' });
  for (let i = 0; i < 3; i++) {
    const { json } = await post(`/v1/dead-letters/${executionId}:replay`);
    const again = await ended(json.executionId);
    t.match(again, { status: 'dead_lettered', replayOf: executionId });
    t.equal(again['attempts'].length, 2, 'its retries are its own');
    const letters = await lettersOf('fragile');
    t.same(
      letters.map((l) => [l.executionId, l['replayOf']]),
      [[json.executionId, executionId]],
    );
    executionId = json.executionId;
  }
  t.equal((await letter(executionId)).json.input.echo, 'kept');
  rmSync(broken);
  const { json } = await post(`/v1/dead-letters/${executionId}:replay`);
  t.match(await ended(json.executionId), { status: 'succeeded', output: { echo: 'kept' } });
  t.same(await lettersOf('fragile'), []);
});

t.test('its callback is told of either end', async (t) => {
  const told: Ended[] = [];
  const receiver = createServer((req, res) => {
    let body = '';
    req.on('data', (piece) => {
      body += piece;
    });
    req.on('end', () => {
      told.push(JSON.parse(body));
      res.writeHead(204).end();
    });
  });
  receiver.listen(0, '127.0.0.1');
  t.teardown(() => receiver.close());
  await once(receiver, 'listening');
  const broken = breakage();
  const { port } = receiver.address() as AddressInfo;
  const body = JSON.stringify({ input: { broken }, callbackUrl: `http://127.0.0.1:${port}/` });
  const { json } = await simmer.request('/v1/functions/fragile:enqueue', { method: 'POST', body });
  await eventually('the first is told', () => told.length === 1);
  rmSync(broken);
  const replayed = await post(`/v1/dead-letters/${json.executionId}:replay`);
  await eventually('the second is told', () => told.length === 2);
  t.same(
    told.map((e) => [e.executionId, e.status]),
    [
      [json.executionId, 'dead_lettered'],
      [replayed.json.executionId, 'succeeded'],
    ],
  );
});

t.test('two that replay it at once make one execution', async (t) => {
  const broken = breakage();
  const dead = await run('fragile', { broken });
  rmSync(broken);
  const path = `/v1/dead-letters/${dead.executionId}:replay`;
  const answers = await Promise.all([post(path), post(path), post(path)]);
  const accepted = answers.filter((a) => a.status === 202);
  t.equal(accepted.length, 1);
  for (const { status } of answers) t.ok([202, 404, 409].includes(status));
  t.equal((await ended(accepted[0]?.json.executionId)).status, 'succeeded');
});

t.test('all of a function: as many as its queue takes; the others stay', async (t) => {
  const broken = breakage();
  const dead: string[] = [];
  for (let i = 0; i < 4; i++) dead.push((await run('narrow', { broken })).executionId);
  t.match(
    await lettersOf('narrow'),
    [...dead].reverse().map((executionId) => ({ executionId })),
  );
  // One that runs, and one that takes the only place in the queue.
  const hung = { input: { broken, mode: 'hang' } };
  const body = JSON.stringify(hung);
  const running = await simmer.request('/v1/functions/narrow:enqueue', { method: 'POST', body });
  await eventually('it runs', async () => (await simmer.pool('narrow')).busy === 1);
  const waiting = await simmer.request('/v1/functions/narrow:enqueue', { method: 'POST', body });
  for (const path of [
    `/v1/dead-letters/${dead[0]}:replay`,
    '/v1/dead-letters:replay?function=narrow',
  ]) {
    const full = await post(path);
    t.match([full.status, full.json.code], [429, 'queue_full']);
    t.ok(Number(full.headers['retry-after']) >= 1);
  }
  t.equal((await lettersOf('narrow')).length, 4, 'a full queue leaves them');
  await remove(`/v1/executions/${waiting.json.executionId}`);
  await remove(`/v1/executions/${running.json.executionId}`);
  await simmer.quiet('default/narrow');
  rmSync(broken);
  let all: string[] = [];
  for (let remaining = 4; remaining > 0; ) {
    const answer = await post('/v1/dead-letters:replay?function=narrow');
    if (answer.status === 202) {
      all = [...all, ...answer.json.replayed];
      t.ok(answer.json.remaining < remaining);
      remaining = answer.json.remaining;
    } else {
      t.equal(answer.json.code, 'queue_full');
    }
    await Promise.all(all.map(ended));
  }
  const ends = await Promise.all(all.map(ended));
  t.same(
    ends.map((e) => [e.status, e['replayOf']]),
    dead.map((id) => ['succeeded', id]),
    'oldest first',
  );
  t.same((await post('/v1/dead-letters:replay?function=narrow')).json, {
    replayed: [],
    remaining: 0,
  });
});

t.test('of a function that was deleted it stays, and its replay says why not', async (t) => {
  const broken = breakage();
  const dead = await run('doomed', { broken });
  simmer.write('doomed.yaml', null);
  await eventually('it is gone', async () => {
    return (await simmer.request('/v1/functions/doomed')).status === 404;
  });
  for (const path of [
    `/v1/dead-letters/${dead.executionId}:replay`,
    '/v1/dead-letters:replay?function=doomed',
  ]) {
    const answer = await post(path);
    t.match([answer.status, answer.json.code], [404, 'function_not_found']);
    t.match(answer.json.detail, /doomed/);
  }
  t.equal((await lettersOf('doomed')).length, 1);
  rmSync(broken);
  simmer.define({ name: 'doomed', code: FRAGILE, spec: { minReplicas: 1 } });
  const again = await eventually('it is there again', async () => {
    const answer = await post(`/v1/dead-letters/${dead.executionId}:replay`);
    return answer.status === 202 && answer;
  });
  t.equal((await ended(again.json.executionId)).status, 'succeeded');
});

t.test('the oldest make room, and the log and a metric say so', async (t) => {
  const broken = breakage();
  const dead: string[] = [];
  for (let i = 0; i < 7; i++) dead.push((await run('few', { broken })).executionId);
  const kept = (await lettersOf('few')).map((l) => l.executionId);
  t.same(kept, dead.slice(2).reverse());
  t.equal(await simmer.metric('simmer_dead_letters_dropped_total', { function: 'default/few' }), 2);
  const dropped = await eventually('the log says so', () => {
    const lines = simmer.logs().filter((l) => l.message.startsWith('dead letter dropped'));
    return lines.length >= 2 && lines;
  });
  t.same(
    dropped.map((l) => l['executionId']),
    dead.slice(0, 2),
  );
  const large = 'x'.repeat(600_000);
  for (let i = 0; i < 2; i++) await run('few', { broken, large });
  const [last, ...others] = await lettersOf('few');
  t.same(others, [], 'by bytes as well');
  const { json } = await letter(last?.executionId as string);
  t.equal(json.input.large, large);
  const metric = await simmer.metric('simmer_dead_letter_bytes');
  t.ok(metric > 600_000 && metric < 1_100_000);
  t.same((await remove('/v1/dead-letters?function=few')).json, { deleted: 1 });
});

t.test('what is asked wrongly is told', async (t) => {
  for (const path of [
    '/v1/dead-letters?limit=0',
    '/v1/dead-letters?cursor=x',
    '/v1/dead-letters?function=No',
  ]) {
    const { status, json } = await simmer.request(path);
    t.match([status, json.code], [400, 'invalid_query'], path);
  }
  for (const answer of [
    await remove('/v1/dead-letters'),
    await remove('/v1/dead-letters?function='),
    await post('/v1/dead-letters:replay'),
  ]) {
    t.match(
      [answer.status, answer.json.code],
      [400, 'invalid_query'],
      'all of all is not asked for',
    );
  }
  const other = await letter(`${'z'.repeat(12)}-1`);
  t.match([other.status, other.json.code], [410, 'lost_in_restart']);
});

t.test('pages', async (t) => {
  const broken = breakage();
  for (let i = 0; i < 5; i++) await run('few', { broken });
  const all = (await lettersOf('few')).map((l) => l.executionId);
  const seen: string[] = [];
  let cursor = '';
  do {
    const { json } = await simmer.request(`/v1/dead-letters?function=few&limit=2${cursor}`);
    seen.push(...json.deadLetters.map((l: Ended) => l.executionId));
    cursor = json.next === undefined ? '' : `&cursor=${json.next}`;
  } while (cursor !== '');
  t.same(seen, all);
});

import { existsSync, readFileSync } from 'node:fs';
import t from 'tap';
import { eventually, Simmer } from './simmer.ts';

/**
 * Fails its first `failures` attempts, each in its `mode`; `log` gets a line at the beginning and at the end of each.
 */
const FLAKY = `
import { appendFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
export default async ({ failures = 0, mode, log }, ctx) => {
  appendFileSync(log, 'begin ' + ctx.attempt + '\\n');
  try {
    if (ctx.attempt <= failures) {
      if (mode === 'die') process.kill(process.pid, 'SIGKILL');
      if (mode === 'hang') await delay(60_000, undefined, { signal: ctx.signal });
      if (mode === 'never') throw Object.assign(new Error('on purpose'), { name: 'NonRetryableError' });
      if (mode === 'later') throw Object.assign(new Error('on purpose'), { retryAfterMs: 700 });
      if (mode === 'too late') throw Object.assign(new Error('on purpose'), { retryAfterMs: 4_000_000 });
      if (mode === 'bad input') throw ctx.badInput('not like this');
      throw new Error('on purpose');
    }
    return { attempt: ctx.attempt, executionId: ctx.executionId };
  } finally {
    appendFileSync(log, 'end ' + ctx.attempt + '\\n');
  }
};
`;

const RETRY = { baseDelayMs: 20 };

const simmer = await Simmer.start(
  t,
  [
    { name: 'actor', spec: { minReplicas: 1, maxReplicas: 1, overflow: 0 } },
    { name: 'narrow', spec: { maxReplicas: 1, overflow: 0, queue: { maxLength: 1 } } },
    { name: 'flaky', code: FLAKY, spec: { minReplicas: 1, retry: RETRY } },
    { name: 'once', code: FLAKY, spec: { minReplicas: 1, retry: { ...RETRY, on: ['lost'] } } },
    { name: 'brief', code: FLAKY, spec: { minReplicas: 1, deadlineMs: 300, retry: RETRY } },
  ],
  { flags: ['--executions-max', '50'] },
);

function enqueue(name: string, input: unknown, headers: Record<string, string> = {}) {
  const body = JSON.stringify({ input });
  return simmer.request(`/v1/functions/${name}:enqueue`, { method: 'POST', headers, body });
}

/** Enqueues it and waits for its end. */
async function run(name: string, input: unknown, headers: Record<string, string> = {}) {
  const { status, json } = await enqueue(name, input, headers);
  t.equal(status, 202);
  return (await simmer.request(`/v1/executions/${json.executionId}?wait=30`)).json;
}

const lines = (log: string) =>
  existsSync(log) ? readFileSync(log, 'utf8').split('\n').filter(Boolean) : [];

t.test('202 says where it is, and there it can be followed to its end', async (t) => {
  const gate = simmer.gate();
  const trace = '0af7651916cd43dd8448eb211c80319c';
  const answer = await enqueue('actor', { hold: gate, echo: 'ö' }, { 'x-trace-id': trace });
  t.equal(answer.status, 202);
  const { executionId } = answer.json;
  t.equal(answer.headers['location'], `/v1/executions/${executionId}`);
  t.equal(answer.headers['x-execution-id'], executionId);
  t.equal(answer.headers['x-trace-id'], trace);
  const path = `/v1/executions/${executionId}`;
  await eventually('it runs', async () => (await simmer.request(path)).json.status === 'running');
  const { status, json } = await simmer.request(`${path}?wait=0`);
  t.equal(status, 200, 'one that has not ended is an answer, too');
  t.match(json, {
    ...{ executionId, function: 'actor', status: 'running', traceId: trace },
    attempts: [{ number: 1, backend: 'process' }],
  });
  t.notOk('endedAt' in json.attempts[0]);
  const waiters = [1, 2, 3].map(() => simmer.request(`${path}?wait=30`));
  simmer.open(gate);
  for (const { json } of await Promise.all(waiters)) {
    t.match(json, { status: 'succeeded', attempts: [{ outcome: 'ok' }] });
    t.match(json.output, { echo: 'ö', traceId: trace, executionId });
    t.ok(Date.parse(json.endedAt) >= Date.parse(json.createdAt));
  }
  await simmer.quiet('default/actor');
});

t.test('a wait that is over answers how it is', async (t) => {
  const gate = simmer.gate();
  const { json } = await enqueue('actor', { hold: gate });
  const path = `/v1/executions/${json.executionId}`;
  t.match((await simmer.request(`${path}?wait=1`)).json, { status: 'running' });
  simmer.open(gate);
  t.match((await simmer.request(`${path}?wait=30`)).json, { status: 'succeeded' });
});

t.test('a body that is no envelope gets no 202, whatever its size', async (t) => {
  const post = (body: string) =>
    simmer.request('/v1/functions/actor:enqueue', { method: 'POST', body });
  const large = 'x'.repeat(200_000);
  for (const body of ['{', `{"input":"${large}`]) {
    const { status, json } = await post(body);
    t.match([status, json.code], [400, 'invalid_json']);
  }
  for (const body of ['[]', '"text"', '{"metadata":1}', `["${large}"]`]) {
    const { status, json } = await post(body);
    t.match([status, json.code], [400, 'invalid_envelope']);
  }
  t.equal((await post('')).status, 202, 'an empty one is an envelope');
  const { json } = await run('actor', { echo: large }).then((json) => ({ json }));
  t.equal(json.output.echo, large);
  const bad = await enqueue('actor', {}, { 'x-max-retries': '101' });
  t.match([bad.status, bad.json.code], [400, 'invalid_retries']);
  t.equal((await enqueue('nobody', {})).status, 404);
  await simmer.quiet('default/actor');
});

t.test('a queue that is full refuses it', async (t) => {
  const gate = simmer.gate();
  const first = await enqueue('narrow', { hold: gate });
  await eventually('it runs', async () => (await simmer.pool('narrow')).busy === 1);
  const second = await enqueue('narrow', { hold: gate });
  const third = await enqueue('narrow', { hold: gate });
  t.match([first.status, second.status, third.status], [202, 202, 429]);
  t.equal(third.json.code, 'queue_full');
  t.ok(Number(third.headers['retry-after']) >= 1);
  simmer.open(gate);
  for (const { json } of [first, second]) {
    const { json: end } = await simmer.request(`/v1/executions/${json.executionId}?wait=30`);
    t.equal(end.status, 'succeeded');
  }
  const gone = await simmer.request(`/v1/executions/${third.json.executionId}`);
  t.match([gone.status, gone.json.code], [404, 'execution_not_found'], 'it was never accepted');
  await simmer.quiet('default/narrow');
});

for (const [mode, code] of [
  ['throw', 'function_error'],
  ['die', 'pod_lost'],
  ['hang', 'timeout'],
] as const) {
  t.test(`${mode}: attempts that fail are followed by others, one at a time`, async (t) => {
    const log = simmer.gate();
    const timeout = { 'x-timeout-ms': mode === 'hang' ? '100' : '20000' };
    const json = await run('flaky', { failures: 2, mode, log }, timeout);
    t.equal(json.status, 'succeeded');
    t.equal(json.output.attempt, 3);
    t.equal(json.output.executionId, json.executionId);
    t.match(
      json.attempts.map((a: { outcome: string }) => a.outcome),
      [code, code, 'ok'],
    );
    const began = lines(log).filter((line) => line.startsWith('begin'));
    t.same(began, ['begin 1', 'begin 2', 'begin 3']);
    if (mode !== 'die') {
      t.same(
        lines(log),
        [1, 2, 3].flatMap((n) => [`begin ${n}`, `end ${n}`]),
      );
    }
    await simmer.quiet('default/flaky');
  });
}

t.test('once all retries are made the last error is the answer', async (t) => {
  const log = simmer.gate();
  const json = await run('flaky', { failures: 9, log }, { 'x-max-retries': '2' });
  t.match(json, { status: 'dead_lettered', error: { code: 'function_error', attempts: 3 } });
  t.match(json.error.detail, /on purpose/);
  t.equal(json.attempts.length, 3);
  t.notOk('output' in json);
  const none = await run('flaky', { failures: 9, log }, { 'x-max-retries': '0' });
  t.equal(none.attempts.length, 1);
});

t.test('what is not to be retried is not', async (t) => {
  const log = simmer.gate();
  t.equal((await run('once', { failures: 1, log })).attempts.length, 1);
  t.equal((await run('once', { failures: 1, mode: 'die', log })).attempts.length, 2);
  const hung = await run('once', { failures: 1, mode: 'hang', log }, { 'x-timeout-ms': '50' });
  t.match([hung.status, hung.attempts.length], ['dead_lettered', 1]);
  const bad = await run('flaky', { failures: 1, mode: 'bad input', log });
  t.match([bad.status, bad.error.code, bad.attempts.length], ['failed', 'bad_input', 1]);
});

t.test('a handler says whether and when its error is retried', async (t) => {
  const log = simmer.gate();
  const never = await run('flaky', { failures: 1, mode: 'never', log }, { 'x-max-retries': '5' });
  t.match([never.status, never.error.code], ['dead_lettered', 'function_error']);
  t.equal(never.attempts.length, 1);
  const late = await run('flaky', { failures: 1, mode: 'too late', log });
  t.match([late.status, late.attempts.length], ['dead_lettered', 1], 'after its deadline is never');
  const { status, attempts } = await run('flaky', { failures: 1, mode: 'later', log });
  t.match([status, attempts.length], ['succeeded', 2]);
  const waited = Date.parse(attempts[1].startedAt) - Date.parse(attempts[0].endedAt);
  // Not the backoff, which is 20 ms at most. The two clocks are rounded.
  t.ok(waited >= 698, `after ${waited} ms`);
});

t.test('no retry passes the deadline', async (t) => {
  const log = simmer.gate();
  const input = { failures: 99, log };
  const json = await run('brief', input, { 'x-max-retries': '100' });
  t.equal(json.status, 'dead_lettered');
  const last = Date.parse(json.attempts.at(-1).startedAt);
  t.ok(last <= Date.parse(json.deadlineAt));
  t.ok(json.attempts.length > 1);
});

t.test('cancelled while it runs, waits in the queue, or waits for a retry', async (t) => {
  const gate = simmer.gate();
  const running = await enqueue('actor', { wait: gate });
  const path = (answer: { json: { executionId: string } }) =>
    `/v1/executions/${answer.json.executionId}`;
  await eventually('it runs', async () => {
    return (await simmer.request(path(running))).json.status === 'running';
  });
  const queued = await enqueue('actor', { wait: gate });
  const log = simmer.gate();
  simmer.define({
    ...{ name: 'patient', code: FLAKY },
    spec: {
      minReplicas: 1,
      retry: { baseDelayMs: 86_400_000, maxDelayMs: 86_400_000 },
      deadlineMs: 604_800_000,
    },
  });
  await eventually('it is there', async () => {
    return (await simmer.request('/v1/functions/patient')).status === 200;
  });
  const waiting = await enqueue('patient', { failures: 1, log });
  await eventually('it waits', async () => {
    const { json } = await simmer.request(path(waiting));
    return json.status === 'waiting' && Date.parse(json.nextAttemptAt) > Date.parse(json.createdAt);
  });
  t.equal(await simmer.metric('simmer_function_waiting', { function: 'default/patient' }), 1);
  const waiter = simmer.request(`${path(waiting)}?wait=30`);
  for (const one of [queued, running, waiting]) {
    const { status, json } = await simmer.request(path(one), { method: 'DELETE' });
    t.match([status, json.status, json.error.code], [200, 'cancelled', 'cancelled']);
    const again = await simmer.request(path(one), { method: 'DELETE' });
    t.match([again.status, again.json.code], [409, 'execution_ended']);
  }
  t.equal((await waiter).json.status, 'cancelled');
  await simmer.quiet('default/actor');
  await simmer.quiet('default/patient');
});

t.test('a call that somebody waits for outlives the loss of its pod', async (t) => {
  const log = simmer.gate();
  const { status, json } = await simmer.invoke('flaky', { failures: 2, mode: 'die', log });
  t.match([status, json.output.attempt], [200, 3]);
  const error = await simmer.invoke('flaky', { failures: 1, log });
  t.match([error.status, error.json.attempts], [500, 1], 'an error is its answer');
  const never = await simmer.invoke(
    'flaky',
    { failures: 1, mode: 'die', log },
    { headers: { 'x-max-retries': '0' } },
  );
  t.match([never.status, never.json.code], [502, 'pod_lost']);
});

t.test('they are listed newest first, by function and status, page by page', async (t) => {
  const log = simmer.gate();
  const failed = await run('once', { failures: 1, log });
  const get = async (query: string) => (await simmer.request(`/v1/executions?${query}`)).json;
  const { executions } = await get('function=once&status=dead_lettered');
  t.equal(executions[0].executionId, failed.executionId);
  t.ok(
    executions.every((e: { function: string; status: string }) => {
      return e.function === 'once' && e.status === 'dead_lettered';
    }),
  );
  const ids: string[] = [];
  let cursor = '';
  do {
    const page = await get(`limit=3${cursor}`);
    ids.push(...page.executions.map((e: { executionId: string }) => e.executionId));
    t.ok(page.executions.length <= 3);
    cursor = page.next === undefined ? '' : `&cursor=${page.next}`;
  } while (cursor !== '');
  t.same(
    ids,
    (await get('limit=500')).executions.map((e: { executionId: string }) => e.executionId),
  );
  for (const query of ['limit=0', 'limit=x', 'status=done', 'function=No', 'cursor=1']) {
    const { status, json } = await simmer.request(`/v1/executions?${query}`);
    t.match([status, json.code], [400, 'invalid_query'], query);
  }
  const wait = await simmer.request(`/v1/executions/${failed.executionId}?wait=61`);
  t.match([wait.status, wait.json.code], [400, 'invalid_query']);
});

t.test('what is kept no longer is gone, what never was is not found', async (t) => {
  const first = await run('actor', {});
  for (let i = 0; i < 50; i++) await run('actor', {});
  const expected = [
    [first.executionId, 410, 'execution_evicted'],
    [`${'z'.repeat(12)}-1`, 410, 'lost_in_restart'],
    [`${first.executionId}000000`, 404, 'execution_not_found'],
    ['anything', 404, 'execution_not_found'],
  ];
  for (const [id, status, code] of expected) {
    const answer = await simmer.request(`/v1/executions/${id}`);
    t.match([answer.status, answer.json.code], [status, code]);
    const cancel = await simmer.request(`/v1/executions/${id}`, { method: 'DELETE' });
    t.match([cancel.status, cancel.json.code], [status, code]);
  }
  const { status, headers } = await simmer.request('/v1/executions', { method: 'PUT', body: '' });
  t.match([status, headers['allow']], [405, 'GET']);
});

t.test('a restart forgets them and says so', async (t) => {
  const before = await Simmer.start(t, [{ name: 'actor' }]);
  const body = '{}';
  const { json } = await before.request('/v1/functions/actor:enqueue', { method: 'POST', body });
  await before.request(`/v1/executions/${json.executionId}?wait=30`);
  const answer = await simmer.request(`/v1/executions/${json.executionId}`);
  t.match([answer.status, answer.json.code], [410, 'lost_in_restart']);
});

t.test('as many as are kept run: one more is refused', async (t) => {
  const small = await Simmer.start(t, [{ name: 'actor', spec: { maxReplicas: 1, overflow: 0 } }], {
    flags: ['--executions-max', '2'],
  });
  const gate = small.gate();
  const post = (input: unknown) =>
    small.request('/v1/functions/actor:enqueue', {
      method: 'POST',
      body: JSON.stringify({ input }),
    });
  t.same([(await post({ hold: gate })).status, (await post({})).status], [202, 202]);
  const refused = await post({});
  t.match([refused.status, refused.json.code], [429, 'executions_full']);
  t.ok(Number(refused.headers['retry-after']) >= 1);
  small.open(gate);
  await small.quiet('default/actor');
  t.equal((await post({})).status, 202);
});

t.test('what a shutdown cuts off is told, to who waits and in the log, each of them', async (t) => {
  const patient = {
    ...{ minReplicas: 1, deadlineMs: 604_800_000 },
    retry: { baseDelayMs: 86_400_000, maxDelayMs: 86_400_000 },
  };
  const ending = await Simmer.start(
    t,
    [
      {
        name: 'actor',
        spec: { minReplicas: 1, maxReplicas: 1, overflow: 0, queue: { maxLength: 1_000 } },
      },
      { name: 'patient', code: FLAKY, spec: patient },
    ],
    { flags: ['--shutdown-grace-ms', '100'] },
  );
  const gate = ending.gate();
  const enqueueAt = async (name: string, input: object) =>
    (
      await ending.request(`/v1/functions/${name}:enqueue`, {
        method: 'POST',
        body: JSON.stringify({ input }),
      })
    ).json.executionId as string;
  const running = await enqueueAt('actor', { hold: gate });
  await eventually('it runs', async () => (await ending.pool('actor')).busy === 1);
  const waiter = ending.request(`/v1/executions/${running}?wait=60`);
  const waiting = await enqueueAt('patient', { failures: 9, log: ending.gate() });
  await eventually('it waits', async () => {
    return (await ending.request(`/v1/executions/${waiting}`)).json.status === 'waiting';
  });
  const queued: string[] = [];
  // More than the log takes at a time.
  for (let i = 0; i < 26; i++) {
    const some = Array.from({ length: 20 }, () => enqueueAt('actor', {}));
    queued.push(...(await Promise.all(some)));
  }
  const sync = ending.invoke('actor');
  await eventually('it waits in the queue', async () => {
    return (await ending.metric('simmer_function_queue_depth')) === 521;
  });
  ending.child.kill('SIGTERM');
  t.match((await waiter).json, { status: 'failed', error: { code: 'draining' } });
  t.equal((await sync).json.code, 'draining');
  t.equal(await ending.exited, 0);
  const lines = ending.logs().filter((l) => l['code'] === 'draining');
  const lineOf = (id: string) => lines.find((l) => l['executionId'] === id);
  t.match(lineOf(running), {
    ...{ message: 'invocation failed', function: 'default/actor', mode: 'async' },
    ...{ status: 'running', attempts: 1 },
  });
  t.match(lineOf(waiting), { function: 'default/patient', status: 'waiting', attempts: 1 });
  t.equal(
    queued.filter((id) => lineOf(id)?.['status'] === 'queued').length,
    520,
    'none is left out',
  );
  t.match(
    lines.filter((l) => l['mode'] === 'sync'),
    [{ status: 'queued', attempts: 0 }],
  );
  const told = ending.logs().find((l) => l.message.startsWith('out of time'));
  t.equal(told?.['executions'], 523);
});

import t from 'tap';
import { head, RawSocket } from './raw-socket.ts';
import { type Answer, eventually, Simmer } from './simmer.ts';

const ALL = 50;
const PATH = '/v1/functions/actor:enqueue';

const simmer = await Simmer.start(
  t,
  [
    {
      name: 'actor',
      spec: { minReplicas: 1, maxReplicas: 1, overflow: 0, concurrency: 10, retry: { on: [] } },
    },
  ],
  { flags: ['--executions-max', '3'] },
);

const enqueueText = (body: string, key: string): Promise<Answer> =>
  simmer.request(PATH, { method: 'POST', body, headers: { 'idempotency-key': key } });
const enqueue = (input: unknown, key: string) => enqueueText(JSON.stringify({ input }), key);
const ended = (id: string) => simmer.request(`/v1/executions/${id}?wait=30`);
const replayed = ({ headers }: Answer) => headers['idempotent-replayed'] === 'true';

t.test('fifty at once are one execution', async (t) => {
  const [gate, runs] = [simmer.gate(), simmer.gate()];
  const input = { hold: gate, runs };
  const answers = await Promise.all(Array.from({ length: ALL }, () => enqueue(input, 'many')));
  const [{ json }] = answers as [Answer];
  for (const answer of answers) {
    t.equal(answer.status, 202);
    t.equal(answer.json.executionId, json.executionId);
    t.equal(answer.headers['x-execution-id'], json.executionId);
    t.equal(answer.headers.location, `/v1/executions/${json.executionId}`);
  }
  t.equal(answers.filter(replayed).length, ALL - 1);
  simmer.open(gate);
  t.equal((await ended(json.executionId)).json.status, 'succeeded');
  t.equal(simmer.runs(runs).length, 1);
});

t.test('later ones are answered how it is then', async (t) => {
  const [gate, runs] = [simmer.gate(), simmer.gate()];
  const input = { hold: gate, runs };
  const id = (await enqueue(input, 'status')).json.executionId as string;
  await eventually('it runs', () => simmer.runs(runs).length === 1);
  const during = await enqueue(input, 'status');
  t.same(during.json, { executionId: id, status: 'running' });
  simmer.open(gate);
  await ended(id);
  const after = await enqueue(input, 'status');
  t.equal(after.status, 202);
  t.same(after.json, { executionId: id, status: 'succeeded' });
  t.equal(after.headers.location, `/v1/executions/${id}`);
  t.ok(replayed(during));
  t.ok(replayed(after));
  t.equal((await enqueue({ runs }, 'status')).status, 422);
  t.equal(simmer.runs(runs).length, 1);
});

t.test('one that failed, or was cancelled, is not run again', async (t) => {
  const runs = simmer.gate();
  const failing = { runs, error: 'no luck' };
  const failed = (await enqueue(failing, 'fails')).json.executionId as string;
  await ended(failed);
  t.same((await enqueue(failing, 'fails')).json, { executionId: failed, status: 'dead_lettered' });

  const waiting = { runs, wait: simmer.gate() };
  const cancelled = (await enqueue(waiting, 'cancelled')).json.executionId as string;
  await simmer.request(`/v1/executions/${cancelled}`, { method: 'DELETE' });
  const again = await enqueue(waiting, 'cancelled');
  t.same(again.json, { executionId: cancelled, status: 'cancelled' });
  t.equal(new Set(simmer.runs(runs)).size, simmer.runs(runs).length);
});

t.test(
  'once it has made room for others its key still keeps it from being run again',
  async (t) => {
    const runs = simmer.gate();
    const id = (await enqueue({ runs }, 'evicted')).json.executionId as string;
    await ended(id);
    for (let n = 0; n < 3; n++) await ended((await enqueue({}, `other-${n}`)).json.executionId);
    const again = await enqueue({ runs }, 'evicted');
    t.equal(again.status, 410);
    t.equal(again.json.code, 'execution_evicted');
    t.equal(again.json.executionId, id);
    t.equal(simmer.runs(runs).length, 1);
  },
);

t.test('what was refused leaves the key free', async (t) => {
  t.equal((await enqueueText('{', 'refused')).json.code, 'invalid_json');
  // Over 64 KiB: hashed in the thread pool, and checked on the control thread.
  const large = JSON.stringify({ input: 'x'.repeat(100_000) });
  t.equal((await enqueueText(`${large},`, 'refused')).json.code, 'invalid_json');
  const answers = await Promise.all([1, 2, 3].map(() => enqueueText(large, 'refused')));
  t.same(
    answers.map(({ status }) => status),
    [202, 202, 202],
  );
  t.equal(new Set(answers.map(({ json }) => json.executionId)).size, 1);
  t.equal(answers.filter(replayed).length, 2);
  await ended(answers[0]?.json.executionId);
});

t.test('executions that have not ended leave no room: refused, and the key is free', async (t) => {
  const gate = simmer.gate();
  const held: string[] = [];
  for (let n = 0; n < 3; n++) {
    const answer = await enqueue({ hold: gate }, `held-${n}`);
    t.equal(answer.status, 202);
    held.push(answer.json.executionId);
  }
  const full = await Promise.all([1, 2].map(() => enqueue({ echo: 1 }, 'full')));
  for (const answer of full) t.equal(answer.json.code, 'executions_full');
  simmer.open(gate);
  for (const id of held) await ended(id);
  const answer = await enqueue({ echo: 2 }, 'full');
  t.equal(answer.status, 202);
  t.notOk(replayed(answer));
  await ended(answer.json.executionId);
});

t.test('who hangs up after the request is sent may ask again', async (t) => {
  const runs = simmer.gate();
  const body = JSON.stringify({ input: { runs } });
  for (let n = 0; n < 20; n++) {
    const socket = await RawSocket.open(simmer.port);
    const headers = { 'Content-Length': body.length, 'Idempotency-Key': 'gone' };
    socket.write(`${head('POST', PATH, headers)}${body}`);
    socket.reset();
  }
  const answer = await enqueue({ runs }, 'gone');
  t.equal(answer.status, 202);
  await ended(answer.json.executionId);
  t.equal(simmer.runs(runs).length, 1);
  await simmer.quiet('default/actor');
});

t.test('what is kept is bounded: the oldest goes, and may run again', async (t) => {
  const small = await Simmer.start(t, [{ name: 'actor', spec: { minReplicas: 1 } }], {
    flags: ['--idempotency-keys-max', '2'],
  });
  const runs = small.gate();
  const call = (key: string) =>
    small.invoke('actor', { runs }, { headers: { 'idempotency-key': key } });
  for (const key of ['a', 'b', 'c']) t.notOk(replayed(await call(key)), key);
  t.ok(replayed(await call('b')));
  t.notOk(replayed(await call('a')));
  t.equal(small.runs(runs).length, 4);
  t.equal(await small.metric('simmer_idempotency_keys'), 2);
  t.ok((await small.metric('simmer_idempotency_bytes')) > 0);
  t.equal(await small.metric('simmer_idempotency_evictions_total', { what: 'key' }), 2);
  const gate = small.gate();
  const held = ['d', 'e'].map((key) =>
    small.invoke('actor', { hold: gate }, { headers: { 'idempotency-key': key } }),
  );
  await eventually('both run', async () => (await small.metric('simmer_function_running')) === 2);
  const full = await call('f');
  t.equal(full.status, 429);
  t.equal(full.json.code, 'idempotency_keys_full');
  t.ok(full.headers['retry-after']);
  t.equal((await small.invoke('actor')).status, 200, 'without a key it runs');
  small.open(gate);
  await Promise.all(held);
  t.equal((await call('f')).status, 200);
});

t.test('a key goes when it is old, although nobody asks for it', async (t) => {
  const brief = await Simmer.start(t, [{ name: 'actor', spec: { minReplicas: 1 } }], {
    flags: ['--idempotency-keys-max-age-ms', '1000'],
  });
  const call = () => brief.invoke('actor', {}, { headers: { 'idempotency-key': 'k' } });
  t.notOk(replayed(await call()));
  await eventually('it is gone', async () => {
    return (await brief.metric('simmer_idempotency_keys')) === 0;
  });
  t.notOk(replayed(await call()));
});

import { connect } from 'node:net';
import t from 'tap';
import { eventually, Simmer } from './simmer.ts';

const DIES_ONCE = `
export default async (input, ctx) => {
  if (ctx.attempt === 1) process.kill(process.pid, 'SIGKILL');
  return ctx.attempt;
};
`;
const simmer = await Simmer.start(
  t,
  [
    { name: 'actor', spec: { minReplicas: 1, maxReplicas: 1, overflow: 0 } },
    { name: 'mortal', code: DIES_ONCE, spec: { minReplicas: 1, retry: { baseDelayMs: 10 } } },
    { name: 'closed', spec: { overflow: 0, maxReplicas: 1, queue: { maxLength: 0 } } },
  ],
  { flags: ['--executions-sync-max', '40'] },
);
const PATH = '/v1/executions';
const get = (id: string, query = '') => simmer.request(`${PATH}/${id}${query}`);
const listed = async (query: string) => (await simmer.request(`${PATH}?${query}`)).json.executions;

/** The id of the only call of this function that runs: its caller has no answer yet. */
function running(name: string, status = 'running'): Promise<string> {
  return eventually(`one of ${name} is ${status}`, async () => {
    const [one] = await listed(`mode=sync&function=${name}&status=${status}`);
    return one?.executionId as string | undefined;
  });
}

t.test('it is known while it runs and after its end, without its bodies', async (t) => {
  const gate = simmer.gate();
  const trace = '0af7651916cd43dd8448eb211c80319c';
  const call = simmer.invoke('actor', { hold: gate }, { headers: { 'x-trace-id': trace } });
  const id = await running('actor');
  const { status, json } = await get(id);
  t.equal(status, 200, 'one that has not ended is an answer, too');
  t.match(json, {
    ...{ executionId: id, mode: 'sync', function: 'actor', status: 'running', traceId: trace },
    attempts: [{ number: 1, backend: 'process' }],
  });
  const queued = simmer.invoke('actor');
  t.match((await get(await running('actor', 'queued'))).json, { status: 'queued', attempts: [] });
  const waiters = [1, 2].map(() => get(id, '?wait=30'));
  simmer.open(gate);
  for (const { json } of await Promise.all(waiters)) {
    t.match(json, { status: 'succeeded', attempts: [{ number: 1, outcome: 'ok', cold: true }] });
    t.notOk('output' in json);
    t.ok(Date.parse(json.endedAt) >= Date.parse(json.attempts[0].startedAt));
    t.ok(Date.parse(json.attempts[0].startedAt) >= Date.parse(json.createdAt));
  }
  t.equal((await call).json.executionId, id);
  await queued;
});

t.test('its trace is the one that was drawn for it', async (t) => {
  const { headers } = await simmer.invoke('actor');
  const { json } = await get(headers['x-execution-id'] as string);
  t.equal(json.traceId, headers['x-trace-id']);
});

t.test('an error, a raw call, a lost pod', async (t) => {
  const error = await simmer.invoke('actor', { error: 'on purpose' });
  t.match((await get(error.json.executionId)).json, {
    ...{ status: 'failed', error: { code: 'function_error', attempts: 1 } },
    attempts: [{ outcome: 'function_error' }],
  });
  const raw = await simmer.request('/fn/actor/some/path');
  const rawId = raw.headers['x-execution-id'] as string;
  t.match((await get(rawId)).json, { status: 'succeeded', mode: 'sync', function: 'actor' });
  const { json } = await simmer.invoke('mortal');
  t.equal(json.output, 2);
  const view = (await get(json.executionId)).json;
  t.match(view, { attempts: [{ outcome: 'pod_lost' }, { number: 2, outcome: 'ok' }] });
  t.not(view.attempts[0].pod, view.attempts[1].pod);
});

t.test('cancelled by request: its caller is told, its handler lets go', async (t) => {
  const gate = simmer.gate();
  const call = simmer.invoke('actor', { wait: gate });
  const id = await running('actor');
  const waiting = simmer.invoke('actor', { wait: gate });
  const queued = await running('actor', 'queued');
  for (const one of [queued, id]) {
    const { status, json } = await simmer.request(`${PATH}/${one}`, { method: 'DELETE' });
    t.match([status, json.status, json.error.code], [200, 'cancelled', 'cancelled']);
    const again = await simmer.request(`${PATH}/${one}`, { method: 'DELETE' });
    t.match([again.status, again.json.code], [409, 'execution_ended']);
  }
  for (const answer of await Promise.all([call, waiting])) {
    t.match([answer.status, answer.json.code], [499, 'cancelled']);
  }
  await simmer.quiet('default/actor');
});

t.test('a client that hung up leaves a record', async (t) => {
  const gate = simmer.gate();
  const socket = connect(simmer.port, '127.0.0.1');
  const body = JSON.stringify({ input: { wait: gate } });
  socket.write(
    `POST /v1/functions/actor:invoke HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  const id = await running('actor');
  socket.destroy();
  t.match((await get(id, '?wait=30')).json, { status: 'cancelled' });
  await simmer.quiet('default/actor');
});

t.test('what was refused was none; what made room is gone; the list has both kinds', async (t) => {
  const refused = await simmer.invoke('closed');
  t.equal(refused.status, 429);
  t.equal((await get(refused.json.executionId)).status, 404);
  const first = (await simmer.invoke('actor')).json.executionId;
  const enqueued = await simmer.request('/v1/functions/actor:enqueue', {
    method: 'POST',
    body: '',
  });
  await get(enqueued.json.executionId, '?wait=30');
  const last = (await simmer.invoke('actor')).json.executionId;
  const ids = (await listed('limit=3')).map((e: { executionId: string }) => e.executionId);
  t.same(ids, [last, enqueued.json.executionId, first]);
  t.same((await listed('mode=async')).length, 1);
  for (let i = 0; i < 80; i++) await simmer.invoke('actor');
  const gone = await get(first);
  t.match([gone.status, gone.json.code], [410, 'execution_evicted']);
  t.equal((await get(enqueued.json.executionId)).status, 200, 'budgets of their own');
  t.equal((await simmer.request(`${PATH}?mode=other`)).status, 400);
});

import t from 'tap';
import { eventually, Simmer } from './simmer.ts';

/** Gives back what it is given, or what `output` names. */
const ECHO = `export default async (input, ctx) =>
  ({ ...input, ...(input.wrong && { total: 'many' }), pid: process.pid, attempt: ctx.attempt });`;

const SCHEMAS = {
  inputSchema: {
    type: 'object',
    required: ['items'],
    properties: {
      items: { type: 'array', items: { $ref: '#/$defs/item' } },
      code: { type: 'string', pattern: '^(a+)+$' },
    },
    $defs: { item: { type: 'object', properties: { price: { type: 'number', minimum: 0 } } } },
  },
  outputSchema: { type: 'object', properties: { total: { type: 'integer' } } },
};

const simmer = await Simmer.start(t, [
  { name: 'order', code: ECHO, spec: { minReplicas: 1, retry: { baseDelayMs: 1 }, ...SCHEMAS } },
  { name: 'free', code: ECHO, spec: { minReplicas: 1 } },
  { name: 'page', code: 'export const fetch = () => new Response("x");', spec: SCHEMAS },
]);

const BAD = { items: [{ price: 1 }, { price: -1 }] };
const ERRORS = [{ path: '/items/1/price', message: 'must be >= 0' }];
const REFUSED = { code: 'invalid_input', detail: '/items/1/price: must be >= 0', errors: ERRORS };

t.test(':invoke: 400 with the field, and the handler is not called', async (t) => {
  const { status, json } = await simmer.invoke('order', BAD);
  t.match([status, json], [400, { ...REFUSED, attempts: 1 }]);
  const missing = await simmer.request('/v1/functions/order:invoke', { method: 'POST', body: '' });
  t.match([missing.status, missing.json.errors], [400, [{ path: '', message: 'must be object' }]]);
  const good = await simmer.invoke('order', { items: [] });
  t.match([good.status, good.json.output], [200, { items: [] }]);
  t.equal((await simmer.invoke('free', BAD)).status, 200, 'another function has no schema');
});

t.test('an output that does not fit is 500, told where', async (t) => {
  const { status, json } = await simmer.invoke('order', { items: [], wrong: true });
  const errors = [{ path: '/total', message: 'must be integer' }];
  t.match([status, json], [500, { code: 'invalid_output', errors }]);
});

t.test(':enqueue: the execution fails at once, and nothing is retried', async (t) => {
  const end = async (input: unknown) => {
    const body = JSON.stringify({ input });
    const path = '/v1/functions/order:enqueue';
    const { json } = await simmer.request(path, { method: 'POST', body });
    return (await simmer.request(`/v1/executions/${json.executionId}?wait=30`)).json;
  };
  t.match(await end(BAD), { status: 'failed', error: REFUSED, attempts: { length: 1 } });
  const wrong = await end({ items: [], wrong: true });
  t.match(wrong, { status: 'dead_lettered', error: { code: 'invalid_output' } });
  t.equal(wrong.attempts.length, 1);
});

t.test('raw: as the value that the body becomes', async (t) => {
  const post = (type: string, body: string) =>
    simmer.request('/fn/order', { method: 'POST', body, headers: { 'content-type': type } });
  t.match((await post('application/json', JSON.stringify(BAD))).json, REFUSED);
  t.equal((await post('application/json', '{"items":[]}')).status, 200);
  t.match((await post('text/plain', 'text')).json, { code: 'invalid_input' });
  t.match((await post('image/png', 'text')).json, { code: 'invalid_input' });
});

t.test('a key tells the same errors again', async (t) => {
  const headers = { 'idempotency-key': 'a-bad-order' };
  const first = await simmer.invoke('order', BAD, { headers });
  const again = await simmer.invoke('order', BAD, { headers });
  t.equal(again.headers['idempotent-replayed'], 'true');
  t.same(again.json, first.json);
  t.match(again.json.errors, ERRORS);
});

t.test('a text that would hang a regular expression that goes back', async (t) => {
  const code = `${'a'.repeat(200_000)}!`;
  const began = performance.now();
  const { status, json } = await simmer.invoke('order', { items: [], code });
  t.match([status, json.errors[0].path], [400, '/code']);
  t.ok(performance.now() - began < 10_000);
});

t.test('a changed schema replaces the pods, and a bad one changes nothing', async (t) => {
  const pidNow = async () => (await simmer.invoke('order', { items: [] })).json.output.pid;
  const before = await pidNow();
  const spec = { minReplicas: 1, ...SCHEMAS };
  simmer.define({
    ...{ name: 'order', code: ECHO },
    spec: { ...spec, inputSchema: { pattern: '(a)\\1' } },
  });
  const field = 'spec.inputSchema.pattern';
  await eventually('the log says why', () =>
    simmer.logs().find((line) => JSON.stringify(line).includes(field)),
  );
  t.equal(await pidNow(), before);
  simmer.define({
    ...{ name: 'order', code: ECHO },
    spec: { ...spec, inputSchema: { type: 'object', required: ['name'] } },
  });
  const after = await eventually('the new schema holds', async () => {
    const { json } = await simmer.invoke('order', { name: 'x' });
    return json.output?.pid;
  });
  t.not(after, before);
  const { json } = await simmer.invoke('order', { items: [] });
  t.match(json.errors, [{ path: '/name', message: 'is missing' }]);
});

t.test('a module that has fetch alone does not load with schemas', async (t) => {
  const { status, json } = await simmer.invoke('page', {});
  t.equal(status, 503);
  t.match(json.detail, /need a default export/);
});

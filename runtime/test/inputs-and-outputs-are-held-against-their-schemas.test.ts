import type { Welcome } from '@simmer/protocol/frames';
import t, { type Test } from 'tap';
import { Stage } from './fake-control-plane.ts';

const schemas = (inputSchema: object | null, outputSchema: object | null): Partial<Welcome> => ({
  inputSchema: inputSchema === null ? '' : JSON.stringify(inputSchema),
  outputSchema: outputSchema === null ? '' : JSON.stringify(outputSchema),
});

const ORDER = {
  type: 'object',
  required: ['items'],
  properties: {
    items: { type: 'array', items: { properties: { price: { type: 'number', minimum: 0 } } } },
  },
};

async function ready(t: Test, code: string, welcome: Partial<Welcome>) {
  const stage = await Stage.open(t);
  return stage.ready(code, { welcome });
}

t.test('an input that does not fit never reaches the handler', async (t) => {
  const code = 'let calls = 0; export default (input) => ({ calls: ++calls, input });';
  const { link } = await ready(t, code, schemas(ORDER, null));
  const bad = await link.result(link.call({ input: { items: [{ price: -1 }] } }));
  t.match(bad, {
    ...{ outcome: 'bad_input', code: 'invalid_input', body: null },
    message: '/items/0/price: must be >= 0',
    errors: [['/items/0/price', 'must be >= 0']],
  });
  t.match(await link.result(link.call({})), { errors: [['', 'must be object']] });
  t.match(await link.result(link.call({ input: {} })), { errors: [['/items', 'is missing']] });
  const input = { items: [{ price: 1 }] };
  t.same(await link.output(link.call({ input })), { calls: 1, input });
});

t.test('a raw body is held against it as the value that it becomes', async (t) => {
  const code = 'export default (input) => input.length;';
  const { link } = await ready(t, code, schemas({ type: 'string', pattern: '^(a+)+$' }, null));
  const send = (type: string, body: string) =>
    link.result(link.request('POST', '/', body, [['content-type', type]]));
  t.match(await send('application/json', '"aaa"'), { outcome: 'ok' });
  t.match(await send('text/plain', 'aaa'), { outcome: 'ok' });
  t.match(await send('text/plain', `${'a'.repeat(50_000)}!`), {
    code: 'invalid_input',
    errors: [['', /must match pattern/]],
  });
  t.match(await send('application/json', '3'), { errors: [['', 'must be string']] });
  t.match(await send('image/png', 'aaa'), { errors: [['', /not bytes/]] });
  t.notOk(link.frames.some((f) => f.kind === 'head' && f.status !== 200));
});

t.test('an output that does not fit is the failure of the handler', async (t) => {
  const code = `const made = {
    date: () => ({ at: new Date(0) }), none: () => undefined, bytes: () => Buffer.from('x'),
    good: () => ({ at: 'now' }), number: () => ({ at: 3 }), later: async () => ({ at: false }),
  };
  export default (input) => made[input]();`;
  const { pod, link } = await ready(
    t,
    code,
    schemas(null, { type: 'object', properties: { at: { type: 'string' } } }),
  );
  const call = (input: string) => link.result(link.call({ input }));
  t.match(await call('date'), { outcome: 'ok' }, 'as the caller gets it');
  t.match(await call('good'), { outcome: 'ok' });
  const bad = { outcome: 'error', code: 'invalid_output', body: null };
  t.match(await call('number'), { ...bad, errors: [['/at', 'must be string']] });
  t.match(await call('later'), { ...bad, errors: [['/at', 'must be string']] });
  t.match(await call('none'), { ...bad, errors: [['', 'must be object']] });
  t.match(await pod.entry('invalid_output: /at: must be string'), { level: 'error' });
  const raw = (input: string) =>
    link.result(link.request('POST', '/', input, [['content-type', 'text/plain']]));
  for (const input of ['bytes', 'none', 'number']) t.match(await raw(input), bad, input);
  t.notOk(
    link.frames.some((f) => f.kind === 'head'),
    'nothing of it was sent',
  );
  t.match(await raw('good'), { outcome: 'ok' });
});

t.test('a raw output is text or JSON, and is checked as such', async (t) => {
  const code = 'export default (input) => input;';
  const { link } = await ready(t, code, schemas(null, { enum: ['yes', null] }));
  const send = (type: string, body: string) =>
    link.result(link.request('POST', '/', body, [['content-type', type]]));
  t.match(await send('text/plain', 'yes'), { outcome: 'ok' });
  t.match(await send('application/json', 'null'), { outcome: 'ok' });
  t.match(await send('application/json', ''), { outcome: 'ok' }, 'nothing is null');
  t.match(await send('text/plain', 'no'), { code: 'invalid_output' });
});

t.test('fetch is not checked; without anything else there is nothing to check', async (t) => {
  const both = 'export const fetch = () => new Response("any"); export default () => 1;';
  const { link } = await ready(t, both, schemas({ type: 'string' }, null));
  t.match(await link.result(link.request('POST', '/', '3')), { outcome: 'ok' });
  t.match(await link.result(link.call({ input: 3 })), { code: 'invalid_input' });

  const stage = await Stage.open(t);
  const pod = stage.start('export const fetch = () => new Response("any");');
  const connection = await stage.plane.accept();
  await connection.welcome(schemas({}, null));
  t.match(await connection.expect('failed'), {
    code: 'handler_not_loaded',
    message: /need a default export/,
  });
  t.match(await pod.exited, { code: 1 });
});

t.test('schemas that do not compile end the pod with the reason', async (t) => {
  const stage = await Stage.open(t);
  const pod = stage.start('export default () => 1;');
  const connection = await stage.plane.accept();
  await connection.welcome({ inputSchema: '{"type":"none of them"}', outputSchema: '' });
  t.match(await connection.expect('failed'), { message: /schemas do not compile/ });
  t.match(await pod.exited, { code: 1 });
});

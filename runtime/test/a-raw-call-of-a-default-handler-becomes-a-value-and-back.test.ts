import type { Head, HeaderPairs, Result } from '@simmer/protocol/frames';
import t from 'tap';
import { type PodConnection, Stage } from './fake-control-plane.ts';

async function exchange(
  link: PodConnection,
  body: string | Uint8Array,
  headers: HeaderPairs,
): Promise<{ head: Head; text: string; result: Result }> {
  const stream = link.request('POST', '/path/a%20b?x=1&x=2', body, headers);
  const head = await link.expect('head', (frame) => frame.stream === stream);
  const result = await link.result(stream);
  return { head, result, text: Buffer.from(result.body ?? []).toString() };
}

const type = (value: string): HeaderPairs => [['content-type', value]];

t.test('the body by its content type', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(`export default (input) => ({
    kind: input === undefined ? 'undefined' : input === null ? 'null' : input.constructor.name,
    value: input instanceof Uint8Array ? [...input] : input,
  });`);
  const cases = [
    ['{"a":[1]}', type('application/json'), { kind: 'Object', value: { a: [1] } }],
    [
      '{"a":1}',
      type('Application/Problem+JSON; charset=utf-8'),
      { kind: 'Object', value: { a: 1 } },
    ],
    ['null', type('application/json'), { kind: 'null', value: null }],
    ['hällo', type('text/plain'), { kind: 'String', value: 'hällo' }],
    [
      Buffer.from('hällo', 'latin1'),
      type('text/csv; charset="ISO-8859-1"'),
      { kind: 'String', value: 'hällo' },
    ],
    [Buffer.from([1, 2]), type('text/plain; charset=klingon'), { value: [1, 2] }],
    [Buffer.from([0, 255]), type('image/png'), { value: [0, 255] }],
    [Buffer.from([0, 255]), [], { value: [0, 255] }],
    ['', type('application/json'), { kind: 'undefined' }],
  ] as const;
  for (const [body, headers, expect] of cases) {
    const { head, text } = await exchange(link, body, headers);
    t.match(head, { status: 200, headers: [['content-type', 'application/json']] });
    t.match(JSON.parse(text), expect, JSON.stringify(headers));
  }
  const broken = link.request('POST', '/', '{"a"', type('application/json'));
  t.match(await link.result(broken), { outcome: 'bad_input', code: 'invalid_json' });
});

t.test('the result by its type', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(`
    const results = {
      text: 'grüße', bytes: new Uint8Array([1, 2]), buffer: new Uint8Array([3]).buffer,
      view: new DataView(new Uint8Array([9, 4, 9]).buffer, 1, 1), json: [1], null: null, none: undefined,
    };
    export default (input) => results[input];`);
  const cases = [
    ['text', 200, type('text/plain; charset=utf-8'), 'grüße'],
    ['bytes', 200, type('application/octet-stream'), '\u0001\u0002'],
    ['buffer', 200, type('application/octet-stream'), '\u0003'],
    ['view', 200, type('application/octet-stream'), '\u0004'],
    ['json', 200, type('application/json'), '[1]'],
    ['null', 200, type('application/json'), 'null'],
    ['none', 204, [], ''],
  ] as const;
  for (const [input, status, headers, body] of cases) {
    const { head, text, result } = await exchange(link, input, type('text/plain'));
    t.match({ status: head.status, headers: head.headers }, { status, headers }, input);
    t.equal(text, body, input);
    t.equal(result.outcome, 'ok');
  }
});

t.test('ctx.request has the rest', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(`export default (input, { request }) => ({
    method: request.method, target: request.target, path: request.path,
    x: request.query.getAll('x'), headers: request.headers,
  });`);
  const { text } = await exchange(link, '', [
    ['accept', 'a'],
    ['accept', 'b'],
    ['cookie', 'c=1'],
    ['cookie', 'd=2'],
  ]);
  t.same(JSON.parse(text), {
    method: 'POST',
    target: '/path/a%20b?x=1&x=2',
    path: '/path/a%20b',
    x: ['1', '2'],
    headers: { accept: 'a, b', cookie: 'c=1; d=2' },
  });
});

import type { HeaderPairs } from '@simmer/protocol/frames';
import t from 'tap';
import { Stage } from './fake-control-plane.ts';

t.test('method, url, headers and body arrive; status, headers and body go back', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(`export const fetch = async (request, ctx) => {
    const headers = new Headers({ 'x-url': request.url, 'x-method': request.method, 'x-id': ctx.executionId });
    headers.set('x-accept', request.headers.get('accept'));
    headers.append('set-cookie', 'a=1');
    headers.append('set-cookie', 'b=2');
    headers.set('connection', 'close');
    return new Response(await request.text(), { status: 418, headers });
  };`);
  const headers: HeaderPairs = [
    ['host', 'api.example.com:8080'],
    ['accept', 'ü€'],
  ];
  const stream = link.request('PUT', '/a/b?c=d%20e', 'body', headers);
  const head = await link.expect('head');
  t.equal(head.status, 418);
  const value = (name: string) => head.headers.filter(([n]) => n === name).map(([, v]) => v);
  t.same(value('x-url'), ['http://api.example.com:8080/a/b?c=d%20e']);
  t.same(value('x-method'), ['PUT']);
  t.same(value('x-id'), [`exec-${stream}`]);
  t.same(value('set-cookie'), ['a=1', 'b=2']);
  t.same(value('connection'), [], 'a header of one hop stays there');
  t.same(Buffer.from(value('x-accept')[0] ?? '', 'latin1').toString(), 'ü€');
  const result = await link.result(stream);
  t.match(result, { outcome: 'ok', code: '' });
  t.equal(Buffer.from(result.body ?? []).toString(), 'body');
  t.notOk(
    link.frames.some((f) => f.kind === 'chunk'),
    'a small body is in the result',
  );
});

t.test('no body, and odd hosts and methods', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(`export const fetch = async (request) =>
    new Response(null, { status: 204, headers: { 'x-url': request.url, 'x-body': String(request.body) } });`);
  const stream = link.request('GET', 'relative', 'ignored', [['host', 'not a host']]);
  t.match(await link.expect('head'), {
    status: 204,
    headers: [
      ['x-body', 'null'],
      ['x-url', 'http://test.default/relative'],
    ],
  });
  t.match(await link.result(stream), { outcome: 'ok', body: null });
  t.match(await link.result(link.request('TRACE', '/')), {
    outcome: 'bad_input',
    code: 'bad_input',
  });
});

t.test('what is wrong with it', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(`
    const used = new Response('x');
    await used.text();
    const broken = (after) => new Response(new ReadableStream({
      async pull(c) {
        if (after-- > 0) { c.enqueue(new Uint8Array(70_000)); return; }
        throw new Error('torn');
      },
    }));
    const cases = {
      throws: () => { throw new Error('no'); },
      value: () => ({ status: 'fine' }),
      error: () => Response.error(),
      used: () => used,
      broken: () => broken(0),
      midway: () => broken(1),
    };
    export const fetch = async (request) => cases[new URL(request.url).pathname.slice(1)]();`);
  const cases = [
    ['throws', 'function_error', false],
    ['value', 'function_error', false],
    ['error', 'function_error', false],
    ['used', 'result_not_serializable', false],
    ['broken', 'result_not_serializable', true],
    ['midway', 'result_not_serializable', true],
  ] as const;
  for (const [path, code, hasHead] of cases) {
    link.frames.length = 0;
    const stream = link.request('GET', `/${path}`);
    t.match(await link.result(stream), { outcome: 'error', code, body: null }, path);
    t.equal(
      link.frames.some((f) => f.kind === 'head'),
      hasHead,
      `${path}: head`,
    );
    t.equal(
      link.frames.some((f) => f.kind === 'chunk'),
      path === 'midway',
      `${path}: chunks`,
    );
    t.notOk(
      link.frames.some((f) => f.kind === 'chunk' && f.end),
      `${path}: no end`,
    );
  }
});

t.test('a module with fetch alone answers the value form', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(
    `const answers = {
      json: (r) => r.json().then((input) => Response.json({ input, method: r.method, trace: r.headers.get('traceparent') })),
      text: () => new Response('plain', { status: 404, headers: [['set-cookie', 'a=1'], ['set-cookie', 'b=2']] }),
      bytes: () => new Response(new Uint8Array([0, 255])),
      lies: () => new Response('{', { headers: { 'content-type': 'application/json' } }),
      empty: () => new Response(null),
      large: () => new Response('x'.repeat(2_000)),
    };
    export const fetch = async (request) => answers[(await request.clone().json()).answer](request);`,
    { welcome: { maxResultBytes: 1_000 } },
  );
  const call = (answer: string) => link.output(link.call({ input: { answer } }));
  t.match(await call('json'), {
    status: 200,
    body: { input: { answer: 'json' }, method: 'POST', trace: /^00-a+1-b+-01$/ },
  });
  t.match(await call('text'), {
    status: 404,
    headers: { 'set-cookie': ['a=1', 'b=2'], 'content-type': /^text\/plain/ },
    body: 'plain',
  });
  t.match(await call('bytes'), { body: 'AP8=', bodyEncoding: 'base64' });
  t.match(await call('lies'), { body: '{' });
  t.match(await call('empty'), { status: 200, body: null });
  t.match(await link.result(link.call({ input: { answer: 'large' } })), {
    outcome: 'too_large',
    code: 'result_too_large',
  });
});

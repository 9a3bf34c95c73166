import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { bearer, KeyFile } from './keys.ts';
import { eventually, isAlive, type RequestOptions, Simmer } from './simmer.ts';

const source = (text: string) => ({ source: { inline: text } });
const answers = (value: unknown) => source(`export default () => (${JSON.stringify(value)});`);
const manifest = (name: string, spec: object, metadata: object = {}) => ({
  apiVersion: 'simmer.dev/v1alpha1',
  kind: 'Function',
  metadata: { name, ...metadata },
  spec,
});

async function start(t: import('tap').Test) {
  const simmer = await Simmer.start(t, [{ name: 'mine', spec: { minReplicas: 0 } }]);
  const send = (method: string, path: string, body?: unknown, more: RequestOptions = {}) =>
    simmer.request(path, {
      method,
      ...more,
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
  return { simmer, send };
}

t.test('made, called, replaced, deleted', async (t) => {
  const { simmer, send } = await start(t);
  const file = join(simmer.folder, 'functions/greet.default.yaml');

  const made = await send('POST', '/v1/functions', manifest('greet', answers('one')));
  t.equal(made.status, 201, made.text);
  t.equal(made.headers.location, '/v1/functions/greet');
  t.match(made.json, { name: 'greet', metadata: { namespace: 'default' }, spec: answers('one') });
  t.ok(existsSync(file));
  t.equal((await simmer.invoke('greet')).json.output, 'one', 'it serves when it is answered');
  const again = await send('POST', '/v1/functions', manifest('greet', answers('two')));
  t.match([again.status, again.json.code], [409, 'function_exists']);

  const { json, headers } = await simmer.request('/v1/functions/greet');
  t.equal(headers.etag, made.headers.etag);
  const round = await send('PUT', '/v1/functions/greet', json);
  t.equal(round.status, 200, round.text);
  t.equal(round.headers.etag, made.headers.etag, 'what GET shows is what PUT takes');
  t.strictSame(round.json.spec, json.spec);

  const warm = { ...answers('two'), minReplicas: 1 };
  const replaced = await send('PUT', '/v1/functions/greet', { spec: warm });
  t.equal(replaced.status, 200, replaced.text);
  t.equal((await simmer.invoke('greet')).json.output, 'two');
  t.equal((await simmer.pool('greet')).ready, 1, 'it is answered once a pod is ready');

  const gone = await send('DELETE', '/v1/functions/greet');
  t.equal(gone.status, 204);
  t.equal(gone.text, '');
  t.equal((await simmer.invoke('greet')).status, 404, 'at once');
  t.notOk(existsSync(file));
  t.equal((await send('DELETE', '/v1/functions/greet')).json.code, 'function_not_found');
  const put = await send('PUT', '/v1/functions/greet', { spec: answers('three') });
  t.equal(put.status, 201, 'PUT makes what is not there');
  t.equal((await simmer.invoke('greet')).json.output, 'three');
});

t.test('YAML is taken as well; labels stay where only the spec is put', async (t) => {
  const { simmer, send } = await start(t);
  const yaml = `# a comment
apiVersion: simmer.dev/v1alpha1
kind: Function
metadata: {name: y, namespace: team, labels: {a: b}}
spec:
  source:
    inline: |
      export default () => 'yaml';
`;
  const made = await send('POST', '/v1/functions', yaml, {
    headers: { 'content-type': 'application/yaml' },
  });
  t.match([made.status, made.headers.location], [201, '/v1/functions/y.team']);
  t.equal((await simmer.invoke('y.team')).json.output, 'yaml');
  await send('PUT', '/v1/functions/y.team', { spec: answers(1) });
  const { json } = await simmer.request('/v1/functions/y.team');
  t.match(json.metadata, { labels: { a: 'b' } });
});

t.test('what is wrong is told by field, and nothing is written', async (t) => {
  const { simmer, send } = await start(t);
  const cases: readonly [string, string, unknown, RegExp, object][] = [
    ['POST', '', '', /empty/, {}],
    ['POST', '', '[1]', /must be a manifest/, {}],
    ['POST', '', 'a: [', /neither JSON nor YAML/, {}],
    ['POST', '', '{"a": 1', /neither JSON nor YAML/, {}],
    ['POST', '', `${JSON.stringify(manifest('a', answers(1)))}\n---\na: 1\n`, /one manifest/, {}],
    ['POST', '', { ...manifest('a', {}), kind: 'WarmPool' }, /must be Function/, { field: 'kind' }],
    [
      'POST',
      '',
      manifest('a', { ...answers(1), concurrency: 0 }),
      /spec\.concurrency: must be >= 1/,
      { field: 'spec.concurrency', reason: 'must be >= 1' },
    ],
    [
      'POST',
      '',
      manifest('a', { ...answers(1), inputSchema: { items: { pattern: '(?=a)' } } }),
      /no regular expression that RE2 knows/,
      { field: 'spec.inputSchema.items.pattern' },
    ],
    ['POST', '', manifest('a', { handler: 'no.js' }), /no file/, { field: 'spec.handler' }],
    ['PUT', '/a', manifest('b', answers(1)), /as in the URL/, { field: 'metadata.name' }],
    [
      'PUT',
      '/a.team',
      manifest('a', answers(1), { namespace: 'other' }),
      /must be team/,
      { field: 'metadata.namespace' },
    ],
  ];
  for (const [method, name, body, detail, issue] of cases) {
    const { status, json } = await send(method, `/v1/functions${name}`, body);
    t.match({ status, ...json }, { status: 400, code: 'invalid_manifest', issues: [issue] });
    t.match(json.detail, detail);
  }
  const bad = await send('PUT', '/v1/functions/No', {});
  t.equal(bad.json.code, 'invalid_function_name');
  const wait = await send('POST', '/v1/functions?wait=soon', manifest('a', answers(1)));
  t.equal(wait.json.code, 'invalid_query');
  const big = await send('POST', '/v1/functions', 'x'.repeat(1_048_577));
  t.equal(big.json.code, 'payload_too_large');
  const list = await simmer.request('/v1/functions');
  t.strictSame(
    list.json.functions.map((f: { name: string }) => f.name),
    ['mine'],
  );
});

t.test('one that does not load is answered with the reason, and stays', async (t) => {
  const { simmer, send } = await start(t);
  const good = { ...answers('good'), minReplicas: 1 };
  await send('POST', '/v1/functions', manifest('breaks', good));
  const bad = { ...source("throw new Error('no database');"), minReplicas: 1 };
  const { status, json } = await send('PUT', '/v1/functions/breaks', { spec: bad });
  t.match({ status, ...json }, { status: 422, code: 'function_not_ready' });
  t.match(json.detail, /The change is applied.*handler_not_loaded: .*no database/);
  t.equal((await simmer.invoke('breaks')).json.output, 'good', 'old pods serve meanwhile');
  const shown = await simmer.request('/v1/functions/breaks');
  t.strictSame(shown.json.spec.source, bad.source);
  const mended = await send('PUT', '/v1/functions/breaks', { spec: { ...good, concurrency: 2 } });
  t.equal(mended.status, 200, mended.text);
});

t.test('how long it waits is the caller’s to say; what is missing is told', async (t) => {
  const { simmer, send } = await start(t);
  const gate = simmer.gate();
  const slow = {
    ...source(`
import { existsSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
while (!existsSync(${JSON.stringify(gate)})) await setTimeout(5);
export default () => 1;`),
    minReplicas: 1,
  };
  const at = await send('POST', '/v1/functions?wait=false', manifest('slow', slow));
  t.equal(at.status, 202);
  t.equal(at.headers.location, '/v1/functions/slow');
  t.match(at.json.waitsFor, /a pod of revision \w+; \d on the way/);
  const second = await send('PUT', '/v1/functions/slow?wait=1', { spec: slow });
  t.equal(second.status, 202, 'bounded');
  const whole = send('PUT', '/v1/functions/slow', { spec: slow });
  simmer.open(gate);
  t.equal((await whole).status, 200);
});

t.test('one that waits when the server is told to end hears what is missing', async (t) => {
  const { simmer, send } = await start(t);
  const never = { ...source('await new Promise(() => {});'), minReplicas: 1 };
  const waiting = send('POST', '/v1/functions', manifest('never', never));
  await eventually('it is stored', async () => {
    const { status } = await simmer.request('/v1/functions/never');
    return status === 200;
  });
  simmer.child.kill('SIGTERM');
  const answer = await waiting;
  t.equal(answer.status, 202, answer.text);
  t.match(answer.json.waitsFor, /a pod of revision/);
  t.equal(await simmer.exited, 0);
});

t.test('If-Match guards against what others wrote', async (t) => {
  const { simmer, send } = await start(t);
  const made = await send('POST', '/v1/functions', manifest('m', answers(1)));
  const ifMatch = (tag: string) => ({ headers: { 'if-match': tag } });
  const tag = made.headers.etag as string;
  const one = await send('PUT', '/v1/functions/m', { spec: answers(2) }, ifMatch(tag));
  t.equal(one.status, 200);
  const late = await send('PUT', '/v1/functions/m', { spec: answers(3) }, ifMatch(tag));
  t.match([late.status, late.json.code], [412, 'precondition_failed']);
  t.equal((await send('DELETE', '/v1/functions/m', undefined, ifMatch(tag))).status, 412);
  t.equal((await simmer.invoke('m')).json.output, 2);
  const none = await send('PUT', '/v1/functions/none', { spec: answers(1) }, ifMatch('*'));
  t.equal(none.status, 412);
  const any = await send(
    'DELETE',
    '/v1/functions/m',
    undefined,
    ifMatch(`"x", ${one.headers.etag}`),
  );
  t.equal(any.status, 204);
});

t.test('calls go on while a function is replaced; its old pods end', async (t) => {
  const { simmer, send } = await start(t);
  const spec = (value: string) => ({ ...answers(value), minReplicas: 2, concurrency: 4 });
  await send('POST', '/v1/functions', manifest('roll', spec('red')));
  const before = await eventually('both run', async () => {
    const pids = await simmer.pids('roll');
    return pids.length === 2 && pids;
  });
  let rolled = false;
  const seen = new Set<string>();
  const clients = Array.from({ length: 4 }, async () => {
    while (!rolled) {
      const { status, json } = await simmer.invoke('roll');
      seen.add(status === 200 ? json.output : JSON.stringify(json));
    }
  });
  const put = await send('PUT', '/v1/functions/roll', { spec: spec('blue') });
  t.equal(put.status, 200);
  await eventually('the old ones have ended', () => !before.some(isAlive));
  rolled = true;
  await Promise.all(clients);
  t.strictSame([...seen].sort(), ['blue', 'red']);
});

t.test("a user's own file is written where it stands, and its handler is let alone", async (t) => {
  const { simmer, send } = await start(t);
  const put = await send('PUT', '/v1/functions/mine', {
    spec: { handler: 'mine.mjs', maxReplicas: 3 },
  });
  t.equal(put.status, 200, put.text);
  t.notOk(existsSync(join(simmer.folder, 'functions/mine.default.yaml')));
  const gone = await send('DELETE', '/v1/functions/mine');
  t.equal(gone.status, 204);
  t.notOk(existsSync(join(simmer.folder, 'functions/mine.yaml')));
  t.ok(existsSync(join(simmer.folder, 'functions/mine.mjs')), 'its handler is not the platform’s');
});

t.test(
  'a key writes what its scope and its patterns cover, whether it is there or not',
  async (t) => {
    const keys = new KeyFile(t);
    const reader = keys.add({ scopes: ['invoke', 'read'] });
    const narrow = keys.add({ functions: ['team/*'] });
    const simmer = await Simmer.start(t, [{ name: 'mine' }], { flags: ['--api-keys', keys.path] });
    const attempt = async (key: string, method: string, path: string, body?: object) => {
      const given = body && { body: JSON.stringify(body) };
      const answer = await simmer.request(path, { method, ...bearer(key), ...given });
      return answer.status === 403 ? answer.json.code : answer.status;
    };
    const a = manifest('a', answers(1), { namespace: 'team' });
    t.equal(await attempt(reader, 'POST', '/v1/functions', a), 'forbidden');
    t.equal(await attempt(narrow, 'POST', '/v1/functions', a), 201);
    t.equal(await attempt(narrow, 'POST', '/v1/functions', manifest('a', answers(1))), 'forbidden');
    for (const name of ['mine', 'nobody']) {
      const path = `/v1/functions/${name}`;
      t.equal(await attempt(narrow, 'PUT', path, { spec: answers(1) }), 'forbidden');
      t.equal(await attempt(narrow, 'DELETE', path), 'forbidden');
    }
    t.equal(await attempt(narrow, 'DELETE', '/v1/functions/a.team'), 204);
  },
);

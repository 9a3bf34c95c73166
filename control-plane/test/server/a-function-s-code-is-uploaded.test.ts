import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packArchive } from '@simmer/protocol/archive';
import t, { type Test } from 'tap';
import { bearer, KeyFile } from './keys.ts';
import { eventually, Simmer, type StartOptions } from './simmer.ts';

const MODULE = 'text/javascript';
const ARCHIVE = 'application/gzip';
const packed = (files: Readonly<Record<string, string>>) =>
  packArchive(
    Object.entries(files).map(([path, text]) => ({
      ...{ path, bytes: Buffer.from(text), executable: false },
    })),
  );
const sha = (bytes: Uint8Array | string) => createHash('sha256').update(bytes);
const digestOf = (bytes: Uint8Array | string) => `sha256:${sha(bytes).digest('hex')}`;
const returns = (value: unknown) => `export default () => (${JSON.stringify(value)});`;

async function start(t: Test, options: StartOptions = {}) {
  const simmer = await Simmer.start(t, [], options);
  simmer.write(
    'fn.yaml',
    `apiVersion: simmer.dev/v1alpha1\nkind: Function\nmetadata:\n  name: fn\nspec:\n  minReplicas: 1\n  source:\n    inline: "${returns(0)}"\n`,
  );
  await eventually('fn is there', async () => (await simmer.invoke('fn')).status === 200);
  const put = (
    body: string | Uint8Array,
    type = MODULE,
    headers: Record<string, string> = {},
    path = 'fn/code',
  ) =>
    simmer.request(`/v1/functions/${path}`, {
      ...{ method: 'PUT', body, headers: { 'content-type': type, ...headers } },
    });
  return { simmer, put };
}

t.test('a module serves when it is answered, is shown, and comes back', async (t) => {
  const { simmer, put } = await start(t);
  const code = returns('one');
  const answer = await put(code);
  t.equal(answer.status, 200, answer.text);
  t.match(answer.json, {
    name: 'fn',
    spec: { minReplicas: 1, source: { bundle: digestOf(code) } },
  });
  t.ok(answer.headers.etag);
  t.equal((await simmer.invoke('fn')).json.output, 'one');
  const back = await simmer.request('/v1/functions/fn/code');
  t.match(back, { status: 200, text: code, headers: { 'content-type': /^text\/javascript/ } });
  t.equal(back.headers['content-digest'], `sha-256=:${sha(code).digest('base64')}:`);
  const large = `${returns('large')}//${randomBytes(2_000_000).toString('hex')}`;
  t.equal((await put(large)).status, 200);
  t.equal((await simmer.invoke('fn')).json.output, 'large');
  t.equal((await simmer.request('/v1/functions/fn/code')).text, large);
});

t.test('an archive brings its dependencies; the file that is to be loaded is named', async (t) => {
  const { simmer, put } = await start(t);
  const bytes = await packed({
    'handler.js': "import { text } from 'dep'; export default () => [text, process.cwd()];",
    'package.json': '{"type": "module"}',
    'node_modules/dep/index.js': 'exports.text = "hello";',
  });
  const answer = await put(bytes, ARCHIVE, {
    'content-digest': `sha-256=:${sha(bytes).digest('base64')}:, sha-512=:AA==:`,
  });
  t.equal(answer.status, 200, answer.text);
  const [text, cwd] = (await simmer.invoke('fn')).json.output;
  t.equal(text, 'hello');
  t.ok(existsSync(cwd));
  const back = await simmer.request('/v1/functions/fn/code');
  t.ok(back.body.equals(bytes));
  t.equal(back.headers['content-type'], ARCHIVE);
  const [pid] = await simmer.pids('fn');
  process.kill(pid as number, 'SIGKILL');
  await eventually('what a killed pod had unpacked is gone', () => !existsSync(cwd));
});

t.test('a pod of a WarmPool takes an archive, too', async (t) => {
  const { simmer, put } = await start(t);
  simmer.write(
    'warm.yaml',
    'apiVersion: simmer.dev/v1alpha1\nkind: WarmPool\nmetadata: {name: warm}\nspec: {minReplicas: 1}\n',
  );
  await eventually('a generic pod is there', async () => {
    const { json } = await simmer.request('/v1/pools/warm?kind=WarmPool');
    return json.ready === 1;
  });
  const bytes = await packed({
    'handler.js': 'module.exports = () => require("dep");',
    'node_modules/dep/index.js': 'module.exports = 7;',
  });
  const spec = { source: { inline: returns(0) }, minReplicas: 0 };
  await simmer.request('/v1/functions/any', { method: 'PUT', body: JSON.stringify({ spec }) });
  t.equal((await put(bytes, ARCHIVE, {}, 'any/code')).status, 200);
  t.equal((await simmer.invoke('any')).json.output, 7);
  t.match((await simmer.pool('any')).placements, { generic: 1 });
});

t.test('it is there after a restart', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'simmer-kept-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const flags = ['--functions', join(folder, 'functions'), '--code-store', join(folder, 'code')];
  mkdirSync(join(folder, 'functions'));
  const manifest = { spec: { source: { inline: returns(0) } } };
  const first = await Simmer.start(t, [], { flags });
  const made = { method: 'PUT', body: JSON.stringify(manifest) };
  t.equal((await first.request('/v1/functions/fn', made)).status, 201);
  const body = returns('kept');
  const put = { method: 'PUT', body, headers: { 'content-type': MODULE } };
  t.equal((await first.request('/v1/functions/fn/code', put)).status, 200);
  first.child.kill('SIGKILL');
  await first.exited;
  const second = await Simmer.start(t, [], { flags });
  t.equal((await second.invoke('fn')).json.output, 'kept');
});

t.test('what cannot be used is refused, and what was there goes on', async (t) => {
  const { simmer, put } = await start(t);
  const good = await packed({ 'handler.js': '' });
  const wrong = `sha-256=:${sha('other').digest('base64')}:`;
  const BAD: [
    Promise<{ status: number; json: { code: string; detail: string } }>,
    number,
    string,
    RegExp,
  ][] = [
    [put(returns(1), 'text/plain'), 415, 'unsupported_media_type', /text\/javascript/],
    [put(returns(1), ARCHIVE), 400, 'invalid_bundle', /no gzip/],
    [put(good, MODULE), 400, 'invalid_bundle', /is gzip/],
    [put(good.subarray(0, 50), ARCHIVE), 400, 'invalid_bundle', /gzip is broken/],
    [put('', MODULE), 400, 'invalid_bundle', /empty/],
    [put(Buffer.from([0xff, 0xfe]), MODULE), 400, 'invalid_bundle', /UTF-8/],
    [put(await packed({ 'a.js': '' }), ARCHIVE), 400, 'invalid_bundle', /no handler\.js.*a\.js/],
    [put(returns(1), MODULE, { 'content-digest': wrong }), 400, 'digest_mismatch', /sha-256=:/],
    [put(returns(1), MODULE, {}, 'none/code'), 404, 'function_not_found', /none/],
    [put(returns(1), MODULE, {}, 'NO/code'), 400, 'invalid_function_name', /NO/],
    [put(returns(1), MODULE, {}, 'fn/code?wait=x'), 400, 'invalid_query', /wait/],
    [put(returns(1), MODULE, { 'if-match': '"x"' }), 412, 'precondition_failed', /If-Match/],
  ];
  for (const [answering, status, code, detail] of BAD) {
    const answer = await answering;
    t.match([answer.status, answer.json.code], [status, code], answer.json.detail);
    t.match(answer.json.detail, detail);
  }
  t.equal((await simmer.invoke('fn')).json.output, 0);
  const broken = await put('export default (');
  t.match([broken.status, broken.json.code], [422, 'function_not_ready']);
  t.match(broken.json.detail, /handler_not_loaded/);
  t.equal((await simmer.invoke('fn')).json.output, 0, 'its pods go on');
  const file = await simmer.request('/v1/functions/mine/code');
  t.equal(file.json.code, 'function_not_found');
});

t.test('a function whose code is a file has none here', async (t) => {
  const simmer = await Simmer.start(t, [{ name: 'mine' }]);
  const { status, json } = await simmer.request('/v1/functions/mine/code');
  t.match([status, json.code], [404, 'code_not_found']);
});

t.test('code is bounded, one bundle and all', async (t) => {
  const flags = ['--max-bundle-bytes', '100KiB', '--code-store-max-bytes', '1MiB'];
  const { simmer, put } = await start(t, { flags });
  const sized = (bytes: number, text = 'x') => `${returns(1)}//`.padEnd(bytes, text);
  const declared = await put(sized(200_000));
  t.match([declared.status, declared.json.code], [413, 'payload_too_large']);
  const chunked = await put(sized(200_000), MODULE, { 'transfer-encoding': 'chunked' });
  t.match([chunked.status, chunked.json.code], [413, 'payload_too_large']);
  t.equal((await put(sized(100_000), MODULE, { 'transfer-encoding': 'chunked' })).status, 200);
  for (const text of 'abcdefghijkl') t.equal((await put(sized(100_000, text))).status, 200);
  const kept = readdirSync(join(simmer.folder, 'functions/.simmer/code'));
  t.ok(kept.length <= 10, `${kept.length} are kept`);
});

t.test('so much at once is received, and one more is told to come again', async (t) => {
  const { simmer, put } = await start(t, { flags: ['--max-bundle-bytes', '100KiB'] });
  const head = `PUT /v1/functions/fn/code HTTP/1.1\r\nhost: x\r\ncontent-type: ${MODULE}\r\n`;
  let said = '';
  const slow = Array.from({ length: 5 }, () => {
    const socket = connect(simmer.port, '127.0.0.1');
    t.teardown(() => socket.destroy());
    socket.on('data', (data) => {
      said += data;
    });
    socket.write(`${head}content-length: 102400\r\n\r\n//`);
    return socket;
  });
  await eventually('one of them is too many', () => said.startsWith('HTTP/1.1 429 '));
  const refused = await put(returns(1));
  t.equal(refused.status, 429);
  t.match([refused.json.code, refused.headers['retry-after']], ['overloaded', '1']);
  t.equal((await simmer.invoke('fn')).status, 200, 'calls go on');
  for (const socket of slow) socket.destroy();
  await eventually('there is again', async () => (await put(returns(2))).status === 200);
});

t.test('a manifest may name code that is to come', async (t) => {
  const { simmer, put } = await start(t);
  const code = returns('later');
  const spec = { minReplicas: 1, source: { bundle: digestOf(code) } };
  const first = await simmer.request('/v1/functions/late?wait=false', {
    ...{ method: 'PUT', body: JSON.stringify({ spec }) },
  });
  t.match([first.status, first.json.code], [422, 'function_not_ready']);
  t.match(first.json.issues, [{ field: 'spec.source.bundle', reason: /upload it by PUT/ }]);
  const answer = await put(code, MODULE, {}, 'late/code');
  t.equal(answer.status, 200, answer.text);
  t.equal((await simmer.invoke('late')).json.output, 'later');
});

t.test('it takes the scope of writes, and a pattern that covers the function', async (t) => {
  const keys = new KeyFile(t);
  const writer = keys.add({ scopes: ['write', 'read'], functions: ['default/other'] });
  const reader = keys.add({ scopes: ['read'] });
  keys.write();
  const simmer = await Simmer.start(t, [{ name: 'fn', spec: { source: { inline: returns(0) } } }], {
    flags: ['--api-keys', keys.path],
  });
  const ask = (key: string, method: string) =>
    simmer.request('/v1/functions/fn/code', {
      method,
      headers: { ...bearer(key).headers, 'content-type': MODULE },
      ...(method === 'PUT' && { body: returns(1) }),
    });
  t.equal((await ask(reader, 'PUT')).json.code, 'forbidden');
  t.equal((await ask(writer, 'PUT')).json.code, 'forbidden');
  t.equal((await ask(writer, 'GET')).json.code, 'function_not_found', 'not to be seen');
  t.equal((await ask(reader, 'GET')).text, returns(0));
});

t.test('uploads that come at once are each whole', async (t) => {
  const { simmer, put } = await start(t);
  const codes = Array.from({ length: 6 }, (_, i) => returns(i));
  const answers = await Promise.all(
    codes.map((code) => put(code, MODULE, {}, 'fn/code?wait=false')),
  );
  for (const { status, text } of answers) t.ok([200, 202].includes(status), text);
  const { json } = await simmer.request('/v1/functions/fn');
  t.ok(codes.map(digestOf).includes(json.spec.source.bundle));
  const wanted = codes.findIndex((code) => digestOf(code) === json.spec.source.bundle);
  await eventually(
    'the last one serves',
    async () => (await simmer.invoke('fn')).json.output === wanted,
  );
});

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { Simmer } from '../../control-plane/test/server/simmer.ts';
import { cli } from './cli.ts';

const simmer = await Simmer.start(t, []);
const url = `http://127.0.0.1:${simmer.port}`;
const run = (...args: string[]) => cli(args, { env: { SIMMER_URL: url } });

function project(t: Test, name: string, files: Readonly<Record<string, string>>) {
  const root = mkdtempSync(join(tmpdir(), 'simmer-project-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const folder = join(root, name);
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  for (const [path, text] of Object.entries(files)) write(path, text);
  return { folder, write };
}

const output = async (name: string, input: unknown = {}) =>
  (await simmer.invoke(name, input)).json.output;

t.test(
  'a handler, what it imports, and CommonJS that asks for Node become one module',
  async (t) => {
    const { folder, write } = project(t, 'greet', {
      'index.ts':
        "import { greet } from 'greeting'; import { me } from './lib/me.ts';\nconst require = (name: string): string => name;\nexport default ({ name }: { name: string }): string => greet(name, require(me));",
      'lib/me.ts': "export const me: string = 'me';",
      'node_modules/greeting/index.js':
        "const { join } = require('path'); exports.greet = (a, b) => join('hello', a, b);",
    });
    const made = await run('deploy', folder);
    t.equal(made.code, 0, made.err);
    t.match(made.out, new RegExp(`^greet serves \\(\\d+\\.\\d KiB\\): ${url}/fn/greet\\n$`));
    t.equal(await output('greet', { name: 'you' }), 'hello/you/me');
    t.match((await simmer.request('/v1/functions/greet')).json.spec, {
      minReplicas: 1,
      handler: 'handler.mjs',
      source: { bundle: /^sha256:/ },
    });

    write('lib/me.ts', "export const me: string = 'again';");
    const again = await run('--json', 'deploy', folder, '--name', 'greet');
    t.match(again.json, {
      function: 'greet',
      digest: /^sha256:/,
      bytes: Number,
      url: `${url}/fn/greet`,
    });
    t.equal(await output('greet', { name: 'you' }), 'hello/you/again');
    t.match(await run('deploy', folder), { code: 0 }, 'what is there already serves');
  },
);

t.test('a simmer.yaml says how it is run', async (t) => {
  const { folder, write } = project(t, 'any', {
    'simmer.yaml':
      'metadata: {name: said, namespace: team, labels: {a: b}}\nspec: {handler: src/main.mjs, minReplicas: 1, env: [{name: A, value: "1"}]}',
    'src/main.mjs': 'export default () => process.env.A;',
  });
  t.match(await run('deploy', folder), { code: 0, out: /^said\.team serves/ });
  t.equal(await output('said.team'), '1');
  write(
    'simmer.yaml',
    'metadata: {name: said, namespace: team}\nspec: {handler: src/main.mjs, minReplicas: 2, env: [{name: A, value: "2"}]}',
  );
  t.match(await run('deploy', folder), { code: 0 });
  t.equal(await output('said.team'), '2');
  const { json } = await simmer.request('/v1/functions/said.team');
  t.match(json, { spec: { minReplicas: 2 }, metadata: { name: 'said', namespace: 'team' } });
});

t.test('files may be uploaded as they are', async (t) => {
  const { folder } = project(t, 'asis', {
    'handler.js':
      "import { readFileSync } from 'node:fs'; import { x } from 'dep'; export default () => [readFileSync('page.html', 'utf8'), x];",
    'package.json': '{"type": "module"}',
    'page.html': '<p>',
    'node_modules/dep/index.js': 'exports.x = 1;',
    '.env': 'SECRET=1',
  });
  t.match(await run('deploy', folder, '--no-bundle'), { code: 0, out: /^asis serves/ });
  t.same(await output('asis'), ['<p>', 1]);
});

t.test('what cannot be deployed is told, and what was there goes on', async (t) => {
  const { folder, write } = project(t, 'good', { 'handler.js': 'export default () => 1;' });
  t.match(await run('deploy', folder), { code: 0 });
  const BAD: [Record<string, string>, readonly string[], number, RegExp][] = [
    [{ 'handler.js': 'export default (' }, [], 2, /does not build:\n {2}handler\.js:1:16: /],
    [
      { 'handler.js': "import './no.js';" },
      [],
      2,
      /handler\.js:1:7: Could not resolve "\.\/no\.js"/,
    ],
    [{ 'handler.js': "require('./a.node');", 'a.node': '' }, [], 2, /a\.node is a native addon/],
    [{ 'handler.js': "require('bindings')('a');" }, [], 2, /by bindings is a native addon/],
    [{ 'handler.js': '' }, ['--no-bundle'], 2, /a\.node is a native addon, which needs an image/],
    [{ 'handler.js': 'throw new Error("at load");' }, [], 2, /function_not_ready: .*at load/],
    [{ 'handler.js': 'export default 1;', 'simmer.yaml': 'spec: [' }, [], 2, /simmer\.yaml: /],
    [{ 'simmer.yaml': 'kind: WarmPool' }, [], 2, /no manifest of one Function/],
    [{ 'simmer.yaml': 'spec: {handler: no.js}' }, [], 3, /has no no\.js/],
    [{ 'simmer.yaml': 'spec: {concurrency: 0}' }, [], 2, /invalid_manifest: spec\.concurrency/],
    [{}, ['--name', 'No'], 2, /"No" is no function name/],
  ];
  for (const [files, args, code, says] of BAD) {
    for (const [path, text] of Object.entries(files)) write(path, text);
    const ended = await run('deploy', folder, ...args);
    t.match(ended, { code, out: '', err: says }, `${says}: ${ended.err}`);
    t.equal(await output('good'), 1);
  }
  const looping = project(t, 'looping', { 'handler.js': '', 'lib/a.js': '' });
  symlinkSync('..', join(looping.folder, 'lib/loop'));
  t.match(await run('deploy', looping.folder, '--no-bundle'), { code: 2, err: /that it lies in/ });
  t.match(await run('deploy', join(folder, 'none')), { code: 3, err: /is no folder/ });
  const empty = project(t, 'empty', { 'readme.md': '' });
  t.match(await run('deploy', empty.folder), { code: 3, err: /has no handler: looked for/ });
  t.match(await cli(['deploy', empty.folder.replace('empty', '')]), { code: 3 });
});

t.test('an example with a native addon needs its image', async (t) => {
  const example = new URL('../../examples/image-resize', import.meta.url).pathname;
  t.match(await run('deploy', example), {
    code: 2,
    err: /sharp has a native addon, which needs an/,
  });
  const without = await run('deploy', example, '--external', 'sharp');
  t.match(without, { code: 2, err: /function_not_ready: .*sharp/ }, 'its handler does not');
  const other = new URL('../../examples/word-stats', import.meta.url).pathname;
  t.match(await run('deploy', other), { code: 0, out: /^word-stats serves/ });
  t.match(await output('word-stats', 'to be or not to be'), { words: 6 });
});

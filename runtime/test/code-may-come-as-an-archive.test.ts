import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { packArchive } from '@simmer/protocol/archive';
import { RUNTIME_ENV } from '@simmer/protocol/runtime-environment';
import t, { type Test } from 'tap';
import { Stage } from './fake-control-plane.ts';

const packed = (files: Readonly<Record<string, string>>) =>
  packArchive(
    Object.entries(files).map(([path, text]) => ({
      ...{ path, bytes: Buffer.from(text) },
      executable: path.startsWith('bin/'),
    })),
  );

function scratchOf(t: Test): string {
  const scratch = mkdtempSync(join(tmpdir(), 'simmer-scratch-'));
  t.teardown(() => rmSync(scratch, { recursive: true, force: true }));
  return scratch;
}

const HANDLER = `
  import { readFileSync, statSync } from 'node:fs';
  import { greet } from 'greeting';
  import { name } from './lib/name.ts';
  export default () => ({
    text: greet(name), cwd: process.cwd(), url: import.meta.url, data: readFileSync('data.txt').length,
    modes: ['.', 'data.txt', 'bin/run'].map((path) => (statSync(path).mode & 0o777).toString(8)),
  });`;
const FILES = {
  'src/index.mjs': HANDLER.replace('./lib', '../lib'),
  'lib/name.ts': 'export const name: string = "you";',
  'node_modules/greeting/package.json': '{"main": "main.js"}',
  'node_modules/greeting/main.js': 'exports.greet = (name) => "hello " + name;',
  'data.txt': 'data '.repeat(50_000),
  'bin/run': '#!/bin/sh\n',
};

t.test('it is unpacked for its pod alone, loaded from there, and gone with it', async (t) => {
  const scratch = join(scratchOf(t), 'of', 'pod-1');
  const stage = await Stage.open(t);
  const pod = stage.startEmpty({ [RUNTIME_ENV.scratch]: scratch });
  const link = await stage.plane.accept();
  await link.welcome();
  const digest = link.specialize(await packed(FILES), { entry: 'src/index.mjs' }, 1_000);
  t.match(await link.expect('ready'), { digest });
  const output = (await link.output(link.call({}))) as Record<string, string>;
  const [folder] = readdirSync(scratch);
  t.match(folder, /^simmer-code-/);
  t.match(output, {
    text: 'hello you',
    data: FILES['data.txt'].length,
    modes: ['700', '600', '700'],
  });
  t.match(output['cwd'], join(scratch, folder as string));
  t.match(output['url'], `/${folder}/src/index.mjs`);
  link.send({ kind: 'drain', graceMs: 1_000 });
  t.match(await pod.exited, { code: 0 });
  t.strictSame(readdirSync(scratch), []);
});

t.test('by default below the folder for temporary files', async (t) => {
  const scratch = scratchOf(t);
  const stage = await Stage.open(t);
  stage.startEmpty({ TMPDIR: scratch });
  const link = await stage.plane.accept();
  await link.welcome();
  link.specialize(await packed({ 'handler.js': 'module.exports = () => __dirname;' }));
  await link.expect('ready');
  t.match(await link.output(link.call({})), `${scratch}/simmer-code-`);
});

t.test('an archive that cannot be used ends its pod, and leaves nothing', async (t) => {
  const good = await packed({ 'handler.js': 'exports.default = () => 1;' });
  const BAD: [Uint8Array, string, RegExp][] = [
    [good, 'index.js', /its archive cannot be used: it holds no index\.js/],
    [good, '../handler.js', /leads out/],
    [good.subarray(0, 60), 'handler.js', /its archive cannot be used: its gzip is broken/],
    [gzipSync('x'.repeat(600)), 'handler.js', /its tar is broken/],
    [await packed({ 'a.node': '', 'handler.js': '' }), 'handler.js', /native addon, .* an image/],
    [await packed({ 'handler.js': 'throw new Error("at load")' }), 'handler.js', /at load/],
  ];
  for (const [bytes, entry, says] of BAD) {
    const scratch = scratchOf(t);
    const stage = await Stage.open(t);
    const pod = stage.startEmpty({ [RUNTIME_ENV.scratch]: scratch });
    const link = await stage.plane.accept();
    await link.welcome();
    link.specialize(bytes, { entry });
    t.match(await link.expect('failed'), { code: 'handler_not_loaded', message: says });
    t.match(await pod.exited, { code: 1 });
    t.strictSame(readdirSync(scratch), [], `${says}`);
  }
});

t.test('where nothing can be written, that is said', async (t) => {
  const stage = await Stage.open(t);
  const pod = stage.startEmpty({ [RUNTIME_ENV.scratch]: '/dev/null/simmer' });
  const link = await stage.plane.accept();
  await link.welcome();
  link.specialize(await packed({ 'handler.js': '' }));
  const says = /cannot be unpacked \(.*\/dev\/null.*\): that needs a \/tmp .* in an image/;
  t.match(await link.expect('failed'), { message: says });
  t.match(await pod.exited, { code: 1 });
});

t.test('bytes of another digest are not unpacked', async (t) => {
  const scratch = scratchOf(t);
  const stage = await Stage.open(t);
  stage.startEmpty({ [RUNTIME_ENV.scratch]: join(scratch, 'none') });
  const link = await stage.plane.accept();
  await link.welcome();
  link.specialize(await packed({ 'handler.js': '' }), { digest: `sha256:${'0'.repeat(64)}` });
  t.match(await link.expect('failed'), { message: /its code is not sha256:0+/ });
  t.notOk(existsSync(join(scratch, 'none')));
});

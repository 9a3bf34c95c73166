import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CLOSE } from '@simmer/protocol/frames';
import t from 'tap';
import { Stage } from './fake-control-plane.ts';

const LANGUAGES = [
  ['handler.js', 'export default (input) => input + 1;'],
  ['handler.js', 'module.exports = (input) => input + 1;'],
  ['handler.js', 'const one = await 1; export default (input) => input + one;'],
  ['handler.mjs', "import { join } from 'node:path'; export default (i) => join ? i + 1 : 0;"],
  ['handler.cjs', "const { join } = require('node:path'); exports.default = (i) => join && i + 1;"],
  ['handler.ts', 'export default (input: number): number => input + 1;'],
  ['src/deep.mts', 'type N = number; export default (input: N): N => input + 1;'],
] as const;

for (const [entry, source] of LANGUAGES) {
  t.test(`${entry}: ${source}`, async (t) => {
    const stage = await Stage.open(t);
    stage.startEmpty();
    const link = await stage.plane.accept();
    await link.welcome();
    const digest = link.specialize(source, { entry }, 7);
    t.match(await link.expect('ready'), { digest });
    t.equal(await link.output(link.call({ input: 41 })), 42);
  });
}

t.test('it is loaded as if it stood in the working directory', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'simmer-source-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'node_modules', 'greeting'), { recursive: true });
  writeFileSync(join(folder, 'node_modules/greeting/index.js'), 'exports.text = "hello";');
  writeFileSync(join(folder, 'beside.mjs'), 'export const name = "you";');
  const stage = await Stage.open(t);
  stage.startEmpty({}, folder);
  const link = await stage.plane.accept();
  await link.welcome();
  link.specialize(`
    import { text } from 'greeting';
    import { name } from './beside.mjs';
    export default async () => [text, name, (await import('./beside.mjs')).name, import.meta.url];`);
  await link.expect('ready');
  t.match(await link.output(link.call({})), ['hello', 'you', 'you', /\/handler\.js$/]);
});

t.test('environment, secrets and capacity come with it', async (t) => {
  const stage = await Stage.open(t);
  stage.startEmpty();
  const link = await stage.plane.accept();
  t.match(await link.welcome(), { capacity: 1 });
  link.specialize(
    `const atLoad = [process.env.A, process.env.B];
     let waiting = [];
     export default () => new Promise((resolve) => {
       waiting.push(() => resolve(atLoad));
       if (waiting.length === 2) for (const go of waiting) go();
     });`,
    {
      env: [['A', '1']],
      secrets: [['B', '2']],
      limits: [
        ['memoryBytes', '4000000000'],
        ['capacity', '2'],
      ],
    },
  );
  await link.expect('ready');
  const streams = [link.call({}), link.call({})];
  for (const stream of streams) t.same(await link.output(stream), ['1', '2']);
});

t.test('a pod that reconnects has its code already', async (t) => {
  const stage = await Stage.open(t);
  stage.startEmpty();
  const source = 'let calls = 0; export default () => ++calls;';
  const first = await stage.plane.accept();
  await first.welcome();
  const digest = first.specialize(source);
  await first.expect('ready');
  t.equal(await first.output(first.call({})), 1);
  first.ws.terminate();

  const second = await stage.plane.accept();
  t.match(await second.welcome(), { credential: 'session-2' }, 'with the newest session');
  t.match(await second.expect('ready'), { digest }, 'it says so by itself');
  second.specialize(source);
  t.equal(await second.output(second.call({})), 2, 'being told again changes nothing');
});

t.test('a socket lost in the middle of the code: it comes whole on the next', async (t) => {
  const stage = await Stage.open(t);
  stage.startEmpty();
  const source = 'export default () => "whole";';
  const first = await stage.plane.accept();
  await first.welcome();
  const bytes = Buffer.from('export');
  first.specialize('', { digest: 'sha256:1' });
  first.send({ kind: 'code', digest: 'sha256:1', offset: 0, bytes, end: false });
  first.send({ kind: 'ping', nonce: 7 });
  await first.expect('pong');
  first.ws.terminate();
  const second = await stage.plane.accept();
  await second.welcome();
  second.specialize(source);
  await second.expect('ready');
  t.equal(await second.output(second.call({})), 'whole');
});

t.test('code that does not load, or is not what was announced', async (t) => {
  const BAD: [string, string, RegExp][] = [
    ['export default (', 'handler.js', /SyntaxError/],
    ['throw new Error("at load");', 'handler.mjs', /at load/],
    ['export const nothing = 1;', 'handler.js', /exports no handler/],
    ['export default 1;', 'handler.py', /must end in \.js/],
    ['export default 1;', '../handler.js', /outside the working directory/],
  ];
  for (const [source, entry, says] of BAD) {
    const stage = await Stage.open(t);
    const pod = stage.startEmpty();
    const link = await stage.plane.accept();
    await link.welcome();
    link.specialize(source, { entry });
    t.match(await link.expect('failed'), { code: 'handler_not_loaded', message: says });
    t.match(await pod.exited, { code: 1 });
    t.match(pod.stderr, says);
  }
  const stage = await Stage.open(t);
  stage.startEmpty();
  const link = await stage.plane.accept();
  await link.welcome();
  link.specialize('export default () => 1;', { digest: `sha256:${'0'.repeat(64)}` });
  t.match(await link.expect('failed'), { message: /its code is not sha256:0+/ });
});

t.test('frames that do not fit', async (t) => {
  const piece = {
    kind: 'code',
    digest: 'd',
    offset: 0,
    bytes: Buffer.from('x'),
    end: false,
  } as const;
  const MISFITS: ((link: Awaited<ReturnType<typeof accepted>>) => void)[] = [
    (link) => link.send(piece),
    (link) => link.specialize('', { function: 'default/other' }),
    (link) => {
      link.specialize('', { digest: 'd' });
      link.send({ ...piece, digest: 'e' });
    },
    (link) => {
      link.specialize('', { digest: 'd' });
      link.send({ ...piece, offset: 1 });
    },
    (link) => link.call({}),
  ];
  async function accepted(t: { teardown(fn: () => Promise<void>): void }) {
    const stage = await Stage.open(t);
    stage.startEmpty();
    const link = await stage.plane.accept();
    await link.welcome();
    return link;
  }
  for (const misfit of MISFITS) {
    const link = await accepted(t);
    misfit(link);
    t.match(await link.closed, { code: CLOSE.violation.code });
  }
  const stage = await Stage.open(t);
  const { link } = await stage.ready('export default () => 1;');
  link.specialize('export default () => 2;');
  t.match(await link.closed, { code: CLOSE.violation.code }, 'of a pod with a handler of its own');
});

t.test('told to drain before its code has come, it ends', async (t) => {
  const stage = await Stage.open(t);
  const pod = stage.startEmpty();
  const link = await stage.plane.accept();
  await link.welcome();
  link.send({ kind: 'drain', graceMs: 1_000 });
  t.match(await pod.exited, { code: 0 });
});

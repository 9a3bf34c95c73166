import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CLOSE } from '@simmer/protocol/frames';
import { RUNTIME_ENV } from '@simmer/protocol/runtime-environment';
import t, { type Test } from 'tap';
import { Stage } from './fake-control-plane.ts';

const GENERIC = { [RUNTIME_ENV.function]: 'default/pool.warm' };

async function setUp(t: Test, env: Record<string, string> = {}, folder?: string) {
  const stage = await Stage.open(t);
  const pod = stage.startEmpty({ ...GENERIC, ...env }, folder);
  return { stage, pod };
}

t.test('it takes name, environment, limits and schemas, and never another function', async (t) => {
  const { stage } = await setUp(t);
  const link = await stage.plane.accept();
  await link.welcome({ maxResultBytes: 1_000 });
  link.specialize(
    `export default (input, ctx) => input.big
       ? 'x'.repeat(input.big)
       : [ctx.function, process.env.A, process.env.SIMMER_FUNCTION, process.env.SIMMER_ADDRESS !== 'x'];`,
    {
      function: 'default/other',
      env: [
        ['A', '1'],
        ['SIMMER_ADDRESS', 'x'],
      ],
      limits: [['maxResultBytes', '100']],
      inputSchema: '{"type":"object"}',
    },
  );
  await link.expect('ready');
  t.same(await link.output(link.call({ input: {} })), [
    'default/other',
    '1',
    'default/other',
    true,
  ]);
  link.call({ input: 3 });
  t.match(await link.expect('result'), { code: 'invalid_input' });
  link.call({ input: { big: 500 } });
  t.match(await link.expect('result'), { outcome: 'too_large' });
  link.specialize('export default () => 2;', { function: 'default/third' });
  t.match(await link.closed, { code: CLOSE.violation.code });
});

t.test('over its memory it says so, and ends', async (t) => {
  const { stage, pod } = await setUp(t);
  const link = await stage.plane.accept();
  await link.welcome();
  link.specialize(
    `const held = [];
     export default () => new Promise(() => {
       setInterval(() => held.push(Buffer.alloc(20_000_000, 1)), 10);
     });`,
    { limits: [['memoryBytes', '300000000']] },
  );
  await link.expect('ready');
  link.call({});
  await link.expect('draining');
  t.match(await link.expect('result'), { code: 'memory_exceeded', message: /limit of 286 MiB/ });
  t.equal((await pod.exited).code, 1);
});

t.test('a limit that it is over already is told when it should load', async (t) => {
  const { stage } = await setUp(t);
  const link = await stage.plane.accept();
  await link.welcome();
  link.specialize('export default () => 1;', { limits: [['memoryBytes', '1000']] });
  t.match(await link.expect('failed'), { code: 'handler_not_loaded', message: /memory/ });
});

t.test('modules are loaded before it dials', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'simmer-preload-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'node_modules', 'early'), { recursive: true });
  const file = 'exports.at = Date.now(); exports.token = process.env.SIMMER_TOKEN;';
  writeFileSync(join(folder, 'node_modules/early/index.js'), file);
  const { stage } = await setUp(t, { [RUNTIME_ENV.preload]: 'early,node:os' }, folder);
  const link = await stage.plane.accept();
  const dialled = Date.now();
  await link.welcome();
  link.specialize(
    "import early from 'early'; export default () => [early.at, early.token ?? null];",
  );
  await link.expect('ready');
  const [at, token] = (await link.output(link.call({}))) as [number, string | null];
  t.ok(at <= dialled);
  t.equal(token, null, 'it does not see the token');
});

t.test('a module that does not load ends it, and is named', async (t) => {
  const { pod } = await setUp(t, { [RUNTIME_ENV.preload]: 'no-such-module' });
  const { code } = await pod.exited;
  t.equal(code, 1);
  t.match(pod.stderr, /the module no-such-module \(spec\.preload\) does not load/);
});

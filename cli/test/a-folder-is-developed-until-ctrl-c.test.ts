import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { eventually, Simmer } from '../../control-plane/test/server/simmer.ts';

const SIMMER = fileURLToPath(new URL('../../simmer', import.meta.url));

class Dev {
  readonly child;
  readonly exited: Promise<number | null>;
  out = '';
  err = '';

  constructor(t: Pick<Test, 'teardown'>, folder: string, url: string) {
    const { PATH = '' } = process.env;
    this.child = spawn(SIMMER, ['dev', folder], { env: { PATH, SIMMER_URL: url } });
    this.child.stdout.on('data', (data) => {
      this.out += data;
    });
    this.child.stderr.on('data', (data) => {
      this.err += data;
    });
    this.exited = new Promise((resolve) => this.child.on('close', resolve));
    t.teardown(() => this.child.kill('SIGKILL'));
  }

  says(what: RegExp): Promise<unknown> {
    return eventually(`it says ${what}: ${this.out}${this.err}`, () => what.test(this.out));
  }
}

function projectOf(t: Test, name: string, code: string) {
  const root = mkdtempSync(join(tmpdir(), 'simmer-dev-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const folder = join(root, name);
  mkdirSync(folder);
  const write = (path: string, text: string) => writeFileSync(join(folder, path), text);
  write('handler.js', code);
  return { folder, write };
}

const says = (text: string) =>
  `export default () => { console.log('${text}'); return '${text}'; };`;

t.test('each save is deployed, what calls print is shown, and Ctrl-C ends it well', async (t) => {
  const simmer = await Simmer.start(t, []);
  const url = `http://127.0.0.1:${simmer.port}`;
  const { folder, write } = projectOf(t, 'live', `import './side.js'; ${says('one')}`);
  write('side.js', '');
  const dev = new Dev(t, folder, url);
  const output = async () => (await simmer.invoke('live')).json.output;
  await dev.says(/^live serves \(.*\): http:.*\/fn\/live\n/);
  t.equal(await output(), 'one');
  await dev.says(/ succeeded in \d+ms\n.* info +one\n/);

  write('handler.js', `import './side.js'; ${says('two')}`);
  await eventually('the second serves', async () => (await output()) === 'two');
  await dev.says(/info +two\n/);

  write('side.js', 'throw new Error("not at load");');
  await dev.says(/function_not_ready: .*not at load/);
  t.equal(await output(), 'two', 'what was there goes on');
  write('side.js', 'const (');
  await dev.says(/does not build:\n {2}side\.js:1:6: /);
  write('side.js', '');
  await eventually('it serves again', () => dev.out.match(/live serves/g)?.length === 3);

  write('simmer.yaml', 'metadata: {name: live}\nspec: {minReplicas: 1, concurrency: 7}');
  await eventually('its manifest is applied', async () => {
    const { json } = await simmer.request('/v1/functions/live');
    return json.spec?.concurrency === 7;
  });
  dev.child.kill('SIGINT');
  t.equal(await dev.exited, 0);
  t.equal(dev.err, '');
});

t.test('a server that is not there ends it at once', async (t) => {
  const { folder } = projectOf(t, 'none', says('x'));
  const dev = new Dev(t, folder, 'http://127.0.0.1:9');
  t.equal(await dev.exited, 7);
  t.match(dev.err, /no answer from/);
});

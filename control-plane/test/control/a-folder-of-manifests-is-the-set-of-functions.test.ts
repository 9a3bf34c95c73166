import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { RegistrySnapshot } from '@simmer/protocol/registry';
import t, { type Test } from 'tap';
import { FolderRegistry, type FolderRegistryOptions } from '../../src/control/registry/folder.ts';
import { CONFIRM_REMOVAL_MS, type Given, merge } from '../../src/control/registry/merge.ts';
import { memoryLog, registered, until } from './fakes.ts';

const manifest = (name: string, spec: Record<string, unknown> = {}, more = '') =>
  `apiVersion: simmer.dev/v1alpha1
kind: Function
metadata: {name: ${name}}
spec: ${JSON.stringify({ handler: 'handler.js', ...spec })}
${more}`;

async function setUp(
  t: Test,
  files: Record<string, string>,
  options: Partial<FolderRegistryOptions> = {},
) {
  const parent = mkdtempSync(join(tmpdir(), 'simmer-functions-'));
  const root = join(parent, 'functions');
  mkdirSync(root);
  const write = (name: string, text: string) => {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  };
  write('handler.js', 'export default () => 1;\n');
  for (const [name, text] of Object.entries(files)) write(name, text);
  const { log, lines } = memoryLog();
  const registry = new FolderRegistry({ root, log, ...options });
  const snapshots: RegistrySnapshot[] = [];
  t.teardown(async () => {
    await registry.close();
    rmSync(parent, { recursive: true });
  });
  await registry.start((snapshot) => void snapshots.push(snapshot));
  const now = () => snapshots.at(-1) as RegistrySnapshot;
  const names = () => now().functions.map((f) => f.manifest.metadata.name);
  const find = (name: string) => now().functions.find((f) => f.manifest.metadata.name === name);
  const refusals = () =>
    now().refused.flatMap((r) => r.issues.map((i) => `${r.source} ${i.field}: ${i.reason}`));
  return { root, parent, write, registry, snapshots, lines, now, names, find, refusals };
}

t.test('every manifest below the folder is read: YAML, JSON, several in a file', async (t) => {
  const s = await setUp(t, {
    'a.yaml': `${manifest('a')}---\n${manifest('a2')}---\n`,
    'deep/er/b.yml': manifest('b', { handler: '../../handler.js' }),
    'c.json': JSON.stringify({
      apiVersion: 'simmer.dev/v1alpha1',
      kind: 'Function',
      metadata: { name: 'c', namespace: 'team' },
      spec: { handler: 'handler.js' },
    }),
    'package.json': '{"name": "not ours"}',
    'tsconfig.json': '{/* not even JSON */}',
    'notes.txt': 'kind: Function',
    'node_modules/x/d.yaml': manifest('d'),
    '.hidden/e.yaml': manifest('e'),
    'empty.yaml': '# nothing\n',
  });
  t.strictSame(
    s.now().functions.map((f) => f.key),
    ['default/a', 'default/a2', 'default/b', 'team/c'],
  );
  t.strictSame(s.now().refused, []);
  t.match(s.find('b'), {
    baseDir: join(s.root, 'deep/er'),
    manifest: { spec: { concurrency: 1 } },
  });
});

t.test(
  'what is wrong is refused with file, line, field and reason; the rest goes on',
  async (t) => {
    const s = await setUp(t, {
      'a.yaml': `${manifest('good')}---\n${manifest('bad', { concurrency: 0, colour: 'red' })}`,
      'b.yaml': manifest('good'),
      'c.yaml': 'kind: [',
      'd.yaml': 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n',
      'e.yaml': manifest('gone', { handler: 'missing.js' }),
      'f.yaml': manifest('outside', { handler: '../secret.js' }),
      'g.yaml': manifest('folder', { handler: 'sub' }),
      'h.yaml': 'kind: Function\n',
      'sub/x': '',
      'bomb.yaml': `a: &a [x,x]\nb: &b [${'*a,'.repeat(50)}]\nc: [${'*b,'.repeat(50)}]\n`,
    });
    t.strictSame(s.names(), ['good']);
    t.match(s.refusals(), [
      'a.yaml:6 spec: unknown field colour',
      'a.yaml:6 spec.concurrency: must be >= 1',
      'b.yaml:1 metadata.name: default/good is already given by a.yaml',
      /^bomb\.yaml:1 : cannot be read: /,
      /^c\.yaml:1 : is not YAML: .*\(line \d+, column \d+\)$/,
      'd.yaml:1 apiVersion: must be simmer.dev/v1alpha1',
      `e.yaml:1 spec.handler: there is no file ${join(s.root, 'missing.js')}`,
      `f.yaml:1 spec.handler: must lie within the folder of functions, ${s.root}`,
      `g.yaml:1 spec.handler: there is no file ${join(s.root, 'sub')}`,
      'h.yaml:1 apiVersion: must be simmer.dev/v1alpha1',
    ]);
  },
);

t.test('WarmPools are among them, as pools that nobody can call', async (t) => {
  const pool = (spec: string) =>
    `apiVersion: simmer.dev/v1alpha1\nkind: WarmPool\nmetadata: {name: p}\nspec: ${spec}\n`;
  const s = await setUp(t, {
    'p.yaml': pool('{minReplicas: 2}'),
    'q.yaml': pool('{minReplicas: -1}'),
  });
  t.match(s.now().functions, [
    { key: 'default/pool.p', manifest: { spec: { minReplicas: 2, keepAliveMs: 0 } } },
  ]);
  t.match(s.refusals(), ['q.yaml:1 spec.minReplicas: must be >= 0']);
});

t.test('changes are seen: written, renamed over, removed, in a new folder', async (t) => {
  const s = await setUp(t, { 'a.yaml': manifest('a') }, { pollMs: 3_600_000 });
  const { revision } = s.find('a') as { revision: string };
  s.write('new/b.yaml', manifest('b', { handler: '../handler.js' }));
  await until('b is there', () => s.names().includes('b'));
  s.write('.a.yaml.tmp', manifest('a', { maxReplicas: 77 }));
  renameSync(join(s.root, '.a.yaml.tmp'), join(s.root, 'a.yaml'));
  await until('a changed', () => s.find('a')?.manifest.spec.maxReplicas === 77);
  t.equal(s.find('a')?.revision, revision, 'pods need not know');
  s.write('a.yaml', manifest('a', { concurrency: 9 }));
  await until('a has a new revision', () => s.find('a')?.revision !== revision);
  rmSync(join(s.root, 'new'), { recursive: true });
  await until('b is gone', () => !s.names().includes('b'));
  t.strictSame(s.names(), ['a']);
});

t.test('the poll finds what no watch tells', async (t) => {
  const s = await setUp(t, { 'a.yaml': manifest('a') }, { pollMs: 50, pollShare: 1, watch: false });
  s.write('b.yaml', manifest('b'));
  await until('b is there', () => s.names().includes('b'));
  t.equal(s.snapshots.length, 2, 'and says nothing while nothing changes');
});

t.test("a handler's new code is a new revision, also while its manifest is broken", async (t) => {
  const s = await setUp(
    t,
    { 'a.yaml': manifest('a', { handler: '.build/a.js' }), '.build/a.js': '1' },
    { pollMs: 3_600_000 },
  );
  const first = s.find('a')?.revision;
  s.write('.build/a.js', '2');
  await until('a new revision', () => s.find('a')?.revision !== first);
  const second = s.find('a')?.revision;
  s.write('a.yaml', 'kind: [');
  await until('the manifest is refused', () => s.now().refused.length > 0);
  t.equal(s.find('a')?.revision, second);
  s.write('.build/a.js', '3');
  await until('another', () => s.find('a')?.revision !== second);
});

t.test('a broken manifest keeps what its file last said, and nothing else', async (t) => {
  const s = await setUp(t, {
    'a.yaml': `${manifest('a', { maxReplicas: 5 })}---\n${manifest('a2')}`,
    'b.yaml': manifest('b'),
  });
  const { a } = { a: s.find('a') };
  s.write(
    'a.yaml',
    `${manifest('a', { maxReplicas: 'many' })}---\n${manifest('a2', { maxReplicas: 8 })}`,
  );
  await until('it is refused', () => s.now().refused.length > 0);
  t.strictSame(s.find('a'), a);
  t.equal(s.find('a2')?.manifest.spec.maxReplicas, 8, 'the other document of the file applies');
  t.strictSame(s.refusals(), ['a.yaml:1 spec.maxReplicas: must be integer']);
  s.write('a.yaml', 'not: [yaml');
  rmSync(join(s.root, 'b.yaml'));
  await until('b is gone', () => !s.names().includes('b'));
  t.strictSame(s.names(), ['a', 'a2'], 'all of the broken file stays');
  rmSync(join(s.root, 'handler.js'));
  s.write('a.yaml', manifest('a'));
  await until('it is refused for its handler', () => /no file/.test(s.refusals()[0] ?? ''));
  t.strictSame(s.find('a'), a, 'a handler that is away for a moment');
  s.write('handler.js', 'new');
  await until('it is whole again', () => s.now().refused.length === 0);
  await until('a2 is gone', () => !s.names().includes('a2'));
  t.strictSame(s.names(), ['a']);
});

t.test('a folder that vanishes takes no function away', async (t) => {
  const s = await setUp(t, { 'a.yaml': manifest('a') }, { pollMs: 30, pollShare: 1 });
  const elsewhere = join(s.parent, 'elsewhere');
  renameSync(s.root, elsewhere);
  await until('the error is logged', () => s.lines.some((l) => l.level === 'error'));
  t.match(s.lines, [{ message: /cannot read the folder of functions, which stay as they were/ }]);
  t.strictSame(s.names(), ['a']);
  renameSync(elsewhere, s.root);
  s.write('b.yaml', manifest('b'));
  await until('b is there', () => s.names().includes('b'));
  t.strictSame(s.names(), ['a', 'b']);
  t.equal(s.snapshots.length, 2);
});

t.test('a folder that is not there stops the start', async (t) => {
  const { log } = memoryLog();
  const registry = new FolderRegistry({ root: join(tmpdir(), 'simmer-no-such-folder'), log });
  await t.rejects(
    registry.start(() => {}),
    /ENOENT/,
  );
  await registry.close();
});

t.test('a mounted ConfigMap, all symbolic links, is read once', async (t) => {
  const s = await setUp(t, { '..2024/a.yaml': manifest('a', { handler: 'handler.js' }) });
  symlinkSync('..2024', join(s.root, '..data'));
  symlinkSync('..data/a.yaml', join(s.root, 'a.yaml'));
  await until('a is there', () => s.names().includes('a'));
  t.strictSame(s.refusals(), []);
});

t.test('a removal is believed when it lasts', async (t) => {
  const given = (name: string, file = `${name}.yaml`): Given => ({
    registered: registered(name),
    file,
    source: `${file}:1`,
  });
  const whole = () => false;
  const first = merge(new Map(), [given('a'), given('b')], whole, 0);
  const missing = merge(first.entries, [given('b')], whole, 10);
  t.strictSame([...missing.entries.keys()].sort(), ['default/a', 'default/b']);
  t.equal(missing.removalPending, true);
  const still = merge(missing.entries, [given('b')], whole, 10 + CONFIRM_REMOVAL_MS - 1);
  t.strictSame([still.entries.size, still.removalPending], [2, true]);
  const back = merge(still.entries, [given('a'), given('b')], whole, 1_000);
  t.strictSame([back.entries.size, back.removalPending], [2, false]);
  const gone = merge(still.entries, [given('b')], whole, 10 + CONFIRM_REMOVAL_MS);
  t.strictSame([[...gone.entries.keys()], gone.removalPending], [['default/b'], false]);

  const moved = merge(first.entries, [given('b'), given('a', 'elsewhere.yaml')], whole, 10);
  t.equal(moved.removalPending, false, 'a file that was renamed');
});

t.test(
  'while the first of two files is broken, the second does not take its function over',
  async (t) => {
    const of = (file: string): Given => ({
      registered: registered('x', {}, file),
      file,
      source: file,
    });
    const first = merge(new Map(), [of('a'), of('b')], () => false, 0);
    const broken = merge(first.entries, [of('b')], (f) => f === 'a', 10);
    t.match(broken.entries.get('default/x'), { file: 'a', kept: true });
    t.equal(broken.refused.length, 1);
  },
);

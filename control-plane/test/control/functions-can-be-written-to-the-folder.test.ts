import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { RegistrySnapshot } from '@simmer/protocol/registry';
import t, { type Test } from 'tap';
import { parse, stringify } from 'yaml';
import { FolderRegistry } from '../../src/control/registry/folder.ts';
import { memoryLog, until } from './fakes.ts';
import { registryWriteContract, writeOf } from './registry-write-contract.ts';

async function setUp(t: Test, files: Record<string, string> = {}, prepare = (_root: string) => {}) {
  const root = mkdtempSync(join(tmpdir(), 'simmer-functions-'));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  prepare(root);
  const bundles = new Map<string, Uint8Array>();
  const registry = new FolderRegistry({
    root,
    log: memoryLog().log,
    bundles: { get: (digest) => bundles.get(digest), prepare: async () => false },
  });
  t.teardown(async () => {
    await registry.close();
    chmodSync(root, 0o755);
    rmSync(root, { recursive: true });
  });
  const snapshots: RegistrySnapshot[] = [];
  await registry.start((snapshot) => void snapshots.push(snapshot));
  const last = () => snapshots.at(-1) as RegistrySnapshot;
  const names = () => last().functions.map((f) => f.key);
  const text = (name: string) => readFileSync(join(root, name), 'utf8');
  return { root, registry, snapshots, last, names, text, bundles, namespace: 'default' };
}

const yes = () => true;
const inline = (text: string) => ({ source: { inline: text } });
const manifest = (name: string, more = '') =>
  `apiVersion: simmer.dev/v1alpha1\nkind: Function\nmetadata: {name: ${name}}\nspec: {handler: h.js}\n${more}`;

/** A user that owns nothing, on every system. */
const NOBODY = 65_534;

t.test('the contract of writes', (t) => registryWriteContract(t, (t) => setUp(t)));

t.test('a new one gets a file of its own, which holds what was given', async (t) => {
  const { root, registry, text } = await setUp(t);
  const written = await registry.put(writeOf('team', 'a', inline('export default () => 1;\n')));
  t.equal(written.taken(), true, 'it is in force when it is answered');
  t.strictSame(readdirSync(root), ['a.team.yaml'], 'and nothing else is left');
  t.match(text('a.team.yaml'), 'inline: |\n', 'code can be read');
  t.strictSame(parse(text('a.team.yaml')).spec, inline('export default () => 1;\n'));
});

t.test('the listener hears of a write once, though the folder is watched as well', async (t) => {
  const { root, registry, snapshots, names } = await setUp(t);
  await registry.put(writeOf('default', 'a', inline('1')));
  await registry.put(writeOf('default', 'a', inline('2')));
  await registry.remove('default/a', yes);
  t.equal(snapshots.length, 4, 'the first is of what was there');
  // What the watch tells of them is looked at before this is, or with it.
  writeFileSync(join(root, 'later.yaml'), stringify(writeOf('default', 'b', inline('1')).document));
  await until('another is seen', () => names().includes('default/b'));
  t.equal(snapshots.length, 5);
});

t.test("a user's own file is replaced in place where it holds just this one", async (t) => {
  const { root, registry, names, text } = await setUp(t, {
    'h.js': '',
    'sub/mine.yml': manifest('mine'),
    'sub/h.js': '',
    'data.json': JSON.stringify(parse(manifest('data'))),
    'two.yaml': `${manifest('one')}---\n${manifest('two')}`,
    'broken.yaml': `${manifest('kept')}---\nkind: [\n`,
    'x.default.yaml': manifest('y'),
  });
  await registry.put(writeOf('default', 'mine', { handler: 'h.js', maxReplicas: 7 }));
  t.match(parse(text('sub/mine.yml')), { spec: { handler: 'h.js', maxReplicas: 7 } });
  await registry.put(writeOf('default', 'data', { handler: 'h.js', maxReplicas: 8 }));
  t.match(JSON.parse(text('data.json')), { spec: { maxReplicas: 8 } });
  const before = text('two.yaml');
  const refused = (message: string | RegExp) => ({ code: 'manifest_not_writable', message });
  const more = refused('two.yaml holds more than default/two: change it there.');
  await t.rejects(registry.put(writeOf('default', 'two', { handler: 'h.js' })), more);
  await t.rejects(registry.remove('default/two', yes), more);
  t.equal(text('two.yaml'), before);
  await t.rejects(registry.put(writeOf('default', 'kept', inline('1'))), refused(/broken\.yaml/));
  await t.rejects(
    registry.put(writeOf('default', 'x', inline('1'))),
    refused(/^x\.default\.yaml is there already, and gives something else/),
  );
  t.equal(await registry.remove('default/mine', yes), true);
  t.notOk(existsSync(join(root, 'sub/mine.yml')));
  t.notOk(names().includes('default/mine'), 'gone when it is answered');
});

t.test('what two files give, or a link, is not written', async (t) => {
  const { registry } = await setUp(
    t,
    { 'h.js': '', 'a.yaml': manifest('a'), 'b.yaml': manifest('a'), '.real/l.yaml': manifest('l') },
    (root) => symlinkSync(join(root, '.real/l.yaml'), join(root, 'l.yaml')),
  );
  await t.rejects(registry.remove('default/a', yes), { message: /^b\.yaml gives default\/a/ });
  await t.rejects(registry.remove('default/l', yes), { message: /^l\.yaml is no plain file/ });
});

t.test(
  'a handler that is no file of the folder is refused before anything is written',
  async (t) => {
    const { root, registry } = await setUp(t);
    for (const handler of ['missing.js', '../../etc/passwd', '/etc/passwd']) {
      await t.rejects(registry.put(writeOf('default', 'a', { handler })), {
        code: 'invalid_manifest',
        issues: [{ field: 'spec.handler' }],
      });
    }
    t.strictSame(readdirSync(root), []);
  },
);

t.test('a folder that is read-only says so', async (t) => {
  const { root, registry } = await setUp(t, { 'h.js': '', 'a.yaml': manifest('a') });
  chmodSync(root, 0o555);
  // Root may write everywhere: it is somebody else for as long.
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) {
    chownSync(root, NOBODY, NOBODY);
    process.seteuid?.(NOBODY);
  }
  try {
    const readOnly = { code: 'registry_read_only' };
    await t.rejects(registry.put(writeOf('default', 'b', inline('1'))), readOnly);
    await t.rejects(registry.put(writeOf('default', 'a', { handler: 'h.js' })), readOnly);
    await t.rejects(registry.remove('default/a', yes), readOnly);
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
});

t.test('what a write that was cut off left is no manifest, and is tidied up later', async (t) => {
  const [old, young] = ['.simmer-00000000000000aa.tmp', '.simmer-00000000000000bb.tmp'];
  const half = 'apiVersion: simmer.dev/v1alpha1\nkind: Fun';
  const { root, names, last } = await setUp(
    t,
    { 'h.js': '', 'a.yaml': manifest('a'), [old]: half, [young]: half },
    (root) => utimesSync(join(root, old), 1, 1),
  );
  t.strictSame(names(), ['default/a']);
  t.strictSame(last().refused, []);
  t.notOk(existsSync(join(root, old)));
  t.ok(existsSync(join(root, young)), 'another process may be at it');
});

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { readArchive } from '@simmer/protocol/archive';
import type { FunctionSource, RegistrySnapshot } from '@simmer/protocol/registry';
import t, { type Test } from 'tap';
import { FolderRegistry } from '../../src/control/registry/folder.ts';
import { memoryLog, until } from './fakes.ts';

const MANIFEST = (spec: object) =>
  JSON.stringify({
    apiVersion: 'simmer.dev/v1alpha1',
    kind: 'Function',
    metadata: { name: 'f' },
    spec,
  });

async function setUp(t: Test, files: Record<string, string>, maxBundleBytes = 1_048_576) {
  const root = mkdtempSync(join(tmpdir(), 'simmer-functions-'));
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  for (const [path, text] of Object.entries(files)) write(path, text);
  const registry = new FolderRegistry({ root, log: memoryLog().log, maxBundleBytes });
  t.teardown(async () => {
    await registry.close();
    rmSync(root, { recursive: true });
  });
  const snapshots: RegistrySnapshot[] = [];
  const start = () => registry.start((snapshot) => void snapshots.push(snapshot));
  const last = () => snapshots.at(-1) as RegistrySnapshot;
  return { root, write, start, last, snapshots, registry };
}

async function filesOf(source: FunctionSource | undefined): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  await readArchive([source?.bytes ?? new Uint8Array()], async ({ path }, chunks) => {
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks) parts.push(chunk);
    files[path] = Buffer.concat(parts).toString();
  });
  return files;
}

const CODE = {
  'f.json': MANIFEST({ source: { folder: 'f' }, handler: 'src/main.mjs' }),
  'f/src/main.mjs': "export { x as default } from 'dep';",
  'f/node_modules/dep/index.js': 'exports.x = () => 1;',
  'f/data.txt': 'data',
  'f/.env': 'SECRET=1',
};

t.test('its files are packed with their dependencies, and again when one changes', async (t) => {
  const { root, write, start, last, snapshots, registry } = await setUp(t, CODE);
  mkdirSync(join(root, 'shared'));
  writeFileSync(join(root, 'shared/lib.mjs'), 'export const lib = 1;');
  symlinkSync(join(root, 'shared'), join(root, 'f/linked'));
  await start();
  const [f] = last().functions;
  t.match(f?.source, { entry: 'src/main.mjs', digest: /^[0-9a-f]{64}$/ });
  t.strictSame(await filesOf(f?.source), {
    'src/main.mjs': CODE['f/src/main.mjs'],
    'node_modules/dep/index.js': CODE['f/node_modules/dep/index.js'],
    'data.txt': 'data',
    'linked/lib.mjs': 'export const lib = 1;',
  });

  await registry.lookAgain('default/f');
  t.equal(snapshots.length, 1, 'a look at what has not changed tells nothing');
  write('f/data.txt', 'other');
  await until('the change is seen', () => last().functions[0]?.revision !== f?.revision);
  t.match(await filesOf(last().functions[0]?.source), { 'data.txt': 'other' });

  rmSync(join(root, 'f/src/main.mjs'));
  await until('it is refused', () => last().refused.length > 0);
  t.match(last().refused, [
    { issues: [{ field: 'spec.source.folder', reason: /holds no src\/main\.mjs/ }] },
  ]);
  t.equal(last().functions.length, 1, 'what it was goes on');
});

t.test('what is no code is told', async (t) => {
  const inFolder = (files: Record<string, string>, folder = 'f') => ({
    'f.json': MANIFEST({ source: { folder } }),
    ...files,
  });
  const BAD: [Record<string, string>, RegExp][] = [
    [inFolder({}, '../..'), /must lie within the folder of functions/],
    [inFolder({}, 'nowhere'), /ENOENT/],
    [inFolder({ 'f/data.txt': '' }), /it has no module/],
    [inFolder({ 'f/index.js': '' }), /it holds no handler\.js.*for example index\.js/],
    [inFolder({ 'f/handler.js': '', 'f/build/a.node': '' }), /a\.node is a native addon/],
  ];
  for (const [files, reason] of BAD) {
    const { start, last } = await setUp(t, files);
    await start();
    t.match(last().refused, [{ issues: [{ field: 'spec.source.folder', reason }] }], `${reason}`);
  }
  const loop = await setUp(t, inFolder({ 'f/handler.js': '' }));
  symlinkSync('..', join(loop.root, 'f/loop'));
  await loop.start();
  t.match(loop.last().refused, [
    { issues: [{ reason: /loop.* is a link to a folder that it lies in/ }] },
  ]);
  const noise = Array.from({ length: 500 }, (_, i) => `${Math.sin(i)}`).join('');
  const large = inFolder({ 'f/handler.js': `//${noise}` });
  const { start, last } = await setUp(t, large, 1_024);
  await start();
  t.match(last().refused, [{ issues: [{ reason: /over max-bundle-bytes: 1024/ }] }]);
});

/** Functions of a folder whose handler is no file of it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RegistrySnapshot } from '@simmer/protocol/registry';
import t, { type Test } from 'tap';
import { nodeRuntime, ProcessBackend } from '../../src/control/backends/process.ts';
import { FolderRegistry } from '../../src/control/registry/folder.ts';
import { requestFor } from './backend-contract.ts';
import { manifestOf, memoryLog } from './fakes.ts';

async function read(t: Test, spec: object, isLocal = true): Promise<RegistrySnapshot> {
  const root = mkdtempSync(join(tmpdir(), 'simmer-functions-'));
  const manifest = {
    apiVersion: 'simmer.dev/v1alpha1',
    kind: 'Function',
    metadata: { name: 'f' },
    spec,
  };
  writeFileSync(join(root, 'f.yaml'), JSON.stringify(manifest));
  const registry = new FolderRegistry({ root, log: memoryLog().log, isLocal: () => isLocal });
  t.teardown(async () => {
    await registry.close();
    rmSync(root, { recursive: true });
  });
  const snapshots: RegistrySnapshot[] = [];
  await registry.start((snapshot) => void snapshots.push(snapshot));
  return snapshots.at(-1) as RegistrySnapshot;
}

t.test('inline code is the function’s source, and a change of it another revision', async (t) => {
  const inline = 'export default () => 1;';
  const { functions } = await read(t, { source: { inline }, handler: 'f.mjs' });
  const [f] = functions;
  t.equal(f?.source?.entry, 'f.mjs');
  t.equal(Buffer.from(f?.source?.bytes ?? []).toString(), inline);
  t.match(f?.source?.digest, /^[0-9a-f]{64}$/);
  const other = await read(t, { source: { inline: `${inline} ` }, handler: 'f.mjs' });
  t.not(other.functions[0]?.revision, f?.revision);
});

t.test('a ConfigMap cannot be read from a folder', async (t) => {
  const { functions, refused } = await read(t, { source: { configMap: { name: 'c', key: 'k' } } });
  t.strictSame(functions, []);
  t.match(refused, [{ issues: [{ field: 'spec.source.configMap', reason: /Kubernetes API/ }] }]);
});

t.test('a handler in an image need not be a file here; any other must', async (t) => {
  const spec = { handler: 'in-the-image.js', image: 'example/f:1' };
  t.equal((await read(t, spec, false)).functions.length, 1);
  t.match((await read(t, spec, true)).refused, [{ issues: [{ field: 'spec.handler' }] }]);
});

t.test('the process backend refuses what only a cluster can give', async (t) => {
  const backend = new ProcessBackend({
    command: nodeRuntime(),
    environment: {},
    onLine: () => {},
  });
  t.teardown(() => backend.close());
  const { spec } = manifestOf('f', {
    env: [{ name: 'PASSWORD', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }],
  });
  await t.rejects(backend.launch(requestFor('f', tmpdir(), { spec })), {
    code: 'launch_failed',
    message: /env PASSWORD: valueFrom needs the kubernetes backend/,
  });
});

import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addApiKey, newApiKeyFile, textOfApiKeyFile } from '@simmer/protocol/api-keys';
import t from 'tap';
import { apiKeyFiles } from '../../src/control/access/api-key-files.ts';
import { ApiKeys } from '../../src/control/access/api-keys.ts';
import { createLog } from '../../src/control/log.ts';
import type { ApiKeysMessage } from '../../src/shared/messages.ts';
import { eventually } from '../server/simmer.ts';

function setUp(t: { teardown(f: () => void): void }) {
  const folder = mkdtempSync(join(tmpdir(), 'simmer-keys-'));
  const lines: string[] = [];
  const log = createLog('info', { write: (line) => lines.push(line) });
  const sent: ApiKeysMessage[] = [];
  const keys = new ApiKeys((message) => sent.push(message));
  const files = apiKeyFiles({ path: folder, log, pollMs: 5 }, (all) => keys.set(all));
  t.teardown(async () => {
    await files.close();
    rmSync(folder, { recursive: true });
  });
  const start = () => files.start();
  return { folder, lines, sent, start, keys };
}

/** As the kubelet writes a Secret: a folder of a new name, then the link to it is replaced. */
function mount(folder: string, version: string, content: Record<string, string>): void {
  mkdirSync(join(folder, `..${version}`));
  for (const [name, text] of Object.entries(content)) {
    writeFileSync(join(folder, `..${version}`, name), text);
  }
  symlinkSync(`..${version}`, join(folder, '..data_tmp'));
  renameSync(join(folder, '..data_tmp'), join(folder, '..data'));
}

const one = (scopes: ('invoke' | 'read')[] = ['invoke']) => addApiKey(newApiKeyFile(), { scopes });

t.test('a swap of its files is one change; of two files each has its own pepper', async (t) => {
  const { folder, sent, start, keys } = setUp(t);
  const [a, b, c] = [one(), one(['read']), one()];
  mount(folder, '1', { 'a.json': textOfApiKeyFile(a.file), 'b.yaml': textOfApiKeyFile(b.file) });
  symlinkSync('..data/a.json', join(folder, 'a.json'));
  symlinkSync('..data/b.yaml', join(folder, 'b.yaml'));
  await start();
  t.match(keys.find(a.key, 0), { id: `key:${a.entry.id}`, scopes: ['invoke'] });
  t.match(keys.find(b.key, 0), { scopes: ['read'] });
  sent.splice(0);
  mount(folder, '2', { 'a.json': textOfApiKeyFile(a.file), 'b.yaml': textOfApiKeyFile(c.file) });
  await eventually('the change is seen', () => keys.find(c.key, 0));
  t.equal(keys.find(b.key, 0), undefined);
  t.ok(keys.find(a.key, 0));
  const told = sent.flatMap((m) => [m.remove, m.upsert.map((k) => k.id)]);
  t.strictSame(told, [[b.entry.id], [], [], [c.entry.id]], 'nothing is told of what stays');
});

t.test('a version that is wrong changes nothing, and is told once', async (t) => {
  const { folder, lines, start, keys } = setUp(t);
  const a = one();
  const path = join(folder, 'a.yaml');
  writeFileSync(path, `pepper: ${a.file.pepper}\nkeys:\n  - ${JSON.stringify(a.entry)}\n`);
  await start();
  t.ok(keys.find(a.key, 0));
  const refused = () => lines.filter((line) => line.includes('API keys refused'));
  writeFileSync(path, `pepper: ${a.file.pepper}\nkeys: 7\n`);
  await eventually('it is told', () => refused().length === 1);
  writeFileSync(join(folder, 'b.json'), textOfApiKeyFile(a.file));
  await eventually('another fault is told as well', () => refused().length === 2);
  rmSync(path);
  rmSync(join(folder, 'b.json'));
  await eventually('a folder without any is one, too', () => refused().length === 3);
  t.ok(keys.find(a.key, 0));
  writeFileSync(path, textOfApiKeyFile({ ...a.file, keys: [] }));
  await eventually('and a good one holds again', () => keys.find(a.key, 0) === undefined);
  t.equal(refused().length, 3);
});

t.test('ten thousand keys are told in pieces, and a change of one as one', async (t) => {
  const { sent, keys } = setUp(t);
  const { pepper } = newApiKeyFile();
  const many = Array.from({ length: 10_000 }, (_, n) => ({
    ...{ id: `k${n}`, pepper, hash: 'A'.repeat(43), scopes: ['invoke'] as const, functions: ['*'] },
  }));
  keys.set(many);
  t.equal(sent.length, 20);
  t.equal(sent.flatMap((m) => m.upsert).length, 10_000);
  sent.splice(0);
  keys.set(many);
  t.equal(sent.length, 0);
  const limit = { requestsPerSecond: 1, burst: 1 };
  keys.set(many.map((key) => (key.id === 'k7' ? { ...key, rateLimit: limit } : key)));
  t.match(sent, [{ remove: [], upsert: [{ id: 'k7', rateLimit: limit }] }]);
  t.equal(sent.length, 1);
});

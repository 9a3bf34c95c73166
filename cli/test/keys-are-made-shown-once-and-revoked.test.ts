import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isApiKey } from '@simmer/protocol/api-keys';
import t from 'tap';
import { cli } from './cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'simmer-keys-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, 'keys.json');
const keys = (...args: string[]) => cli(['keys', ...args, '--file', file]);

t.test('a key is made, stands in the file as a hash, and goes', async (t) => {
  const made = await keys(
    'create',
    '--scope',
    'invoke',
    '--scope',
    'read',
    '--function',
    'default/*',
  );
  t.equal(made.code, 0, made.err);
  const key = made.out.trim();
  t.match(key, /^smr_[a-z0-9]+_[\w-]{43}$/);
  const text = readFileSync(file, 'utf8');
  t.notOk(text.includes(key.slice(-43)), 'the secret is not in the file');
  t.equal(statSync(file).mode & 0o777, 0o600, 'only its owner reads it');
  const { pepper, keys: entries } = JSON.parse(text);
  t.match(entries, [{ scopes: ['invoke', 'read'], functions: ['default/*'] }]);
  t.ok(isApiKey(pepper, entries[0].hash, key));

  const other = await cli([
    '--json',
    'keys',
    'create',
    '--file',
    file,
    '--scope',
    'write',
    '--rate',
    '5',
    '--burst',
    '9',
  ]);
  t.match(other.json, { id: String, key: /^smr_/ });
  const listed = await keys('list');
  t.match(listed.out, new RegExp(`^ID +SCOPES[\\s\\S]*${entries[0].id} +invoke,read +default/\\*`));
  t.match(listed.out, /write +\* +5\/s/);
  t.notMatch(listed.out, entries[0].hash);

  t.match(await keys('revoke', entries[0].id), { code: 0, out: / revoked\n$/ });
  t.match(await keys('revoke', entries[0].id), { code: 3 });
  t.notMatch((await keys('list')).out, entries[0].id);
});

t.test('what is wrong is said, and the file stays as it is', async (t) => {
  const before = readFileSync(file, 'utf8');
  for (const args of [
    ['create'],
    ['create', '--scope', 'all'],
    ['create', '--scope', 'read', '--function', 'NO'],
    ['create', '--scope', 'read', '--rate', '-1'],
    ['create', '--scope', 'read', '--expires-in', 'soon'],
  ]) {
    t.match(await keys(...args), { code: 2, out: '', err: /\S/ }, args.join(' '));
  }
  t.equal(readFileSync(file, 'utf8'), before);
  t.match(await cli(['keys', 'list']), { code: 2, err: /--file/ });
  t.match(await cli(['keys', 'list', '--file', '/none']), { code: 3 });
  const broken = join(folder, 'broken');
  for (const text of ['{', 'pepper: x', 'a: [b']) {
    writeFileSync(broken, text);
    t.match(await cli(['keys', 'list', '--file', broken]), { code: 2, err: /broken: / }, text);
  }
});

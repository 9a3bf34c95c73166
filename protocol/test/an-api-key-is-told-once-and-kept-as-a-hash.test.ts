import fc from 'fast-check';
import t from 'tap';
import {
  API_KEY_TEXT,
  type ApiKeyFile,
  addApiKey,
  idOfApiKey,
  isApiKey,
  newApiKeyFile,
  parseApiKeyFile,
  revokeApiKey,
  textOfApiKeyFile,
} from '../src/api-keys.ts';

t.test('a key has 256 random bits, and the file nothing but their hash', async (t) => {
  const keys = new Set<string>();
  let file = newApiKeyFile();
  for (let n = 0; n < 200; n++) {
    const added = addApiKey(file, { scopes: ['invoke'] });
    file = added.file;
    keys.add(added.key);
    const [, secret] = /^smr_[a-z0-9]{12}_([\w-]{43})$/.exec(added.key) as unknown as string[];
    t.equal(Buffer.from(secret as string, 'base64url').length, 32);
    t.equal(idOfApiKey(added.key), added.entry.id);
    t.notOk(textOfApiKeyFile(file).includes(secret as string));
    t.match(added.key, new RegExp(`^${API_KEY_TEXT.source}$`));
  }
  t.equal(keys.size, 200);
  t.equal(new Set(file.keys.map((k) => k.id)).size, 200);
});

t.test('a key holds under its own pepper and hash only, and to its last character', async (t) => {
  const { file, key, entry } = addApiKey(newApiKeyFile(), { scopes: ['read'] });
  const { pepper } = file;
  t.ok(isApiKey(pepper, entry.hash, key));
  t.notOk(isApiKey(newApiKeyFile().pepper, entry.hash, key));
  fc.assert(
    fc.property(fc.nat(key.length - 1), fc.integer({ min: 32, max: 126 }), (at, code) => {
      const other = key.slice(0, at) + String.fromCharCode(code) + key.slice(at + 1);
      return isApiKey(pepper, entry.hash, other) === (other === key);
    }),
  );
  for (const other of ['', key.slice(0, -1), `${key}A`, ` ${key}`]) {
    t.notOk(isApiKey(pepper, entry.hash, other));
  }
});

t.test('what is written is read again; a revoked key is gone', async (t) => {
  const wanted = {
    scopes: ['invoke', 'write'] as const,
    functions: ['team-a/*', 'default/echo'],
    description: 'CI',
    createdAt: '2026-01-02T03:04:05Z',
    expiresAt: '2027-01-02',
    rateLimit: { requestsPerSecond: 0.5, burst: 3 },
  };
  const { file, entry } = addApiKey(newApiKeyFile(), wanted);
  const read = parseApiKeyFile(JSON.parse(textOfApiKeyFile(file)));
  t.strictSame(read, { ok: true, file });
  t.match(entry, wanted);
  t.strictSame(revokeApiKey(file, entry.id)?.keys, []);
  t.equal(revokeApiKey(file, 'nosuch'), undefined);
});

t.test('a file that is wrong says where, and never what stands there', async (t) => {
  const { file } = addApiKey(newApiKeyFile(), { scopes: ['invoke'] });
  const [key] = file.keys;
  const withKey = (change: object) => ({ ...file, keys: [{ ...key, ...change }] });
  const SECRET = 'sesame-open';
  for (const [value, issue] of [
    [null, /the file must have fields/],
    [[], /the file must have fields/],
    [{ ...file, [SECRET]: 1 }, /the file has a field that is not known/],
    [{ keys: [] }, /pepper must be text/],
    [{ pepper: SECRET, keys: [] }, /pepper must be base64url/],
    [{ ...file, keys: SECRET }, /keys must be a list/],
    [{ ...file, keys: [key, key] }, /keys\[1\]\.id: \w+ stands there twice/],
    [withKey({ id: 'A_B' }), /keys\[0\]\.id must be/],
    [withKey({ hash: SECRET }), /keys\[0\]\.hash must be/],
    [withKey({ key: SECRET }), /keys\[0\] has a field/],
    [withKey({ scopes: [] }), /keys\[0\]\.scopes must be a list/],
    [withKey({ scopes: [SECRET] }), /keys\[0\]\.scopes must be of invoke, read, write/],
    [withKey({ functions: ['echo'] }), /keys\[0\]\.functions must be patterns of namespace/],
    [withKey({ functions: [7] }), /keys\[0\]\.functions must be text/],
    [withKey({ expiresAt: SECRET }), /keys\[0\]\.expiresAt is not one/],
    [withKey({ disabled: SECRET }), /keys\[0\]\.disabled/],
    [withKey({ rateLimit: { requestsPerSecond: 0 } }), /requestsPerSecond must be/],
    [withKey({ rateLimit: { requestsPerSecond: 1, burst: 0.5 } }), /burst must be/],
  ] as const) {
    const parsed = parseApiKeyFile(value);
    t.match(parsed, { ok: false, issue });
    t.notOk(JSON.stringify(parsed).includes(SECRET));
  }
  const bare = parseApiKeyFile(withKey({ functions: undefined })) as { file: ApiKeyFile };
  t.strictSame(bare.file.keys[0]?.functions, ['*'], 'without patterns: every function');
});

import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { FolderShelf } from '../../src/control/code/folder-shelf.ts';
import { CodeStore } from '../../src/control/code/store.ts';
import { memoryLog } from './fakes.ts';

const KIB = 1_024;
const digestOf = (bytes: Uint8Array) =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

function setUp(t: Pick<Test, 'teardown'>, maxBytes = 64 * KIB) {
  const root = mkdtempSync(join(tmpdir(), 'simmer-code-store-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const folder = join(root, 'deep', 'code');
  const inUse = new Set<string>();
  const { log, lines } = memoryLog();
  const shelf = new FolderShelf(folder, maxBytes);
  const open = () => new CodeStore({ shelf, inUse: () => inUse, log });
  const store = open();
  const put = async (bytes: Uint8Array) => {
    const digest = digestOf(bytes);
    await store.putFor(digest, bytes, async () => {});
    return digest;
  };
  const path = (digest: string) => join(folder, digest.replace(':', '-'));
  const age = (digest: string, seconds: number) =>
    utimesSync(path(digest), 1_000 - seconds, 1_000 - seconds);
  return { folder, inUse, lines, open, store, put, path, age };
}

t.test('what was stored is there after a restart, once, and shared', async (t) => {
  const { open, put, store, folder } = setUp(t);
  const bytes = randomBytes(5_000);
  const digest = await put(bytes);
  await put(bytes);
  t.strictSame(readdirSync(folder), [digest.replace(':', '-')], 'and nothing else');
  for (const one of [store, open()]) {
    const read = one.get(digest);
    t.ok(read && bytes.equals(read));
    t.ok(read?.buffer instanceof SharedArrayBuffer, 'in memory that both threads see');
    t.equal(one.get(digest), read, 'the same bytes for all who ask');
  }
  t.equal(store.get(`sha256:${'0'.repeat(64)}`), undefined);
  t.equal(store.get('sha256:../../etc/passwd'), undefined);
});

t.test('a file that is torn is dropped, told, and can be stored again', async (t) => {
  const { open, put, path, lines } = setUp(t);
  const bytes = randomBytes(5_000);
  const digest = await put(bytes);
  truncateSync(path(digest), 4_096);
  t.equal(open().get(digest), undefined);
  t.notOk(existsSync(path(digest)));
  t.match(lines.at(-1), { message: /code dropped: .* is not what its name says/, digest });
  await open().putFor(digest, bytes, async () => {});
  t.ok(readFileSync(path(digest)).equals(bytes));
});

t.test('what no function names makes room, the longest unused first', async (t) => {
  const { inUse, put, age, store, path } = setUp(t);
  const all = await Promise.all([20, 20, 20].map((kib) => put(randomBytes(kib * KIB))));
  const [oldest, older, newest] = all as [string, string, string];
  age(oldest, 30);
  age(older, 20);
  age(newest, 10);
  inUse.add(oldest);
  const more = await put(randomBytes(20 * KIB));
  t.strictSame(
    [oldest, older, newest, more].map((digest) => existsSync(path(digest))),
    [true, false, true, true],
  );
  for (const digest of [newest, more]) inUse.add(digest);
  await t.rejects(put(randomBytes(20 * KIB)), {
    code: 'code_store_full',
    message: 'Functions name 61440 bytes of code, and the store holds 65536: code-store-max-bytes.',
  });
  t.ok(store.get(oldest), 'nothing was dropped in vain');
});

t.test('what a function is about to name stays', async (t) => {
  const { store, put, path, age } = setUp(t);
  const bytes = randomBytes(30 * KIB);
  const digest = digestOf(bytes);
  await store.putFor(digest, bytes, async () => {
    age(digest, 1_000);
    await t.rejects(put(randomBytes(40 * KIB)), { code: 'code_store_full' });
    await put(randomBytes(30 * KIB));
    t.ok(existsSync(path(digest)));
  });
  await put(randomBytes(40 * KIB));
  t.notOk(existsSync(path(digest)), 'and no longer');
});

t.test('the bound holds whatever comes, also at once', async (t) => {
  const sizes = fc.array(fc.integer({ min: 1, max: 70 }), { minLength: 1, maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(sizes, fc.nat(11), async (all, named) => {
      const teardowns: (() => unknown)[] = [];
      const { folder, inUse, put } = setUp({
        teardown: (fn: () => unknown) => teardowns.push(fn),
      } as never);
      const stored = await Promise.allSettled(
        all.map(async (kib, i) => {
          const digest = await put(Buffer.alloc(kib * 100, i));
          if (i === named) inUse.add(digest);
        }),
      );
      const kept = existsSync(folder) ? readdirSync(folder) : [];
      const bytes = kept.reduce((sum, name) => sum + readFileSync(join(folder, name)).length, 0);
      for (const end of teardowns) end();
      t.ok(bytes <= 64 * KIB);
      t.ok(stored.every(({ status }) => status === 'fulfilled'));
    }),
    { numRuns: 30 },
  );
});

t.test('where nothing can be stored, that is said', async (t) => {
  const { log } = memoryLog();
  const bytes = Buffer.from('export default 1');
  const at = (folder: string) => {
    const shelf = folder === '' ? undefined : new FolderShelf(folder, KIB);
    return new CodeStore({ shelf, inUse: () => new Set(), log }).putFor(
      ...([digestOf(bytes), bytes] as const),
      async () => t.fail('not stored'),
    );
  };
  await t.rejects(at(''), { code: 'code_store_unavailable', message: /code-store/ });
  await t.rejects(at('/dev/null/simmer'), {
    code: 'code_store_unavailable',
    message: /\/dev\/null/,
  });
});

t.test('what a write that was cut off left is removed', async (t) => {
  const { folder, put } = setUp(t);
  mkdirSync(folder, { recursive: true });
  const [old, young] = ['0', '1'].map((c) => join(folder, `.simmer-${c.repeat(16)}.tmp`)) as [
    string,
    string,
  ];
  for (const path of [old, young]) writeFileSync(path, 'half');
  utimesSync(old, 1_000, 1_000);
  await put(randomBytes(10));
  t.notOk(existsSync(old));
  t.ok(existsSync(young), 'another process may be writing it');
});

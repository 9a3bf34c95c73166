import { randomBytes } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import t from 'tap';
import { type Header, pack } from 'tar-stream';
import { ARCHIVE_LIMITS, type ArchiveLimits, packArchive, readArchive } from '../src/archive.ts';
import { BundleError, isArchive, memberPath } from '../src/bundle.ts';

interface Read {
  readonly files: Readonly<Record<string, string>>;
  readonly executable: readonly string[];
}

async function read(
  pieces: readonly Uint8Array[],
  limits?: ArchiveLimits,
  held: { most: number } = { most: 0 },
): Promise<Read> {
  const files: Record<string, string> = {};
  const executable: string[] = [];
  const take: Parameters<typeof readArchive>[1] = async (member, chunks) => {
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks) {
      held.most = Math.max(held.most, chunk.length);
      parts.push(chunk);
    }
    files[member.path] = Buffer.concat(parts).toString('latin1');
    if (member.executable) executable.push(member.path);
  };
  await readArchive(pieces, take, limits);
  return { files, executable };
}

/** What no packer of ours would make. */
function made(entries: readonly [header: Partial<Header> & { name: string }, text: string][]) {
  return new Promise<Buffer>((resolve) => {
    const tar = pack();
    for (const [header, text] of entries) {
      if (header.type === undefined || header.type === 'file') tar.entry(header, text);
      else tar.entry(header).end(null);
    }
    tar.finalize();
    const parts: Buffer[] = [];
    tar.on('data', (chunk) => parts.push(chunk as Buffer));
    tar.on('end', () => resolve(gzipSync(Buffer.concat(parts))));
  });
}

const files = (all: Readonly<Record<string, string>>, executable: readonly string[] = []) =>
  Object.entries(all).map(([path, text]) => ({
    path,
    bytes: Buffer.from(text, 'latin1'),
    executable: executable.includes(path),
  }));

const name = fc.stringMatching(/^[a-zé.-]{1,40}$/).filter((n) => !/^\.+$/.test(n));
const path = fc.array(name, { minLength: 1, maxLength: 6 }).map((parts) => `${parts.join('/')}.js`);
const tree = fc
  .dictionary(path, fc.string({ unit: 'binary-ascii', maxLength: 3_000 }), { maxKeys: 8 })
  .filter((all) => {
    const paths = Object.keys(all);
    return paths.every((a) => !paths.some((b) => b.startsWith(`${a}/`)));
  });

/** The same bytes, in pieces. */
function cut(bytes: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const size of sizes) {
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return [...pieces, bytes.subarray(at)];
}

t.test('what was packed is read, however it is cut', async (t) => {
  await fc.assert(
    fc.asyncProperty(tree, fc.array(fc.nat(2_000), { maxLength: 20 }), async (all, sizes) => {
      const paths = Object.keys(all);
      const executable = paths.slice(0, 1);
      const bytes = await packArchive(files(all, executable));
      t.ok(isArchive(bytes));
      for (const atOnceBytes of [0, ARCHIVE_LIMITS.atOnceBytes]) {
        const found = await read(cut(bytes, sizes), { ...ARCHIVE_LIMITS, atOnceBytes });
        t.strictSame(found, { files: { ...all }, executable });
      }
      t.ok(bytes.equals(await packArchive(files(all, executable))), 'the same again');
    }),
    { numRuns: 60 },
  );
});

t.test('bytes that were changed give files, or one BundleError', async (t) => {
  const bytes = await packArchive(
    files({ 'a.js': 'x'.repeat(5_000), [`${'deep/'.repeat(30)}b.js`]: 'y', 'c/d.json': '{}' }),
  );
  const tar = gunzipSync(bytes);
  const change = fc.record({ at: fc.nat(tar.length - 1), to: fc.nat(255) });
  let refused = 0;
  const judge = async (mutated: Uint8Array) => {
    await judgeBy(mutated, 0);
    await judgeBy(mutated, 1_000_000);
  };
  const judgeBy = async (mutated: Uint8Array, atOnceBytes: number) => {
    const limits = { bytes: 100_000, members: 50, atOnceBytes };
    const held = { most: 0 };
    try {
      await read([mutated], limits, held);
    } catch (error) {
      if (!(error instanceof BundleError)) throw error;
      refused += 1;
    }
    t.ok(held.most <= 65_536, 'no more than a chunk is held');
  };
  await fc.assert(
    fc.asyncProperty(
      fc.array(change, { minLength: 1, maxLength: 6 }),
      fc.nat(tar.length),
      async (changes, keep) => {
        const inner = Buffer.from(tar);
        for (const { at, to } of changes) inner[at] = to;
        await judge(gzipSync(inner));
        await judge(gzipSync(inner.subarray(0, keep)));
        const outer = Buffer.from(bytes);
        for (const { at, to } of changes) outer[at % outer.length] = to;
        await judge(outer);
        await judge(bytes.subarray(0, keep % bytes.length));
      },
    ),
    { numRuns: 150 },
  );
  t.ok(refused > 200, `${refused} were refused`);
});

t.test('what may not stand in an archive is told', async (t) => {
  const BAD: [readonly [Partial<Header> & { name: string }, string][], RegExp][] = [
    [[[{ name: '/etc/passwd' }, '']], /"\/etc\/passwd" is absolute/],
    [[[{ name: 'a/../../b.js' }, '']], /leads out/],
    [[[{ name: 'c:x.js' }, '']], /not allowed/],
    [[[{ name: 'a\\b.js' }, '']], /not allowed/],
    [[[{ name: 'a', type: 'symlink', linkname: '/etc' }, '']], /a is a symlink: only files/],
    [[[{ name: 'a', type: 'link', linkname: 'b' }, '']], /a is a link: only files/],
    [[[{ name: 'a', type: 'character-device' }, '']], /a is a character-device/],
    [[[{ name: 'build/x.node' }, 'ELF']], /build\/x\.node is a native addon, which needs an image/],
    [
      [
        [{ name: 'a' }, '1'],
        [{ name: './a' }, '2'],
      ],
      /a stands in it twice/,
    ],
    [
      [
        [{ name: 'a' }, '1'],
        [{ name: 'a/b' }, '2'],
      ],
      /a is a file and a folder/,
    ],
    [
      [
        [{ name: 'a/b' }, '1'],
        [{ name: 'a' }, '2'],
      ],
      /a is a file and a folder/,
    ],
    [
      [
        [{ name: 'a', type: 'directory' }, ''],
        [{ name: 'a' }, '2'],
      ],
      /a is a file and a folder/,
    ],
    [[[{ name: `${'x'.repeat(2_000)}.js` }, '']], /is too long/],
    [[[{ name: `${'x'.repeat(300)}.js` }, '']], /a name that is too long/],
  ];
  for (const [entries, says] of BAD) {
    await t.rejects(read([await made(entries)]), { name: 'BundleError', message: says }, `${says}`);
  }
  await t.rejects(read([Buffer.from('export default 1')]), { message: /its gzip is broken/ });
  await t.rejects(read([gzipSync('x'.repeat(2_000))]), { message: /its tar is broken/ });
  await t.rejects(read([]), BundleError);
  const folders = await made([
    [{ name: './', type: 'directory' }, ''],
    [{ name: './a/', type: 'directory' }, ''],
    [{ name: './a/b.js' }, 'x'],
  ]);
  t.strictSame((await read([folders])).files, { 'a/b.js': 'x' }, 'as tar(1) writes it');
  t.equal(memberPath('./a//b/'), 'a/b');
});

t.test('a large archive leaves nothing behind on its way', async (t) => {
  const warnings: Error[] = [];
  const heard = (warning: Error) => warnings.push(warning);
  process.on('warning', heard);
  t.teardown(() => process.off('warning', heard));
  const noise = Buffer.from(randomBytes(2_000_000).toString('hex')).toString();
  const all = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`${i}.js`, noise.slice(i)]));
  const bytes = await packArchive(files(all));
  const found = await read(cut(bytes, Array(500).fill(1_000)));
  t.strictSame(Object.keys(found.files).length, 30);
  t.ok(found.files['29.js'] === noise.slice(29));
  await new Promise(setImmediate);
  t.strictSame(warnings, []);
});

t.test('what grows when it is unpacked is given up at its limit', async (t) => {
  const bomb = await packArchive(files({ 'zeros.js': '\0'.repeat(20_000_000) }));
  t.ok(bomb.length < 50_000);
  for (const atOnceBytes of [0, 1_000_000]) {
    const limits = { bytes: 1_000_000, members: 10, atOnceBytes };
    await t.rejects(read([bomb], limits), { message: /over 1000000 bytes/ });
  }
  const many = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`${i}.js`, '']));
  const limits = { bytes: 1_000_000, members: 10, atOnceBytes: 0 };
  await t.rejects(read([await packArchive(files(many))], limits), { message: /over 10 files/ });
});

t.test('what is done with a file may fail', async (t) => {
  const bytes = await packArchive(files({ 'a.js': 'x'.repeat(300_000), 'b.js': 'y' }));
  const full = readArchive([bytes], async () => {
    throw new Error('no space');
  });
  await t.rejects(full, { message: 'no space' });
  const skipped: string[] = [];
  await readArchive([bytes], async ({ path }) => void skipped.push(path));
  t.strictSame(skipped, ['a.js', 'b.js'], 'what is not read is skipped');
});

import { createHash } from 'node:crypto';
import type { CodeShelf, Shelved } from '@simmer/protocol/code-shelf';
import t from 'tap';
import { CodeStore } from '../../src/control/code/store.ts';
import { memoryLog } from './fakes.ts';

const digestOf = (bytes: Uint8Array) =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** As ConfigMaps are: nothing can be read at once. */
class SlowShelf implements CodeShelf {
  readonly name = 'far away';
  readonly maxBytes = 100;
  readonly kept = new Map<string, Uint8Array>();
  reads = 0;
  refusal: string | undefined;
  async read(digest: string): Promise<Uint8Array | undefined> {
    this.reads += 1;
    if (this.refusal) throw new Error(this.refusal);
    return this.kept.get(digest);
  }
  async list(): Promise<readonly Shelved[]> {
    return [...this.kept].map(([digest, { length }], i) => ({ digest, bytes: length, usedAt: i }));
  }
  async write(digest: string, bytes: Uint8Array): Promise<void> {
    if (this.refusal) throw new Error(this.refusal);
    this.kept.set(digest, bytes);
  }
  async remove(digest: string): Promise<void> {
    this.kept.delete(digest);
  }
}

function setUp() {
  const shelf = new SlowShelf();
  const { log, lines } = memoryLog();
  let time = 0;
  const inUse = new Set<string>();
  const open = () => new CodeStore({ shelf, inUse: () => inUse, log, now: () => time });
  const pass = (ms: number) => {
    time += ms;
  };
  return { shelf, lines, open, pass, inUse };
}

const [one, two] = ['one', 'two'].map((text) => Buffer.from(text)) as [Buffer, Buffer];
const named = (...all: Uint8Array[]) => new Set(all.map(digestOf));

t.test('what is named is read, once, and held while it is named', async (t) => {
  const { shelf, open } = setUp();
  shelf.kept.set(digestOf(one), one);
  const store = open();
  t.equal(store.get(digestOf(one)), undefined);
  t.equal(await store.prepare(named(one)), true, 'there is news');
  const bytes = store.get(digestOf(one));
  t.ok(bytes && one.equals(bytes));
  t.ok(bytes?.buffer instanceof SharedArrayBuffer);
  t.equal(await store.prepare(named(one)), false);
  t.equal(shelf.reads, 1);
  await store.putFor(digestOf(two), two, async () => {
    t.ok(two.equals(store.get(digestOf(two)) ?? one), 'what is brought is not read');
    t.equal(await store.prepare(named(one, two)), false);
  });
  t.equal(shelf.reads, 1);
  t.strictSame([...shelf.kept.keys()], [digestOf(one), digestOf(two)]);
});

t.test('what nobody has brought is looked for now and then', async (t) => {
  const { shelf, open, pass } = setUp();
  const store = open();
  t.equal(await store.prepare(named(one)), false);
  t.equal(await store.prepare(named(one)), false);
  t.equal(shelf.reads, 1);
  shelf.kept.set(digestOf(one), one);
  pass(5_000);
  t.equal(await store.prepare(named(one)), true);
});

t.test('a shelf that refuses is told of, and what is torn is dropped', async (t) => {
  const { shelf, open, lines } = setUp();
  shelf.refusal = 'no permission';
  const store = open();
  t.equal(await store.prepare(named(one)), false);
  t.match(lines.at(-1), { message: 'code cannot be read: no permission' });
  await t.rejects(
    store.putFor(digestOf(one), one, async () => {}),
    { code: 'code_store_unavailable', message: 'Cannot write to far away: no permission.' },
  );
  shelf.refusal = undefined;
  shelf.kept.set(digestOf(two), one);
  t.equal(await store.prepare(named(two)), false);
  t.match(lines.at(-1), { message: /in far away it is not what its name says/ });
  t.equal(shelf.kept.size, 0);
});

t.test('what is there already takes no room', async (t) => {
  const { open, inUse, shelf } = setUp();
  const large = Buffer.alloc(80, 1);
  await open().putFor(digestOf(large), large, async () => {});
  inUse.add(digestOf(large));
  await open().putFor(digestOf(large), large, async () => {});
  t.equal(shelf.kept.size, 1);
  await t.rejects(
    open().putFor(digestOf(one), Buffer.alloc(30), async () => {}),
    { code: 'code_store_full' },
  );
});

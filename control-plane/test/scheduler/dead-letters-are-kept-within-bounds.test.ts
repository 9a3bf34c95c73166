import { problem } from '@simmer/protocol/errors';
import fc from 'fast-check';
import t from 'tap';
import { envelopeParts } from '../../src/scheduler/dead-letters/envelope-parts.ts';
import { type DeadLetter, letterBytes } from '../../src/scheduler/dead-letters/letter.ts';
import { MemoryDeadLetters } from '../../src/scheduler/dead-letters/memory-store.ts';

function letter(n: number, functionKey = 'default/a', bodyBytes = 0): DeadLetter {
  const id = `bootbootboot-${n}`;
  return {
    ...{ reason: 'execution', id, executionId: id, functionKey, traceId: '', createdAt: 0 },
    ...{ deadAt: 0, error: problem('timeout', ''), attempts: [], replayOf: '' },
    request: {
      ...{ traceparent: '', body: new Uint8Array(bodyBytes), timeoutMs: 1, maxRetries: 0 },
      callbackUrl: '',
    },
  };
}

const ALL = { functionKey: '', shows: () => true, limit: 1_000, cursor: '' };
const ids = (letters: readonly DeadLetter[]) => letters.map((l) => Number(l.id.split('-')[1]));

t.test('pages go from the newest to the oldest, whatever goes between them', async (t) => {
  const store = new MemoryDeadLetters({ maxCount: 10, maxBytes: 1e9, maxTotalBytes: 1e9 });
  for (let n = 1; n <= 8; n++) await store.put(letter(n, n % 2 === 0 ? 'default/even' : 'x/odd'));
  const first = await store.list({ ...ALL, limit: 3 });
  t.same(ids(first.letters), [8, 7, 6]);
  await store.remove('bootbootboot-6');
  await store.put(letter(9));
  const second = await store.list({ ...ALL, limit: 5, cursor: first.next });
  t.same([ids(second.letters), second.next], [[5, 4, 3, 2, 1], '']);
  const even = await store.list({ ...ALL, functionKey: 'default/even' });
  t.same(ids(even.letters), [8, 4, 2]);
  const odd = await store.list({ ...ALL, shows: (key) => key.startsWith('x/') });
  t.same(ids(odd.letters), [7, 5, 3, 1], 'what the caller may not see is left out');
  t.same(ids(await store.oldest('default/even', 2)), [2, 4]);
});

t.test('a small body keeps no more than itself, whatever memory it came in', async (t) => {
  const store = new MemoryDeadLetters({ maxCount: 10, maxBytes: 1e9, maxTotalBytes: 1e9 });
  const slab = Buffer.from(`of others: ${'x'.repeat(8_000)}{"input":1}`);
  const body = slab.subarray(-11);
  const given = letter(1);
  if (given.reason !== 'execution') throw new Error('unreachable');
  const { id, executionId, functionKey, traceId, createdAt, deadAt, error } = given;
  const shared = { id: 'callback', executionId, functionKey, traceId, createdAt, deadAt, error };
  await store.put({ ...given, request: { ...given.request, body } });
  await store.put({
    ...shared,
    ...{ reason: 'callback', url: '', status: 'failed', traceparent: '', attempts: [], body },
  });
  const [execution, callback] = await Promise.all([store.get(id), store.get('callback')]);
  for (const kept of [
    execution?.reason === 'execution' && execution.request.body,
    callback?.reason === 'callback' && callback.body,
  ]) {
    if (!kept) throw new Error('not kept');
    t.equal(Buffer.from(kept).toString(), '{"input":1}');
    t.equal(kept.buffer.byteLength, kept.length);
  }
});

t.test('whatever comes and goes, the bounds hold, and only the oldest make room', async () => {
  const limits = { maxCount: 4, maxBytes: 9_000, maxTotalBytes: 16_000 };
  const step = fc.record({
    kind: fc.constantFrom('put', 'put', 'put', 'remove', 'removeAll'),
    fn: fc.constantFrom('default/a', 'default/b', 'default/c'),
    bytes: fc.oneof(
      { weight: 9, arbitrary: fc.nat(3_000) },
      { weight: 1, arbitrary: fc.nat(9_000) },
    ),
    pick: fc.nat(20),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const store = new MemoryDeadLetters(limits);
      // Oldest first: what must be there.
      let model: DeadLetter[] = [];
      const sum = (letters: DeadLetter[]) => letters.reduce((n, l) => n + letterBytes(l), 0);
      let n = 0;
      for (const { kind, fn, bytes, pick } of steps) {
        if (kind === 'put') {
          const one = letter(++n, fn, bytes);
          model.push(one);
          const expected: DeadLetter[] = [];
          const drop = (gone: DeadLetter | undefined) => {
            if (gone === undefined) throw new Error('nothing to drop');
            model = model.filter((l) => l !== gone);
            expected.push(gone);
          };
          const own = () => model.filter((l) => l.functionKey === fn);
          while (own().length > limits.maxCount || sum(own()) > limits.maxBytes) drop(own()[0]);
          while (sum(model) > limits.maxTotalBytes) drop(model[0]);
          const gone = await store.put(one);
          if (gone.some((l, i) => l !== expected[i]) || gone.length !== expected.length)
            return false;
        } else if (kind === 'remove') {
          const one = model[pick % Math.max(1, model.length)];
          model = model.filter((l) => l !== one);
          if ((await store.remove(one?.id ?? 'none')) !== (one !== undefined)) return false;
        } else {
          const left = model.filter((l) => l.functionKey !== fn);
          if ((await store.removeAll(fn)) !== model.length - left.length) return false;
          model = left;
        }
        const { letters } = await store.list(ALL);
        if (letters.length !== model.length) return false;
        if ([...letters].reverse().some((l, i) => l !== model[i])) return false;
        const { count, bytes: used } = await store.usage('');
        if (count !== model.length || used !== sum(model)) return false;
      }
      return true;
    }),
    { numRuns: 300 },
  );
});

t.test('an envelope is taken apart as JSON.parse does', async (t) => {
  const text = (bytes: Uint8Array | null) =>
    bytes === null ? null : Buffer.from(bytes).toString();
  const parts = async (json: string) => {
    const { input, metadata } = await envelopeParts(Buffer.from(json));
    return [text(input), text(metadata)];
  };
  t.same(await parts(''), [null, null]);
  t.same(await parts('{"input":1,"input":[{"input":"}"}]}'), ['[{"input":"}"}]', null]);
  t.same(await parts('\uFEFF {"\\u0069nput" : "a\\"b" , "metadata":{}}'), [' "a\\"b" ', '{}']);
  const spaces = fc.stringMatching(/^[ \n]{0,2}$/);
  await fc.assert(
    fc.asyncProperty(
      fc.record({ input: fc.jsonValue(), metadata: fc.object(), other: fc.jsonValue() }),
      spaces,
      async (envelope, space) => {
        const json = JSON.stringify(envelope, null, space);
        const expected = JSON.parse(json);
        const { input, metadata } = await envelopeParts(Buffer.from(json));
        const same = (bytes: Uint8Array | null, value: unknown) =>
          JSON.stringify(JSON.parse(text(bytes) as string)) === JSON.stringify(value);
        return same(input, expected.input) && same(metadata, expected.metadata);
      },
    ),
    { numRuns: 300 },
  );
  const large = JSON.stringify({ input: 'ä"'.repeat(300_000), metadata: { a: 1 } });
  t.same(await parts(large), [JSON.stringify(JSON.parse(large).input), '{"a":1}']);
});

import fc from 'fast-check';
import t from 'tap';
import { MemoryStore } from '../../src/scheduler/executions/memory-store.ts';
import { bytesOf, type ExecutionRecord } from '../../src/scheduler/executions/record.ts';

const BOOT = 'bootbootboot';
const FIRST_PAGE = {
  mode: '',
  mayRead: () => true,
  functionKey: '',
  status: '',
  limit: 10,
  cursor: '',
} as const;

function record(n: number, bodyBytes = 0): ExecutionRecord {
  return {
    id: `${BOOT}-${n}`,
    mode: 'async',
    functionKey: n % 2 === 0 ? 'default/even' : 'default/odd',
    status: 'queued',
    request: {
      ...{ traceparent: '', body: new Uint8Array(bodyBytes), timeoutMs: 1, maxRetries: 0 },
      callbackUrl: '',
    },
    traceId: '',
    callbackUrl: '',
    replayOf: '',
    createdAt: 0,
    deadlineAt: 0,
    endedAt: null,
    nextAttemptAt: null,
    attempts: [],
    output: null,
    error: null,
  };
}

async function end(store: MemoryStore, one: ExecutionRecord, now: number): Promise<void> {
  one.status = 'succeeded';
  one.endedAt = now;
  one.request = null;
  await store.update(one);
}

t.test('the one that ended first makes room; one that has not ended never does', async (t) => {
  const store = new MemoryStore({ maxCount: 3, maxBytes: 1e9, maxAgeMs: 1e9 }, () => 0);
  const all = [1, 2, 3].map((n) => record(n));
  for (const one of all) t.equal(await store.create(one), 'created');
  t.equal(await store.create(record(4)), 'full');
  await end(store, all[1] as ExecutionRecord, 1);
  await end(store, all[0] as ExecutionRecord, 2);
  t.equal(await store.create(record(5)), 'created');
  t.equal(await store.get(`${BOOT}-2`), 'evicted');
  t.match(await store.get(`${BOOT}-1`), { status: 'succeeded' });
  t.equal(await store.get(`${BOOT}-4`), 'unknown', 'it never was kept');
});

t.test('every page follows on the one before, in whatever order they came', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.shuffledSubarray([1, 2, 3, 4, 5, 6, 7, 8, 9], { minLength: 1 }),
      fc.integer({ min: 1, max: 4 }),
      async (numbers, limit) => {
        const store = new MemoryStore({ maxCount: 99, maxBytes: 1e9, maxAgeMs: 1e9 }, () => 0);
        for (const n of numbers) await store.create(record(n));
        const listed: string[] = [];
        let cursor = '';
        do {
          const page = await store.list({ ...FIRST_PAGE, limit, cursor });
          listed.push(...page.records.map(({ id }) => id));
          cursor = page.next;
        } while (cursor !== '');
        const newestFirst = [...numbers].sort((a, b) => b - a).map((n) => `${BOOT}-${n}`);
        return listed.join() === newestFirst.join();
      },
    ),
  );
});

t.test('they go when they are old', async (t) => {
  let now = 0;
  const store = new MemoryStore({ maxCount: 3, maxBytes: 1e9, maxAgeMs: 100 }, () => now);
  const [old, young] = [record(1), record(2)];
  await store.create(old);
  await store.create(young);
  await end(store, old, 0);
  now = 100;
  t.equal(await store.get(old.id), old);
  now = 101;
  t.equal(await store.get(old.id), 'evicted');
  t.equal(await store.get(young.id), young);
});

t.test('pages go from the newest to the oldest, whatever happens between them', async (t) => {
  const store = new MemoryStore({ maxCount: 8, maxBytes: 1e9, maxAgeMs: 1e9 }, () => 0);
  const all = Array.from({ length: 8 }, (_, n) => record(n + 1));
  for (const one of all) await store.create(one);
  const ids = (page: { records: readonly ExecutionRecord[] }) =>
    page.records.map((r) => Number(r.id.slice(BOOT.length + 1)));
  const first = await store.list({ ...FIRST_PAGE, limit: 3 });
  t.same([ids(first), first.next], [[8, 7, 6], `${BOOT}-6`]);
  // The one that the cursor names goes, a new one comes.
  await end(store, all[5] as ExecutionRecord, 1);
  await store.create(record(9));
  const second = await store.list({ ...FIRST_PAGE, limit: 5, cursor: first.next });
  t.same([ids(second), second.next], [[5, 4, 3, 2, 1], '']);
  t.same(ids(await store.list({ ...FIRST_PAGE, functionKey: 'default/even' })), [8, 4, 2]);
  const mayRead = (key: string) => key !== 'default/even';
  const some = await store.list({ ...FIRST_PAGE, limit: 2, mayRead });
  t.same([ids(some), some.next], [[9, 7], `${BOOT}-7`]);
  await end(store, all[0] as ExecutionRecord, 1);
  t.same(ids(await store.list({ ...FIRST_PAGE, status: 'succeeded' })), [1]);
});

t.test('whatever comes and ends, the bounds hold and nothing unfinished goes', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('create' as const), bytes: fc.nat(3_000) }),
    fc.record({ kind: fc.constant('end' as const), pick: fc.nat(50), bytes: fc.nat(3_000) }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(400) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
      const limits = { maxCount: 8, maxBytes: 20_000, maxAgeMs: 500 };
      let now = 0;
      const store = new MemoryStore(limits, () => now);
      const unfinished: ExecutionRecord[] = [];
      const accepted: ExecutionRecord[] = [];
      for (const s of steps) {
        if (s.kind === 'wait') now += s.ms;
        else if (s.kind === 'create') {
          const one = record(accepted.length + 1, s.bytes);
          const held = unfinished.reduce((sum, r) => sum + bytesOf(r), 0) + bytesOf(one);
          const room = unfinished.length < limits.maxCount && held <= limits.maxBytes;
          const created = await store.create(one);
          if ((created === 'created') !== room) return false;
          if (created === 'created') {
            unfinished.push(one);
            accepted.push(one);
          }
        } else if (unfinished.length > 0) {
          const [one] = unfinished.splice(s.pick % unfinished.length, 1);
          (one as ExecutionRecord).output = new Uint8Array(s.bytes);
          await end(store, one as ExecutionRecord, now);
        }
        const { records } = await store.list({ ...FIRST_PAGE, limit: 1_000 });
        if (records.length > limits.maxCount) return false;
        if (unfinished.some((one) => !records.includes(one))) return false;
        if (records.some((r) => r.endedAt !== null && r.endedAt < now - limits.maxAgeMs)) {
          return false;
        }
        for (const one of accepted) {
          const found = await store.get(one.id);
          if (found !== one && found !== 'evicted') return false;
        }
      }
      return true;
    }),
    { numRuns: 500 },
  );
});

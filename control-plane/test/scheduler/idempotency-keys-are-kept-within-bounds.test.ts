import fc from 'fast-check';
import t from 'tap';
import { type KeyEntry, KeyStore } from '../../src/scheduler/idempotency/key-store.ts';

type Store = KeyStore<string, string>;
type Entry = KeyEntry<string, string>;
const store = (
  limits: Partial<{ maxCount: number; maxBytes: number; maxAgeMs: number }> = {},
  now: () => number = () => 0,
): Store => new KeyStore({ maxCount: 3, maxBytes: 1e9, maxAgeMs: 1e9, ...limits }, now);

function begin(keys: Store, key: string): Entry {
  const entry = keys.begin(key, 'print', `run of ${key}`);
  if (entry === 'full') throw new Error(`no room for ${key}`);
  return entry;
}
const answerOf = (keys: Store, key: string) => {
  const state = keys.find(key)?.state;
  return state?.kind === 'ended' ? state.answer : state?.kind;
};

t.test('a key is running, then ended, then forgotten when it is old', (t) => {
  let now = 0;
  const keys = store({ maxAgeMs: 100 }, () => now);
  const a = begin(keys, 'a');
  now = 1_000;
  t.equal(answerOf(keys, 'a'), 'running', 'however long it runs');
  keys.end(a, 'answer', 6, 'none');
  now = 1_100;
  t.equal(answerOf(keys, 'a'), 'answer');
  t.equal(keys.expiresAt, 1_100);
  now = 1_101;
  t.equal(answerOf(keys, 'a'), undefined);
  t.same([keys.size, keys.bytes, keys.evictedKeys, keys.expiresAt], [0, 0, 0, undefined]);
  t.end();
});

t.test('what ended first makes room; what runs never does', (t) => {
  const keys = store();
  const [a, b] = ['a', 'b', 'c'].map((key) => begin(keys, key)) as [Entry, Entry];
  t.equal(keys.begin('d', 'print', 'd'), 'full');
  keys.end(b, 'of b', 4, 'none');
  keys.end(a, 'of a', 4, 'none');
  begin(keys, 'd');
  t.equal(answerOf(keys, 'b'), undefined);
  t.equal(answerOf(keys, 'a'), 'of a');
  t.equal(keys.evictedKeys, 1);
  t.end();
});

t.test('an answer that finds no room is replaced, and drives nobody out for nothing', (t) => {
  const keys = store({ maxBytes: 4_000 });
  const [a, b] = ['a', 'b'].map((key) => begin(keys, key)) as [Entry, Entry];
  keys.end(a, 'of a', 1_000, 'none');
  keys.end(b, 'of b', 5_000, 'none');
  t.equal(answerOf(keys, 'a'), 'of a');
  t.equal(answerOf(keys, 'b'), 'none');
  t.end();
});

t.test('large answers make room before any key does', (t) => {
  const keys = store({ maxCount: 100, maxBytes: 10_000 });
  const [a, b, c] = ['a', 'b', 'c'].map((key) => begin(keys, key)) as [Entry, Entry, Entry];
  keys.end(a, 'of a', 10, 'none');
  keys.end(b, 'of b', 3_000, 'none');
  keys.end(c, 'of c', 3_000, 'none');
  const d = begin(keys, 'd');
  keys.end(d, 'of d', 2_000, 'none');
  t.same(
    ['a', 'b', 'c', 'd'].map((key) => answerOf(keys, key)),
    ['of a', 'none', 'of c', 'of d'],
  );
  t.same([keys.evictedKeys, keys.evictedAnswers], [0, 1]);
  for (let n = 0; n < 6; n++) begin(keys, `more-${n}`);
  t.same(
    ['a', 'b', 'c', 'd'].map((key) => answerOf(keys, key)),
    [undefined, 'none', 'none', 'none'],
    'then the oldest key',
  );
  t.same([keys.evictedKeys, keys.evictedAnswers], [1, 3]);
  t.end();
});

t.test('what was forgotten may begin again, and its first end counts no more', (t) => {
  const keys = store();
  const first = begin(keys, 'a');
  keys.forget(first);
  const second = begin(keys, 'a');
  keys.end(first, 'of the first', 1, 'none');
  keys.forget(first);
  t.equal(answerOf(keys, 'a'), 'running');
  keys.end(second, 'of the second', 1, 'none');
  keys.end(second, 'twice', 1, 'none');
  t.equal(answerOf(keys, 'a'), 'of the second');
  t.end();
});

t.test('in any order: bounds hold, no key runs twice at once, what runs is never lost', (t) => {
  const LIMITS = { maxCount: 5, maxBytes: 6_000, maxAgeMs: 50 };
  const step = fc.oneof(
    fc.record({ kind: fc.constant('call' as const), key: fc.nat(9) }),
    fc.record({ kind: fc.constant('end' as const), pick: fc.nat(), bytes: fc.nat(7_000) }),
    fc.record({ kind: fc.constant('forget' as const), pick: fc.nat() }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(60) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      let now = 0;
      const keys = store(LIMITS, () => now);
      /** The model: what runs, and when what was answered ended. */
      const running = new Map<string, Entry>();
      const ended = new Map<string, number>();
      for (const one of steps) {
        const before = [keys.evictedKeys, keys.size] as const;
        const entries = [...running.entries()];
        const picked = 'pick' in one ? entries[one.pick % Math.max(1, entries.length)] : undefined;
        if (one.kind === 'wait') {
          now += one.ms;
        } else if (one.kind === 'call') {
          const key = String(one.key);
          const found = keys.find(key);
          if (running.has(key) && found !== running.get(key)) throw new Error(`${key} is lost`);
          if (found !== undefined && !running.has(key)) {
            const at = ended.get(key);
            if (at === undefined || at < now - LIMITS.maxAgeMs) throw new Error(`${key} is old`);
          }
          if (found === undefined) {
            const begun = keys.begin(key, 'print', key);
            if (begun === 'full') {
              const least = LIMITS.maxBytes / 800 - 1;
              const pinned = running.size >= Math.min(LIMITS.maxCount, least);
              if (!pinned) throw new Error('refused while others could have made room');
            } else {
              if (running.has(key)) throw new Error(`${key} runs twice`);
              running.set(key, begun);
            }
          }
        } else if (picked !== undefined) {
          const [key, entry] = picked;
          running.delete(key);
          if (one.kind === 'forget') {
            keys.forget(entry);
            if (keys.find(key) !== undefined) throw new Error('it is still there');
          } else {
            keys.end(entry, one.bytes > 1_024 ? 'large' : 'small', one.bytes, 'none');
            ended.set(key, now);
            if (keys.find(key)?.state.kind !== 'ended') throw new Error('it did not stay');
          }
        }
        if (keys.size > LIMITS.maxCount || keys.bytes > LIMITS.maxBytes) throw new Error('over');
        // A key made room for another, not for an answer, while there was a large answer to drop.
        const dropped = keys.evictedKeys > before[0] && before[1] < LIMITS.maxCount;
        const large = [...ended.keys()].some((key) => answerOf(keys, key) === 'large');
        if (dropped && large) throw new Error('a key went before a large answer');
        for (const [key, entry] of running) {
          if (keys.find(key) !== entry) throw new Error(`${key} runs and is not there`);
        }
      }
      now += 1_000;
      for (const entry of running.values()) keys.forget(entry);
      keys.expire();
      return keys.size === 0 && keys.bytes === 0;
    }),
    { numRuns: 500 },
  );
  t.end();
});

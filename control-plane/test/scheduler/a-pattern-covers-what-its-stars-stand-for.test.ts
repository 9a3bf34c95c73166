import fc from 'fast-check';
import t from 'tap';
import { Known } from '../../src/scheduler/access/known.ts';
import { may } from '../../src/shared/caller.ts';

/** Few letters, so that keys and patterns meet often. */
const text = (letters: string, maxLength: number) =>
  fc.string({ unit: fc.constantFrom(...letters), maxLength });
const patterns = fc.array(text('ab-/*', 8), { minLength: 1, maxLength: 4 });
const keys = text('ab-/', 10).filter((key) => key !== '');

const asExpression = (pattern: string) =>
  new RegExp(`^${pattern.replace(/[*]/g, '.*').replace(/[-/]/g, '\\$&')}$`);

t.test('a star stands for any characters, none included, and nothing else does', async () => {
  fc.assert(
    fc.property(patterns, keys, (functions, key) => {
      const caller = { id: 'x', scopes: ['invoke'] as const, functions };
      const expected = functions.some((pattern) => asExpression(pattern).test(key));
      return may(caller, ['invoke'], key) === expected;
    }),
    { numRuns: 2_000 },
  );
});

t.test(
  'what the warm path remembers is what it was told, however many functions there are',
  async () => {
    fc.assert(
      fc.property(
        patterns,
        fc.array(keys, { maxLength: 700 }),
        fc.subarray(['invoke', 'read', 'write'] as const),
        (functions, called, scopes) => {
          const caller = { id: 'x', scopes, functions };
          const known = new Known(caller, null);
          return called.every((key) => known.mayInvoke(key) === may(caller, ['invoke'], key));
        },
      ),
    );
  },
);

t.test(
  'one of the scopes that are named is enough; no function is asked where there is none',
  async (t) => {
    const caller = { id: 'x', scopes: ['read'] as const, functions: [] };
    t.ok(may(caller, ['invoke', 'read'], ''));
    t.notOk(may(caller, ['invoke', 'write'], ''));
    t.notOk(may(caller, ['read'], 'a/b'));
    t.ok(may(caller, [], ''));
  },
);

import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { pack, unpack } from 'msgpackr';
import t from 'tap';
import { decode, encode } from '../src/codec.ts';
import type { Frame } from '../src/frames.ts';
import { KIND } from '../src/frames.ts';
import { FRAMES, KINDS, plain } from './support/frames.ts';

const known = new Set<number>(Object.values(KIND));

t.test('a kind of a later minor version is undefined', async (t) => {
  for (let kind = 0; kind < 1_000; kind++) {
    if (known.has(kind)) continue;
    if (decode(pack([kind, 'anything', [1, 2, 3], null])) !== undefined) t.fail(`kind ${kind}`);
  }
  t.throws(() => decode(pack(['hello'])), { code: 'malformed_frame' });
});

t.test('fields after the last known one are ignored', async (t) => {
  const later = fc.array(
    fc.oneof(
      fc.nat(),
      fc.string(),
      fc.boolean(),
      fc.constant(null),
      fc.array(fc.nat(), { maxLength: 3 }),
    ),
    { minLength: 1, maxLength: 4 },
  );
  for (const kind of KINDS) {
    fc.assert(
      fc.property(FRAMES[kind] as fc.Arbitrary<Frame>, later, (frame, more) => {
        const fields = unpack(encode(frame)) as unknown[];
        return isDeepStrictEqual(plain(decode(pack([...fields, ...more]))), plain(frame));
      }),
      { numRuns: 50, seed: 4 },
    );
    t.pass(kind);
  }
});

t.test('a field that is missing or of another type is refused', async (t) => {
  for (const kind of KINDS) {
    const [frame] = fc.sample(FRAMES[kind] as fc.Arbitrary<Frame>, { numRuns: 1, seed: 5 });
    if (frame === undefined) throw new Error('no sample');
    const fields = unpack(encode(frame)) as unknown[];
    // Those of a result from `body` on, which may be nil, may be left out, the last of a log, and the schemas.
    const optional =
      { result: 5, log: 4, welcome: 7, specialize: 8 }[kind as string] ?? fields.length;
    for (let i = 1; i < fields.length; i++) {
      const cut = () => decode(pack(fields.slice(0, i)));
      if (i < optional) t.throws(cut, { code: 'malformed_frame' }, `${kind} -${i}`);
      else t.doesNotThrow(cut, `${kind} -${i}`);
      const other = fields.with(i, Array.isArray(fields[i]) ? 'text' : [['a', 1]]);
      t.throws(() => decode(pack(other)), { code: 'malformed_frame' }, `${kind} ~${i}`);
    }
  }
});

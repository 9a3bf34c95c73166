import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { decode, encode } from '../src/codec.ts';
import { FRAMES, KINDS, plain } from './support/frames.ts';

const RUNS_EACH = 1_000;

for (const kind of KINDS) {
  t.test(`${kind} is what it was after a round trip`, async (t) => {
    fc.assert(
      fc.property(FRAMES[kind], (frame) =>
        isDeepStrictEqual(plain(decode(encode(frame))), plain(frame)),
      ),
      { numRuns: RUNS_EACH, seed: 1 },
    );
    t.pass(`${RUNS_EACH} frames`);
  });
}

t.test('an encoded frame stays what it is when others are encoded after it', async (t) => {
  const frames = fc.sample(fc.oneof(...Object.values(FRAMES)), { numRuns: 2_000, seed: 2 });
  const encoded = frames.map((frame) => encode(frame));
  const changed = encoded.findIndex(
    (bytes, i) => !isDeepStrictEqual(plain(decode(bytes)), plain(frames[i])),
  );
  t.equal(changed, -1);
});

t.test('a frame is decoded the same from the middle of a larger buffer', async (t) => {
  fc.assert(
    fc.property(fc.oneof(...Object.values(FRAMES)), fc.nat({ max: 50 }), (frame, offset) => {
      const bytes = encode(frame);
      const larger = new Uint8Array(offset + bytes.length + 9).fill(0xc1);
      larger.set(bytes, offset);
      const view = new Uint8Array(larger.buffer, offset, bytes.length);
      return isDeepStrictEqual(plain(decode(view)), plain(frame));
    }),
    { numRuns: 2_000, seed: 3 },
  );
  t.pass('2000 frames');
});

t.test('the binaries of a frame are views of the message, not copies (C3)', async (t) => {
  const message = Uint8Array.from(
    encode({ kind: 'chunk', stream: 1, bytes: new Uint8Array([1, 2, 3]), end: true }),
  );
  const frame = decode(message);
  t.equal(frame?.kind === 'chunk' && frame.bytes.buffer, message.buffer);
});

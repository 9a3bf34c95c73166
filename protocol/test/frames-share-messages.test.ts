import fc from 'fast-check';
import t from 'tap';
import { decodeEach, encode, MAX_BATCH_BYTES, toMessages } from '../src/codec.ts';
import type { Frame } from '../src/frames.ts';

const stream = fc.integer({ min: 1, max: 1_000 });
const frame: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({ kind: fc.constant('ping' as const), nonce: fc.nat() }),
  fc.record({ kind: fc.constant('draining' as const) }),
  fc.record({
    kind: fc.constant('result' as const),
    stream,
    outcome: fc.constant('ok' as const),
    code: fc.constant(''),
    message: fc.string({ maxLength: 300 }),
    body: fc.option(fc.nat(65_536).map((n) => new Uint8Array(n).fill(n))),
  }),
  fc.record({
    kind: fc.constant('chunk' as const),
    stream,
    bytes: fc.uint8Array({ maxLength: 100 }),
    end: fc.boolean(),
  }),
);
/** Text to compare by, with binaries as hex whatever class holds them. */
const plain = (f: Frame | undefined) =>
  f &&
  Object.entries(f)
    .map(([k, v]) => `${k}=${v instanceof Uint8Array ? Buffer.from(v).toString('hex') : v}`)
    .join(' ');

function read(message: Uint8Array): string[] {
  const frames: string[] = [];
  decodeEach(message, (f) => {
    frames.push(plain(f) ?? 'unknown');
    return true;
  });
  return frames;
}

t.test(
  'frames arrive as they were sent, in their order, in messages of a bounded length',
  async () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 40 }), (frames) => {
        const messages: Uint8Array[] = [];
        toMessages(frames.map(encode), (m) => messages.push(m));
        const longest = Math.max(0, ...frames.map((f) => encode(f).length));
        if (messages.some((m) => m.length > Math.max(MAX_BATCH_BYTES, longest))) return false;
        return JSON.stringify(messages.flatMap(read)) === JSON.stringify(frames.map(plain));
      }),
    );
  },
);

t.test(
  'a malformed frame does not take back those before it, and stops those after it',
  async (t) => {
    const ping = encode({ kind: 'ping', nonce: 7 });
    const taken: (Frame | undefined)[] = [];
    t.throws(
      () =>
        decodeEach(Buffer.concat([ping, Buffer.from('c1', 'hex'), ping]), (f) => {
          taken.push(f);
          return true;
        }),
      { code: 'malformed_frame' },
    );
    t.strictSame(taken, [{ kind: 'ping', nonce: 7 }]);
  },
);

t.test('who has had enough is given no more', async (t) => {
  const ping = encode({ kind: 'ping', nonce: 7 });
  let taken = 0;
  decodeEach(Buffer.concat([ping, ping, ping]), () => ++taken < 2);
  t.equal(taken, 2);
});

t.test('a frame of an unknown kind is passed over, whatever comes with it', async (t) => {
  const unknown = Buffer.from('92cc9a01', 'hex');
  const pong = encode({ kind: 'pong', nonce: 1 });
  t.strictSame(read(Buffer.concat([pong, unknown, pong])), [
    'kind=pong nonce=1',
    'unknown',
    'kind=pong nonce=1',
  ]);
});

t.test('an empty message is malformed', async (t) => {
  t.throws(() => decodeEach(new Uint8Array(0), () => true), { code: 'malformed_frame' });
});

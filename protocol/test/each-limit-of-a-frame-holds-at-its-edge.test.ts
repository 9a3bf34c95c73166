import t from 'tap';
import { decode, encode, FrameError } from '../src/codec.ts';
import type { Frame, HeaderPairs } from '../src/frames.ts';
import { KIND } from '../src/frames.ts';
import {
  INLINE_BODY_BYTES,
  MAX_FRAME_BYTES,
  MAX_FRAME_DEPTH,
  MAX_FRAME_ELEMENTS,
  MAX_TEXT_CHARS,
  MAX_TOKEN_CHARS,
} from '../src/limits.ts';

const head = (headers: HeaderPairs): Frame => ({ kind: 'head', stream: 1, status: 200, headers });
const chunk = (length: number): Frame => ({
  kind: 'chunk',
  stream: 1,
  bytes: new Uint8Array(length),
  end: false,
});
const log = (text: string): Frame => ({ kind: 'log', stream: 1, level: 'info', text });
const refused = (bytes: Uint8Array, reason: RegExp) => {
  try {
    decode(bytes);
  } catch (error) {
    return error instanceof FrameError && reason.test(error.reason) ? 'refused' : String(error);
  }
  return 'accepted';
};

t.test('a piece has at most INLINE_BODY_BYTES', async (t) => {
  t.ok(decode(encode(chunk(INLINE_BODY_BYTES))));
  t.equal(refused(encode(chunk(INLINE_BODY_BYTES + 1)), /field 2: not at most 65536/), 'refused');
});

t.test('a token has at most MAX_TOKEN_CHARS, a text MAX_TEXT_CHARS', async (t) => {
  t.ok(decode(encode({ kind: 'ready', digest: 'x'.repeat(MAX_TOKEN_CHARS) })));
  t.equal(
    refused(encode({ kind: 'ready', digest: 'x'.repeat(MAX_TOKEN_CHARS + 1) }), /field 1/),
    'refused',
  );
  t.ok(decode(encode(log('é'.repeat(MAX_TEXT_CHARS)))), 'characters are counted, not bytes');
  t.equal(refused(encode(log('x'.repeat(MAX_TEXT_CHARS + 1))), /field 3/), 'refused');
});

t.test('a frame has at most MAX_FRAME_BYTES', async (t) => {
  const withName = (length: number) => encode(head([['x', 'y'.repeat(length)]]));
  const overhead = withName(100_000).length - 100_000;
  t.equal(withName(MAX_FRAME_BYTES - overhead).length, MAX_FRAME_BYTES);
  t.ok(decode(withName(MAX_FRAME_BYTES - overhead)));
  t.equal(refused(withName(MAX_FRAME_BYTES - overhead + 1), /longer than/), 'refused');
});

t.test('the arrays of a frame hold at most MAX_FRAME_ELEMENTS together', async (t) => {
  // The frame's own 4, then 3 for each header: the pair and its two strings.
  const most = Math.floor((MAX_FRAME_ELEMENTS - 4) / 3);
  const headers = (count: number) =>
    head(Array.from({ length: count }, () => ['a', 'b'] as [string, string]));
  t.ok(decode(encode(headers(most))));
  t.equal(refused(encode(headers(most + 1)), /more than 8192 elements/), 'refused');
});

t.test('arrays stand at most MAX_FRAME_DEPTH deep', async (t) => {
  const nested = (depth: number) =>
    // An unknown kind, so that only the scan has a say.
    Buffer.concat([
      Buffer.from([0x92, 0x7f]),
      Buffer.alloc(depth - 1, 0x91),
      Buffer.from([depth === 1 ? 0xc0 : 0xc0]),
    ]);
  t.equal(decode(nested(MAX_FRAME_DEPTH)), undefined);
  t.equal(refused(nested(MAX_FRAME_DEPTH + 1), /deeper than 4/), 'refused');
});

t.test(
  'an integer is whole, not negative and at most 2^53 - 1, in any unsigned width',
  async (t) => {
    const ping = (hex: string) => Buffer.from(`92${KIND.ping.toString(16)}${hex}`, 'hex');
    const accepted: [string, number][] = [
      ['00', 0],
      ['7f', 127],
      ['cc00', 0],
      ['ccff', 255],
      ['cd0001', 1],
      ['cdffff', 65_535],
      ['ce00000001', 1],
      ['ceffffffff', 2 ** 32 - 1],
      ['cf0000000000000001', 1],
      ['cf001fffffffffffff', Number.MAX_SAFE_INTEGER],
      ['cb41f0000000000000', 2 ** 32],
      ['cb433fffffffffffff', Number.MAX_SAFE_INTEGER],
    ];
    for (const [hex, nonce] of accepted) t.same(decode(ping(hex)), { kind: 'ping', nonce }, hex);
    const others = {
      'negative fixint': 'ff',
      'int 8': 'd001',
      'int 64': 'd30000000000000001',
      '2^53 as uint 64': 'cf0020000000000000',
      'all ones as uint 64': 'cfffffffffffffffff',
      '2^53 as float 64': 'cb4340000000000000',
      'a half': 'cb3fe0000000000000',
      'minus one as float 64': 'cbbff0000000000000',
      'minus zero': 'cb8000000000000000',
      'not a number': 'cb7ff8000000000000',
      infinity: 'cb7ff0000000000000',
      'float 32': 'ca3f800000',
      nil: 'c0',
      true: 'c3',
      string: 'a131',
      'nothing at all': '',
    };
    for (const [name, hex] of Object.entries(others)) {
      const bytes = hex === '' ? Buffer.from([0x91, KIND.ping]) : ping(hex);
      t.equal(refused(bytes, /./), 'refused', name);
    }
  },
);

t.test('a stream number is not 0, save in a result of an earlier connection', async (t) => {
  t.equal(refused(encode({ kind: 'credit', stream: 0, bytes: 1 }), /field 1/), 'refused');
  t.ok(
    decode(encode({ kind: 'result', stream: 0, outcome: 'ok', code: '', message: '', body: null })),
  );
});

t.test('a status is 200 to 599', async (t) => {
  const status = (n: number) => encode({ kind: 'head', stream: 1, status: n, headers: [] });
  t.ok(decode(status(200)));
  t.ok(decode(status(599)));
  t.equal(refused(status(199), /status/), 'refused');
  t.equal(refused(status(600), /status/), 'refused');
});

t.test('an enumeration knows its members only', async (t) => {
  const result = (outcome: number) =>
    Buffer.from([0x96, KIND.result, 1, outcome, 0xa0, 0xa0, 0xc0]);
  t.match(decode(result(5)), { outcome: 'too_large' });
  t.equal(refused(result(6), /field 2: not one of ok, error/), 'refused');
});

t.test('nothing stands before, after or instead of the array', async (t) => {
  for (const hex of [
    '',
    '90',
    'c0',
    '26',
    'a0',
    '81a16101',
    '922600' + '00',
    'dc0000',
    'dd00000000',
  ]) {
    t.equal(refused(Buffer.from(hex, 'hex'), /./), 'refused', hex);
  }
});

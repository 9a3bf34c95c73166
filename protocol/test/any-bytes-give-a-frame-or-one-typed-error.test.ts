/**
 * A mutation fuzz of the decoder. Seeded: a failure names the number of the message, and the same messages come again.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import t from 'tap';
import { decode, encode, FrameError } from '../src/codec.ts';
import { KIND } from '../src/frames.ts';
import { FRAMES } from './support/frames.ts';

const MESSAGES = 150_000;
const SEED = 0x5133e5;
/** Decoding all of them leaves nothing behind: what stays in use may differ by what the engine itself caches. */
const MAX_GROWTH_BYTES = 32 * 1_048_576;
/** One message of a few hundred bytes may make no more than this: a claimed length that is believed makes megabytes. */
const MAX_BYTES_OF_ONE = 2 * 1_048_576;

/** mulberry32 */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const next = random(SEED);
const below = (n: number) => Math.floor(next() * n);

const BOMB = Buffer.from('dd01c9c380', 'hex');
/** Every first byte that means something else than what frames are made of, with a length behind it. */
const HOSTILE = [
  BOMB,
  Buffer.from('dfffffffff', 'hex'), // map 32
  Buffer.from('deffff', 'hex'),
  Buffer.from('8f', 'hex'),
  Buffer.from('c9ffffffff01', 'hex'), // ext 32
  Buffer.from('c8ffff01', 'hex'),
  Buffer.from('c70501', 'hex'),
  Buffer.from('d47200', 'hex'), // fixext 1: msgpackr's record definition
  Buffer.from('d640', 'hex'),
  Buffer.from('d6ff00000000', 'hex'), // timestamp
  Buffer.from('d462', 'hex'), // msgpackr's bundled strings
  Buffer.from('ca7f800000', 'hex'), // float 32
  Buffer.from('cb7ff0000000000000', 'hex'), // Infinity
  Buffer.from('cb7ff8000000000000', 'hex'), // NaN
  Buffer.from('cb3fe0000000000000', 'hex'), // 0.5
  Buffer.from('cbbff0000000000000', 'hex'), // -1
  Buffer.from('cfffffffffffffffff', 'hex'), // a BigInt
  Buffer.from('cf0020000000000000', 'hex'), // 2^53
  Buffer.from('d3ffffffffffffffff', 'hex'),
  Buffer.from('d0ff', 'hex'),
  Buffer.from('ff', 'hex'),
  Buffer.from('c1', 'hex'),
  Buffer.from('c6ffffffff', 'hex'),
  Buffer.from('dbffffffff', 'hex'),
  Buffer.from('ddffffffff', 'hex'),
  Buffer.from('dcffff', 'hex'),
];

type Mutation = (bytes: Buffer) => Buffer;

const MUTATIONS: Record<string, Mutation> = {
  none: (b) => b,
  bits: (b) => {
    for (let n = 1 + below(4); n > 0; n--) {
      const at = below(b.length);
      b[at] = (b[at] as number) ^ (1 << below(8));
    }
    return b;
  },
  bytes: (b) => {
    for (let n = 1 + below(8); n > 0; n--) b[below(b.length)] = below(256);
    return b;
  },
  truncate: (b) => b.subarray(0, below(b.length)),
  append: (b) => Buffer.concat([b, randomBytes(1 + below(16))]),
  splice: (b) => {
    const other = pick();
    return Buffer.concat([b.subarray(0, below(b.length)), other.subarray(below(other.length))]);
  },
  /** A huge claimed length stands before what looks like a string or binary. */
  inflate: (b) => {
    const start = below(b.length);
    const isSized = (byte: number) => byte === 0xc4 || byte >= 0xd9 || byte >> 4 === 0xa;
    const at = b.findIndex((byte, i) => i >= start && isSized(byte));
    const type = [0xc4, 0xc5, 0xc6, 0xd9, 0xda, 0xdb, 0xdc, 0xdd][below(8)] as number;
    const claim = [0xff, 0xffff, 0x7fffffff, 0xffffffff, 1 << 24][below(5)] as number;
    const prefix = Buffer.alloc(5, type);
    prefix.writeUInt32BE(claim >>> 0, 1);
    return Buffer.concat([b.subarray(0, Math.max(at, 1)), prefix, b.subarray(Math.max(at, 1))]);
  },
  hostile: (b) => {
    const at = below(b.length + 1);
    const what = HOSTILE[below(HOSTILE.length)] as Buffer;
    return Buffer.concat([b.subarray(0, at), what, b.subarray(at + below(3))]);
  },
  /** A whole frame whose one field is something hostile: gets further than bytes inserted anywhere. */
  field: () => {
    const kinds = Object.values(KIND);
    const fields = 1 + below(12);
    const at = below(fields);
    const parts = Array.from({ length: fields }, (_, i) =>
      i === at ? (HOSTILE[below(HOSTILE.length)] as Buffer) : Buffer.from([below(256)]),
    );
    return Buffer.concat([
      Buffer.from([0x90 | (fields + 1), kinds[below(kinds.length)] as number]),
      ...parts,
    ]);
  },
  nest: () => {
    const depth = 1 + below(2_000);
    const open = [0x91, 0x92, 0xdc, 0xdd][below(4)] as number;
    const one =
      open === 0xdc ? [0xdc, 0, 1] : open === 0xdd ? [0xdd, 0, 0, 0, 1 + below(2)] : [open];
    return Buffer.concat([
      Buffer.from([0x92, 4]),
      Buffer.from(Array.from({ length: depth }, () => one).flat()),
      Buffer.from([0xc0]),
    ]);
  },
  bombs: () => {
    const count = 1 + below(100);
    return Buffer.concat([Buffer.from([0x9f, 4]), ...Array.from({ length: count }, () => BOMB)]);
  },
  random: () => randomBytes(below(300)),
  randomArray: () => Buffer.concat([Buffer.from([0x90 | below(16)]), randomBytes(below(100))]),
};

function randomBytes(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = below(256);
  return bytes;
}

const corpus = fc
  .sample(fc.oneof(...Object.values(FRAMES)), { numRuns: 3_000, seed: SEED })
  .map((frame) => Buffer.from(encode(frame)));
const pick = () => corpus[below(corpus.length)] as Buffer;

const names = Object.keys(MUTATIONS);
function mutant(): { name: string; bytes: Buffer } {
  const name = names[below(names.length)] as string;
  const start = Buffer.from(pick());
  const bytes = (MUTATIONS[name] as Mutation)(start);
  // Some are mutated twice.
  return below(4) === 0 && bytes.length > 0
    ? { name, bytes: (MUTATIONS['bits'] as Mutation)(bytes) }
    : { name, bytes };
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const inUse = () => {
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return heapUsed + external + arrayBuffers;
};

t.test(`${MESSAGES} mutated messages give a frame, undefined or a FrameError`, async (t) => {
  const seen = { frame: 0, unknown: 0, refused: 0 };
  const wrong: string[] = [];
  let most = 0;
  collectGarbage();
  const before = inUse();
  let rssBefore = 0;
  for (let i = 0; i < MESSAGES; i++) {
    // What the first thousand have warmed up is the level that later ones are held to.
    if (i === 1_000) rssBefore = process.memoryUsage.rss();
    const { name, bytes } = mutant();
    // Reading the memory in use is slow: every 16th message is measured.
    const heap = i % 16 === 0 ? inUse() : 0;
    try {
      const frame = decode(bytes);
      if (frame === undefined) seen.unknown++;
      else if (Object.hasOwn(KIND, frame.kind)) seen.frame++;
      else wrong.push(`message ${i} (${name}): a frame of kind ${String(frame.kind)}`);
    } catch (error) {
      if (error instanceof FrameError) seen.refused++;
      else wrong.push(`message ${i} (${name}) ${bytes.toString('hex')}: ${String(error)}`);
    }
    if (heap > 0) most = Math.max(most, inUse() - heap);
  }
  t.same(wrong, []);
  t.comment(seen);
  // A fuzz whose messages are all refused, or never, tests nothing.
  t.ok(seen.frame > MESSAGES / 50, 'many are frames');
  t.ok(seen.unknown > 100, 'some are of unknown kinds');
  t.ok(seen.refused > MESSAGES / 4, 'many are refused');
  t.ok(most < MAX_BYTES_OF_ONE, `one message makes at most ${most} bytes`);
  collectGarbage();
  const growth = inUse() - before;
  t.ok(growth < MAX_GROWTH_BYTES, `memory in use has grown by ${growth} bytes`);
  const rss = process.memoryUsage.rss() - rssBefore;
  t.ok(rss < 3 * MAX_GROWTH_BYTES, `resident memory has grown by ${rss} bytes`);
});

t.test('a message that claims much costs little', async (t) => {
  const bombs = [
    BOMB,
    Buffer.concat([Buffer.from([0x92, KIND.head]), BOMB]),
    Buffer.concat([Buffer.from([0x92, KIND.ready]), Buffer.from('dbffffffff', 'hex')]),
    Buffer.concat([Buffer.from([0x93, KIND.chunk, 1]), Buffer.from('c67fffffff', 'hex')]),
    Buffer.concat([Buffer.from([0x9f]), ...Array.from({ length: 100 }, () => BOMB)]),
  ];
  for (const bomb of bombs) {
    const before = inUse();
    t.throws(() => decode(bomb), { code: 'malformed_frame' });
    t.ok(inUse() - before < MAX_BYTES_OF_ONE, bomb.subarray(0, 8).toString('hex'));
  }
});

t.test('bytes are left as they were', async (t) => {
  const changed = Array.from({ length: 5_000 }, () => mutant().bytes).filter((bytes) => {
    const copy = Buffer.from(bytes);
    try {
      decode(bytes);
    } catch {
      // Refused: just as well.
    }
    return !copy.equals(bytes);
  });
  t.same(changed, []);
});

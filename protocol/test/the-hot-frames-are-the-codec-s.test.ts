import fc from 'fast-check';
import t from 'tap';
import { decode, decodeByMsgpackr, encode, encodeByMsgpackr, FrameError } from '../src/codec.ts';
import {
  FORMS,
  type Frame,
  type Invoke,
  LOG_LEVELS,
  type Log,
  OUTCOMES,
  type Result,
} from '../src/frames.ts';

const uint = fc.oneof(fc.nat(300), fc.nat(70_000), fc.integer({ min: 0, max: 2 ** 40 }));
const text = fc.oneof(
  fc.string({ maxLength: 300 }),
  fc.string({ unit: 'grapheme', maxLength: 50 }),
);
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.uint8Array({ minLength: 200, maxLength: 70_000, size: 'max' }),
);
const invoke: fc.Arbitrary<Invoke> = fc.record({
  kind: fc.constant('invoke' as const),
  stream: uint.map((n) => n + 1),
  executionId: text,
  attempt: uint,
  budgetMs: uint,
  form: fc.constantFrom(...FORMS),
  method: text,
  target: text,
  headers: fc.array(fc.tuple(text, text), { maxLength: 20 }),
  body: bytes.map((b) => b.slice(0, 65_536)),
  more: fc.boolean(),
});
const ordinary = {
  kind: fc.constant('result' as const),
  stream: uint,
  outcome: fc.constantFrom(...OUTCOMES),
  code: text,
  message: text,
  body: fc.option(bytes.map((b) => b.slice(0, 65_536))),
};
const result: fc.Arbitrary<Result> = fc.oneof(
  fc.record(ordinary),
  fc.record({
    ...ordinary,
    retryable: fc.boolean(),
    retryAfterMs: fc.option(uint),
    errors: fc.array(fc.tuple(text, text), { maxLength: 3 }),
  }),
);
const line = { kind: fc.constant('log' as const), stream: uint.map((n) => n + 1), text };
const log: fc.Arbitrary<Log> = fc.oneof(
  fc.record({ ...line, level: fc.constantFrom(...LOG_LEVELS) }),
  fc.record({ ...line, level: fc.constantFrom(...LOG_LEVELS), cut: fc.boolean() }),
);

const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

t.test('what the shortcut writes is, to the byte, what msgpackr writes', async () => {
  fc.assert(
    fc.property(fc.oneof(invoke, result, log), (frame) =>
      same(encode(frame), encodeByMsgpackr(frame)),
    ),
    { numRuns: 500 },
  );
});

const short = fc.uint8Array({ maxLength: 300 });
const small = fc.oneof(
  fc.tuple(invoke, short).map(([f, body]) => ({ ...f, headers: f.headers.slice(0, 3), body })),
  fc.tuple(result, short).map(([f, body]) => ({ ...f, body })),
  log,
);

/** A frame with its binaries as hex, so that views and copies compare. */
const plain = (frame: Frame | undefined) =>
  JSON.stringify(frame, (_k, v) => (v instanceof Uint8Array ? Buffer.from(v).toString('hex') : v));

function outcomeOf(run: () => Frame | undefined): string {
  try {
    return plain(run()) ?? 'unknown';
  } catch (error) {
    if (!(error instanceof FrameError)) throw error;
    return 'refused';
  }
}

t.test(
  'what the shortcut reads, mutated bytes included, the scan and msgpackr read alike',
  async () => {
    fc.assert(
      fc.property(
        small,
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }),
        fc.option(fc.nat(400)),
        (frame, flips, cut) => {
          const message = Buffer.from(encode(frame));
          // Near the front, where the fields are; the body is most of the rest.
          for (const [where, value] of flips)
            message[where % Math.min(message.length, 120)] = value;
          const sent = cut === null ? message : message.subarray(0, cut);
          const a = outcomeOf(() => decode(sent));
          const b = outcomeOf(() => decodeByMsgpackr(sent));
          if (a !== b) throw new Error(`${a.slice(0, 300)} is not ${b.slice(0, 300)}`);
        },
      ),
      { numRuns: 3_000 },
    );
  },
);

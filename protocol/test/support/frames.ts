/** Arbitrary frames of every kind, within the limits of the protocol. */
import fc from 'fast-check';
import type { Frame, FrameKind } from '../../src/frames.ts';
import { FORMS, KIND, LOG_LEVELS, OUTCOMES } from '../../src/frames.ts';

export const uint = fc.oneof(
  fc.nat({ max: 300 }),
  fc.nat(),
  // The edges of each width that msgpack has for an unsigned integer.
  fc.constantFrom(
    0,
    127,
    128,
    255,
    256,
    65_535,
    65_536,
    2 ** 31,
    2 ** 32 - 1,
    2 ** 32,
    2 ** 53 - 1,
  ),
  fc.maxSafeNat(),
);
const stream = uint.map((n) => n || 1);
// Whole code points only: a lone surrogate has no UTF-8 form, and no sender can make one from received text.
const text = fc.string({ unit: 'binary', maxLength: 300 });
const header = fc.tuple(fc.string({ maxLength: 40 }), text);
const pairs = fc.array(header, { maxLength: 20 });
const bytes = fc.uint8Array({ maxLength: 400 });
const bool = fc.boolean();

/** One arbitrary for each kind; the type makes a kind that is forgotten an error. */
export const FRAMES: { [K in FrameKind]: fc.Arbitrary<Extract<Frame, { kind: K }>> } = {
  hello: fc.record({
    kind: fc.constant('hello' as const),
    version: uint,
    credential: text,
    uid: text,
    proof: text,
    bootId: text,
    runtime: text,
    runtimeVersion: text,
    capacity: uint,
    inFlight: uint,
  }),
  ready: fc.record({ kind: fc.constant('ready' as const), digest: text }),
  failed: fc.record({ kind: fc.constant('failed' as const), code: text, message: text }),
  head: fc.record({
    kind: fc.constant('head' as const),
    stream,
    status: fc.integer({ min: 200, max: 599 }),
    headers: pairs,
  }),
  chunk: fc.record({ kind: fc.constant('chunk' as const), stream, bytes, end: bool }),
  result: fc.record({
    kind: fc.constant('result' as const),
    stream: uint,
    outcome: fc.constantFrom(...OUTCOMES),
    code: text,
    message: text,
    body: fc.option(bytes),
    retryable: fc.boolean(),
    retryAfterMs: fc.option(uint),
    errors: pairs,
  }),
  log: fc.record({
    kind: fc.constant('log' as const),
    stream,
    level: fc.constantFrom(...LOG_LEVELS),
    text,
    cut: fc.boolean(),
  }),
  credit: fc.record({ kind: fc.constant('credit' as const), stream, bytes: uint }),
  pong: fc.record({ kind: fc.constant('pong' as const), nonce: uint }),
  draining: fc.record({ kind: fc.constant('draining' as const) }),
  welcome: fc.record({
    kind: fc.constant('welcome' as const),
    session: text,
    heartbeatMs: uint,
    maxRequestBytes: uint,
    maxResultBytes: uint,
    windowBytes: uint,
    logBytes: uint,
    inputSchema: fc.string({ minLength: 1, maxLength: 400 }),
    outputSchema: text,
  }),
  specialize: fc.record({
    kind: fc.constant('specialize' as const),
    session: text,
    function: text,
    env: pairs,
    secrets: pairs,
    entry: text,
    digest: text,
    limits: pairs,
    inputSchema: fc.string({ minLength: 1, maxLength: 400 }),
    outputSchema: text,
  }),
  code: fc.record({
    kind: fc.constant('code' as const),
    digest: text,
    offset: uint,
    bytes,
    end: bool,
  }),
  invoke: fc.record({
    kind: fc.constant('invoke' as const),
    stream,
    executionId: text,
    attempt: uint,
    budgetMs: uint,
    form: fc.constantFrom(...FORMS),
    method: text,
    target: text,
    headers: pairs,
    body: bytes,
    more: bool,
  }),
  input: fc.record({ kind: fc.constant('input' as const), stream, bytes, end: bool }),
  cancel: fc.record({ kind: fc.constant('cancel' as const), stream, reason: text }),
  ping: fc.record({ kind: fc.constant('ping' as const), nonce: uint }),
  drain: fc.record({ kind: fc.constant('drain' as const), graceMs: uint }),
  goaway: fc.record({ kind: fc.constant('goaway' as const), address: text, session: text }),
};

export const KINDS = Object.keys(KIND) as FrameKind[];

/** A frame with its binaries as plain Uint8Arrays, so that what decoded from a Buffer compares equal. */
export function plain(frame: Frame | undefined): unknown {
  if (frame === undefined) return undefined;
  return Object.fromEntries(
    Object.entries(frame).map(([name, value]) => [
      name,
      value instanceof Uint8Array ? Uint8Array.from(value) : value,
    ]),
  );
}

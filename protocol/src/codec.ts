/**
 * Bytes to frames and back. Decoding is total: any bytes give a frame, `undefined` for a kind this version does
 * not know, or one FrameError; it never throws anything else.
 *
 * Invariants:
 *  C1. `scan` has walked the whole frame before msgpackr sees it: every length lies within the message, depth and
 *      element count are bounded, and only nil, booleans, unsigned integers, strings, binaries and arrays stand in it.
 *      (msgpackr allocates what a length prefix claims: the five bytes dd01c9c380 cost 228 MiB.)
 *  C2. Every field is checked for its type and bound before a frame is built. Elements past the last known field are
 *      ignored, so that a later minor version may append some.
 *  C3. Binaries of a decoded frame are views of the bytes given; whoever keeps one copies it.
 */
import { Packr, Unpackr } from 'msgpackr';
import type { Form, Frame, HeaderPairs, LogLevel, Outcome } from './frames.ts';
import { FORMS, KIND, LOG_LEVELS, OUTCOMES } from './frames.ts';
import {
  decodeInvoke,
  decodeLog,
  decodeResult,
  encodeInvoke,
  encodeInvokeFields,
  encodeLog,
  encodeResult,
  endOfFrame,
  hasLaterFields,
  INVOKE_ARRAY,
  LOG_ARRAY,
  RESULT_ARRAY,
} from './hot-frames.ts';
import {
  INLINE_BODY_BYTES,
  MAX_FRAME_BYTES,
  MAX_FRAME_DEPTH,
  MAX_FRAME_ELEMENTS,
  MAX_TEXT_CHARS,
  MAX_TOKEN_CHARS,
} from './limits.ts';

/** Why a message is not a frame. `reason` is safe to log and to send as a close reason. */
export class FrameError extends Error {
  readonly code = 'malformed_frame';
  readonly reason: string;
  constructor(reason: string) {
    super(`malformed frame: ${reason}`);
    this.reason = reason;
  }
}

const packr = new Packr({ useRecords: false, encodeUndefinedAsNil: true });
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: false, int64AsType: 'number' });

// ---- encoding ----------------------------------------------------------------------------------------------------

/** The frame as one binary WebSocket message. The buffer is the caller's. */
export function encode(frame: Frame): Uint8Array {
  let bytes: Uint8Array | undefined;
  if (frame.kind === 'invoke') bytes = encodeInvoke(frame);
  else if (frame.kind === 'result') bytes = encodeResult(frame);
  else if (frame.kind === 'log') bytes = encodeLog(frame);
  return bytes ?? packr.pack(toArray(frame));
}

/**
 * `invoke` from its fields, `traceparent` before the other headers: saves the sender an object and two arrays for each
 * invocation.
 */
export function encodeInvocation(
  stream: number,
  executionId: string,
  attempt: number,
  budgetMs: number,
  form: Form,
  method: string,
  target: string,
  traceparent: string,
  headers: HeaderPairs,
  body: Uint8Array,
  more: boolean,
): Uint8Array {
  const bytes = encodeInvokeFields(
    stream,
    executionId,
    attempt,
    budgetMs,
    form,
    method,
    target,
    traceparent,
    headers,
    body,
    more,
  );
  if (bytes !== undefined) return bytes;
  const all: HeaderPairs = [['traceparent', traceparent], ...headers];
  return encodeByMsgpackr({
    kind: 'invoke',
    stream,
    executionId,
    attempt,
    budgetMs,
    form,
    method,
    target,
    headers: all,
    body,
    more,
  });
}

/** A message of several frames is at most this long; a longer frame has one of its own. Keeps a turn's message short enough to be decoded while the next is made. */
export const MAX_BATCH_BYTES = 65_536;

/**
 * Frames as messages, in their order: as many in one as MAX_BATCH_BYTES allows. At both ends a message costs several
 * times what a frame in it does (docs/adr/0005-frames-share-messages.md).
 */
export function toMessages(
  frames: readonly Uint8Array[],
  send: (message: Uint8Array) => void,
): void {
  let first = 0;
  let bytes = 0;
  for (let i = 0; i < frames.length; i++) {
    const { length } = frames[i] as Uint8Array;
    if (i > first && bytes + length > MAX_BATCH_BYTES) {
      send(joined(frames, first, i, bytes));
      first = i;
      bytes = 0;
    }
    bytes += length;
  }
  if (first < frames.length) send(joined(frames, first, frames.length, bytes));
}

function joined(
  frames: readonly Uint8Array[],
  first: number,
  end: number,
  bytes: number,
): Uint8Array {
  const head = frames[first] as Uint8Array;
  if (end - first === 1) return head;
  if (adjoin(frames, first, end)) return new Uint8Array(head.buffer, head.byteOffset, bytes);
  const message = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (let i = first; i < end; i++) {
    const frame = frames[i] as Uint8Array;
    message.set(frame, at);
    at += frame.length;
  }
  return message;
}

/** Whether they lie one behind the other already, as frames that were cut from one slab in a row do. */
function adjoin(frames: readonly Uint8Array[], first: number, end: number): boolean {
  const { buffer, byteOffset } = frames[first] as Uint8Array;
  let at = byteOffset;
  for (let i = first; i < end; i++) {
    const frame = frames[i] as Uint8Array;
    if (frame.byteOffset !== at || frame.buffer !== buffer) return false;
    at += frame.length;
  }
  return true;
}

/** The same through msgpackr alone: what the shortcuts of hot-frames.ts are held to. */
export function encodeByMsgpackr(frame: Frame): Uint8Array {
  return packr.pack(toArray(frame));
}

function toArray(f: Frame): unknown[] {
  switch (f.kind) {
    case 'invoke':
      return [
        KIND.invoke,
        f.stream,
        f.executionId,
        f.attempt,
        f.budgetMs,
        f.form === 'raw' ? 1 : 0,
        f.method,
        f.target,
        f.headers,
        f.body,
        f.more,
      ];
    case 'result':
      return [
        KIND.result,
        f.stream,
        OUTCOMES.indexOf(f.outcome),
        f.code,
        f.message,
        f.body,
        ...(hasLaterFields(f) ? [f.retryable ?? true, f.retryAfterMs ?? null, f.errors ?? []] : []),
      ];
    case 'head':
      return [KIND.head, f.stream, f.status, f.headers];
    case 'chunk':
      return [KIND.chunk, f.stream, f.bytes, f.end];
    case 'input':
      return [KIND.input, f.stream, f.bytes, f.end];
    case 'credit':
      return [KIND.credit, f.stream, f.bytes];
    case 'cancel':
      return [KIND.cancel, f.stream, f.reason];
    case 'ping':
      return [KIND.ping, f.nonce];
    case 'pong':
      return [KIND.pong, f.nonce];
    case 'log':
      return [
        KIND.log,
        f.stream,
        LOG_LEVELS.indexOf(f.level),
        f.text,
        ...(f.cut === undefined ? [] : [f.cut]),
      ];
    case 'hello':
      return [
        KIND.hello,
        f.version,
        f.credential,
        f.uid,
        f.proof,
        f.bootId,
        f.runtime,
        f.runtimeVersion,
        f.capacity,
        f.inFlight,
      ];
    case 'ready':
      return [KIND.ready, f.digest];
    case 'failed':
      return [KIND.failed, f.code, f.message];
    case 'draining':
      return [KIND.draining];
    case 'welcome':
      return [
        KIND.welcome,
        f.session,
        f.heartbeatMs,
        f.maxRequestBytes,
        f.maxResultBytes,
        f.windowBytes,
        f.logBytes,
        ...(f.inputSchema || f.outputSchema ? [f.inputSchema ?? '', f.outputSchema ?? ''] : []),
      ];
    case 'specialize':
      return [
        KIND.specialize,
        f.session,
        f.function,
        f.env,
        f.secrets,
        f.entry,
        f.digest,
        f.limits,
        ...(f.inputSchema || f.outputSchema ? [f.inputSchema ?? '', f.outputSchema ?? ''] : []),
      ];
    case 'code':
      return [KIND.code, f.digest, f.offset, f.bytes, f.end];
    case 'drain':
      return [KIND.drain, f.graceMs];
    case 'goaway':
      return [KIND.goaway, f.address, f.session];
  }
}

// ---- decoding ----------------------------------------------------------------------------------------------------

// Where the frame that was decoded last ended.
let frameEnd = 0;

/**
 * The frames of a message in their order, each handed to `take` before the next is decoded; `undefined` stands for a
 * kind unknown to this version, which is ignored. `take` returns false to stop.
 * @throws {FrameError} at the first that is malformed, and nothing else but what `take` throws.
 */
export function decodeEach(message: Uint8Array, take: (frame: Frame | undefined) => boolean): void {
  if (message.length > MAX_FRAME_BYTES)
    throw new FrameError(`longer than ${MAX_FRAME_BYTES} bytes`);
  let from = 0;
  do {
    const frame = decodeAt(message, from);
    from = frameEnd;
    if (!take(frame)) return;
  } while (from < message.length);
}

/**
 * The one frame in `bytes`; `undefined` when its kind is unknown to this version, which the caller ignores.
 * @throws {FrameError} and nothing else.
 */
export function decode(bytes: Uint8Array): Frame | undefined {
  if (bytes.length > MAX_FRAME_BYTES) throw new FrameError(`longer than ${MAX_FRAME_BYTES} bytes`);
  const frame = decodeAt(bytes, 0);
  if (frameEnd !== bytes.length) throw new FrameError('bytes after the frame');
  return frame;
}

function decodeAt(bytes: Uint8Array, from: number): Frame | undefined {
  const kind = bytes[from + 1];
  let frame: Frame | undefined;
  if (kind === KIND.result && bytes[from] === RESULT_ARRAY) frame = decodeResult(bytes, from);
  else if (kind === KIND.invoke && bytes[from] === INVOKE_ARRAY) frame = decodeInvoke(bytes, from);
  else if (kind === KIND.log && bytes[from] === LOG_ARRAY) frame = decodeLog(bytes, from);
  if (frame !== undefined) {
    frameEnd = endOfFrame;
    return frame;
  }
  return decodeGeneral(from === 0 ? bytes : bytes.subarray(from), from);
}

/** `decode` through the scan and msgpackr alone: what the shortcuts of hot-frames.ts are held to. */
export function decodeByMsgpackr(bytes: Uint8Array): Frame | undefined {
  const frame = decodeGeneral(bytes, 0);
  if (frameEnd !== bytes.length) throw new FrameError('bytes after the frame');
  return frame;
}

/** The first frame of `bytes`, which begin at `offset` of their message. */
function decodeGeneral(bytes: Uint8Array, offset: number): Frame | undefined {
  const length = scan(bytes);
  frameEnd = offset + length;
  let fields: unknown;
  try {
    fields = unpackr.unpack(length === bytes.length ? bytes : bytes.subarray(0, length));
  } catch (error) {
    // Not reachable as far as fuzzing knows; the scan is meant to be the stricter of the two.
    throw new FrameError(`msgpack: ${error instanceof Error ? error.message : String(error)}`);
  }
  return toFrame(fields as readonly unknown[]);
}

function toFrame(a: readonly unknown[]): Frame | undefined {
  switch (a[0]) {
    case KIND.result:
      return {
        kind: 'result',
        stream: uint(a, 1),
        outcome: member(a, 2, OUTCOMES) as Outcome,
        code: token(a, 3),
        message: text(a, 4),
        body: a[5] === null || a[5] === undefined ? null : piece(a, 5),
        // Of a result that says no more, none of them is there.
        ...(a.length > 6 && {
          retryable: bool(a, 6),
          retryAfterMs: a[7] === null || a[7] === undefined ? null : uint(a, 7),
          errors: a[8] === undefined ? [] : pairs(a, 8),
        }),
      };
    case KIND.invoke:
      return {
        kind: 'invoke',
        stream: stream(a, 1),
        executionId: token(a, 2),
        attempt: uint(a, 3),
        budgetMs: uint(a, 4),
        form: member(a, 5, FORMS) as Form,
        method: token(a, 6),
        target: long(a, 7),
        headers: pairs(a, 8),
        body: piece(a, 9),
        more: bool(a, 10),
      };
    case KIND.head: {
      const status = uint(a, 2);
      if (status < 200 || status > 599) throw new FrameError('field 2: status outside 200 to 599');
      return { kind: 'head', stream: stream(a, 1), status, headers: pairs(a, 3) };
    }
    case KIND.chunk:
      return { kind: 'chunk', stream: stream(a, 1), bytes: piece(a, 2), end: bool(a, 3) };
    case KIND.input:
      return { kind: 'input', stream: stream(a, 1), bytes: piece(a, 2), end: bool(a, 3) };
    case KIND.credit:
      return { kind: 'credit', stream: stream(a, 1), bytes: uint(a, 2) };
    case KIND.cancel:
      return { kind: 'cancel', stream: stream(a, 1), reason: token(a, 2) };
    case KIND.ping:
      return { kind: 'ping', nonce: uint(a, 1) };
    case KIND.pong:
      return { kind: 'pong', nonce: uint(a, 1) };
    case KIND.log:
      return {
        kind: 'log',
        stream: stream(a, 1),
        level: member(a, 2, LOG_LEVELS) as LogLevel,
        text: text(a, 3),
        ...(a.length > 4 && { cut: bool(a, 4) }),
      };
    case KIND.hello:
      return {
        kind: 'hello',
        version: uint(a, 1),
        credential: token(a, 2),
        uid: token(a, 3),
        proof: token(a, 4),
        bootId: token(a, 5),
        runtime: token(a, 6),
        runtimeVersion: token(a, 7),
        capacity: uint(a, 8),
        inFlight: uint(a, 9),
      };
    case KIND.ready:
      return { kind: 'ready', digest: token(a, 1) };
    case KIND.failed:
      return { kind: 'failed', code: token(a, 1), message: text(a, 2) };
    case KIND.draining:
      return { kind: 'draining' };
    case KIND.welcome:
      return {
        kind: 'welcome',
        session: token(a, 1),
        heartbeatMs: uint(a, 2),
        maxRequestBytes: uint(a, 3),
        maxResultBytes: uint(a, 4),
        windowBytes: uint(a, 5),
        logBytes: uint(a, 6),
        ...(a.length > 7 && {
          inputSchema: long(a, 7),
          outputSchema: a[8] === undefined ? '' : long(a, 8),
        }),
      };
    case KIND.specialize:
      return {
        kind: 'specialize',
        session: token(a, 1),
        function: token(a, 2),
        env: pairs(a, 3),
        secrets: pairs(a, 4),
        entry: long(a, 5),
        digest: token(a, 6),
        limits: pairs(a, 7),
        ...((a[8] !== undefined || a[9] !== undefined) && {
          inputSchema: a[8] === undefined ? '' : long(a, 8),
          outputSchema: a[9] === undefined ? '' : long(a, 9),
        }),
      };
    case KIND.code:
      return {
        kind: 'code',
        digest: token(a, 1),
        offset: uint(a, 2),
        bytes: piece(a, 3),
        end: bool(a, 4),
      };
    case KIND.drain:
      return { kind: 'drain', graceMs: uint(a, 1) };
    case KIND.goaway:
      return { kind: 'goaway', address: token(a, 1), session: token(a, 2) };
    default:
      if (typeof a[0] !== 'number') throw new FrameError('field 0: kind is not a number');
      return undefined;
  }
}

// ---- fields (C2) -------------------------------------------------------------------------------------------------

function wrong(field: number, wanted: string): FrameError {
  return new FrameError(`field ${field}: not ${wanted}`);
}

function uint(a: readonly unknown[], i: number): number {
  const v = a[i];
  if (typeof v !== 'number') throw wrong(i, 'an unsigned integer');
  return v;
}

function stream(a: readonly unknown[], i: number): number {
  const v = uint(a, i);
  if (v === 0) throw wrong(i, 'a stream number');
  return v;
}

function bool(a: readonly unknown[], i: number): boolean {
  const v = a[i];
  if (typeof v !== 'boolean') throw wrong(i, 'a boolean');
  return v;
}

function bounded(a: readonly unknown[], i: number, max: number): string {
  const v = a[i];
  if (typeof v !== 'string') throw wrong(i, 'a string');
  if (v.length > max) throw wrong(i, `a string of at most ${max} characters`);
  return v;
}

const token = (a: readonly unknown[], i: number) => bounded(a, i, MAX_TOKEN_CHARS);
const text = (a: readonly unknown[], i: number) => bounded(a, i, MAX_TEXT_CHARS);
const long = (a: readonly unknown[], i: number) => bounded(a, i, MAX_FRAME_BYTES);

function piece(a: readonly unknown[], i: number): Uint8Array {
  const v = a[i];
  if (!(v instanceof Uint8Array)) throw wrong(i, 'a binary');
  if (v.length > INLINE_BODY_BYTES) throw wrong(i, `at most ${INLINE_BODY_BYTES} bytes`);
  return v;
}

function member(a: readonly unknown[], i: number, list: readonly string[]): string {
  const v = list[uint(a, i)];
  if (v === undefined) throw wrong(i, `one of ${list.join(', ')}`);
  return v;
}

function pairs(a: readonly unknown[], i: number): HeaderPairs {
  const v = a[i];
  if (!Array.isArray(v)) throw wrong(i, 'a list of pairs');
  for (const pair of v) {
    if (
      !Array.isArray(pair) ||
      pair.length !== 2 ||
      typeof pair[0] !== 'string' ||
      typeof pair[1] !== 'string'
    ) {
      throw wrong(i, 'a list of pairs of strings');
    }
  }
  return v as unknown as HeaderPairs;
}

// ---- scan (C1) ---------------------------------------------------------------------------------------------------

// Elements still to come at each depth of the array being walked; module-level because scan is synchronous and hot.
const open = new Float64Array(MAX_FRAME_DEPTH + 1);

/** Walks the msgpack value that `b` begins with, throws unless it is within all bounds, and returns its length. */
function scan(b: Uint8Array): number {
  const end = b.length;
  if (end === 0) throw new FrameError('empty');
  const first = b[0] as number;
  if ((first & 0xf0) !== 0x90 && first !== 0xdc && first !== 0xdd)
    throw new FrameError('not an array');
  if (first === 0x90) throw new FrameError('empty array');

  let p = 0;
  let depth = 0;
  let elements = 0;
  open[0] = 1;
  while (depth >= 0) {
    if (open[depth] === 0) {
      depth--;
      continue;
    }
    open[depth] = (open[depth] as number) - 1;
    if (p >= end) throw new FrameError('truncated');
    const t = b[p] as number;
    let length = 0;
    if (t <= 0x7f) {
      p += 1;
    } else if (t >= 0xa0 && t <= 0xbf) {
      p += 1 + (t & 0x1f);
    } else if ((t & 0xf0) === 0x90 || t === 0xdc || t === 0xdd) {
      if (t === 0xdc) {
        length = be(b, p + 1, 2, end);
        p += 3;
      } else if (t === 0xdd) {
        length = be(b, p + 1, 4, end);
        p += 5;
      } else {
        length = t & 0x0f;
        p += 1;
      }
      elements += length;
      if (elements > MAX_FRAME_ELEMENTS)
        throw new FrameError(`more than ${MAX_FRAME_ELEMENTS} elements`);
      depth++;
      if (depth > MAX_FRAME_DEPTH) throw new FrameError(`deeper than ${MAX_FRAME_DEPTH} arrays`);
      open[depth] = length;
    } else {
      switch (t) {
        case 0xc0: // nil
        case 0xc2: // false
        case 0xc3: // true
          p += 1;
          break;
        case 0xc4: // bin 8
        case 0xd9: // str 8
          p += 2 + be(b, p + 1, 1, end);
          break;
        case 0xc5: // bin 16
        case 0xda: // str 16
          p += 3 + be(b, p + 1, 2, end);
          break;
        case 0xc6: // bin 32
        case 0xdb: // str 32
          p += 5 + be(b, p + 1, 4, end);
          break;
        case 0xcc: // uint 8
          p += 2;
          break;
        case 0xcd: // uint 16
          p += 3;
          break;
        case 0xce: // uint 32
          p += 5;
          break;
        case 0xcb: {
          // float 64: how msgpackr writes integers past 32 bits; only a whole, safe, non-negative one passes.
          if (p + 9 > end) throw new FrameError('truncated');
          const v = new DataView(b.buffer, b.byteOffset + p + 1, 8).getFloat64(0);
          if (!Number.isSafeInteger(v) || v < 0 || Object.is(v, -0))
            throw new FrameError('a number that is not an unsigned integer');
          p += 9;
          break;
        }
        case 0xcf:
          // uint 64: msgpackr would make a BigInt of a large one. The upper half must leave a safe integer.
          if (be(b, p + 1, 4, end) > 0x1fffff) throw new FrameError('an integer past 2^53');
          p += 9;
          break;
        default:
          throw new FrameError(`type 0x${t.toString(16)} is not allowed`);
      }
    }
    if (p > end) throw new FrameError('truncated');
  }
  return p;
}

function be(b: Uint8Array, at: number, size: 1 | 2 | 4, end: number): number {
  if (at + size > end) throw new FrameError('truncated');
  if (size === 1) return b[at] as number;
  if (size === 2) return ((b[at] as number) << 8) | (b[at + 1] as number);
  return (
    (b[at] as number) * 0x1000000 +
    (((b[at + 1] as number) << 16) | ((b[at + 2] as number) << 8) | (b[at + 3] as number))
  );
}

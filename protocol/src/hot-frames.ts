/**
 * `invoke` and `result` by hand: the two frames of every warm invocation; and `log`, for a handler that prints in each. Through msgpackr they cost several times as
 * much (docs/adr/0003-hot-frames.md has the numbers), most of it for values in between that nobody wants: the array of
 * fields, a DataView for each message, a scan before.
 *
 * These are shortcuts, not a second codec: the bytes are the same that msgpackr writes, and whatever is out of the
 * ordinary (a long string, text that is not ASCII, an unexpected type, any length that does not fit) makes them return
 * undefined, and codec.ts does it the long way, which is the one that judges.
 */
import {
  FORMS,
  type Form,
  type HeaderPairs,
  type Invoke,
  KIND,
  LOG_LEVELS,
  type Log,
  OUTCOMES,
  type Result,
} from './frames.ts';
import { INLINE_BODY_BYTES } from './limits.ts';

/** Their first bytes: an array of so many elements, and the kind. */
export const RESULT_ARRAY = 0x96;
export const INVOKE_ARRAY = 0x9b;
export const LOG_ARRAY = 0x94;

// ---- writing -----------------------------------------------------------------------------------------------------

/** Frames are cut from slabs: an allocation each would cost more than writing them. */
const SLAB_BYTES = 131_072;
/** Room that a frame's fixed fields, prefixes and short strings never exceed, its body and headers apart. */
const FIXED_BYTES = 64;
const MAX_SHORT_STRING = 255;

let slab = new Uint8Array(SLAB_BYTES);
let start = 0;
let at = 0;

/** Makes room for a frame of at most `bytes`; false where it would not fit any slab. */
function begin(bytes: number): boolean {
  if (bytes > SLAB_BYTES) return false;
  if (start + bytes > SLAB_BYTES) {
    slab = new Uint8Array(SLAB_BYTES);
    start = 0;
  }
  at = start;
  return true;
}

function finish(): Uint8Array {
  const frame = slab.subarray(start, at);
  start = at;
  return frame;
}

function writeUint(value: number): void {
  if (value <= 0x7f) {
    slab[at++] = value;
  } else if (value <= 0xff) {
    slab[at++] = 0xcc;
    slab[at++] = value;
  } else if (value <= 0xffff) {
    slab[at++] = 0xcd;
    slab[at++] = value >>> 8;
    slab[at++] = value;
  } else {
    slab[at++] = 0xce;
    slab[at++] = value >>> 24;
    slab[at++] = value >>> 16;
    slab[at++] = value >>> 8;
    slab[at++] = value;
  }
}

/** False, with nothing decided, for text that is long or not ASCII. */
function writeString(text: string): boolean {
  const { length } = text;
  if (length <= 31) {
    slab[at++] = 0xa0 | length;
  } else if (length <= MAX_SHORT_STRING) {
    slab[at++] = 0xd9;
    slab[at++] = length;
  } else {
    return false;
  }
  for (let i = 0; i < length; i++) {
    const c = text.charCodeAt(i);
    if (c > 0x7f) return false;
    slab[at++] = c;
  }
  return true;
}

function writeBytes(bytes: Uint8Array): void {
  const { length } = bytes;
  if (length <= 0xff) {
    slab[at++] = 0xc4;
  } else if (length <= 0xffff) {
    slab[at++] = 0xc5;
    slab[at++] = length >>> 8;
  } else {
    slab[at++] = 0xc6;
    slab[at++] = length >>> 24;
    slab[at++] = length >>> 16;
    slab[at++] = length >>> 8;
  }
  slab[at++] = length;
  slab.set(bytes, at);
  at += length;
}

const isUint32 = (value: number): boolean => value >>> 0 === value;

/**
 * The bytes of an `invoke` with these fields, or undefined where it is not of the ordinary kind.
 * `traceparent` stands before the headers as one more, unless it is empty.
 */
export function encodeInvokeFields(
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
): Uint8Array | undefined {
  const count = headers.length + (traceparent === '' ? 0 : 1);
  // A prefix and at most MAX_SHORT_STRING bytes for each string; more makes writeString give up.
  const strings = (3 + count * 2) * (2 + MAX_SHORT_STRING);
  if (count > 15 || !begin(FIXED_BYTES + strings + body.length)) return undefined;
  if (!isUint32(stream) || !isUint32(attempt) || !isUint32(budgetMs)) return undefined;
  slab[at++] = INVOKE_ARRAY;
  slab[at++] = KIND.invoke;
  writeUint(stream);
  if (!writeString(executionId)) return undefined;
  writeUint(attempt);
  writeUint(budgetMs);
  slab[at++] = form === 'raw' ? 1 : 0;
  if (!writeString(method) || !writeString(target)) return undefined;
  slab[at++] = 0x90 | count;
  if (traceparent !== '') {
    slab[at++] = 0x92;
    if (!writeString('traceparent') || !writeString(traceparent)) return undefined;
  }
  for (const pair of headers) {
    slab[at++] = 0x92;
    if (!writeString(pair[0]) || !writeString(pair[1])) return undefined;
  }
  writeBytes(body);
  slab[at++] = more ? 0xc3 : 0xc2;
  return finish();
}

/** The frame's bytes, or undefined where it is not of the ordinary kind. */
export function encodeInvoke(f: Invoke): Uint8Array | undefined {
  const { stream, executionId, attempt, budgetMs, form, method, target, headers, body, more } = f;
  return encodeInvokeFields(
    stream,
    executionId,
    attempt,
    budgetMs,
    form,
    method,
    target,
    '',
    headers,
    body,
    more,
  );
}

/** Whether a result says more than how the attempt ended: an ordinary one does not, and is shorter for it. */
export function hasLaterFields(f: Result): boolean {
  return f.retryable !== undefined || f.retryAfterMs !== undefined || f.errors !== undefined;
}

/** The frame's bytes, or undefined where it is not of the ordinary kind. */
export function encodeResult(f: Result): Uint8Array | undefined {
  if (hasLaterFields(f)) return undefined;
  const size = f.body === null ? 0 : f.body.length;
  if (!isUint32(f.stream) || !begin(FIXED_BYTES + 2 * (2 + MAX_SHORT_STRING) + size)) {
    return undefined;
  }
  slab[at++] = RESULT_ARRAY;
  slab[at++] = KIND.result;
  writeUint(f.stream);
  slab[at++] = OUTCOMES.indexOf(f.outcome);
  if (!writeString(f.code) || !writeString(f.message)) return undefined;
  if (f.body === null) slab[at++] = 0xc0;
  else writeBytes(f.body);
  return finish();
}

/** The frame's bytes, or undefined where it is not of the ordinary kind. */
export function encodeLog(f: Log): Uint8Array | undefined {
  if (f.cut !== undefined || !isUint32(f.stream)) return undefined;
  if (!begin(FIXED_BYTES + 2 + MAX_SHORT_STRING)) return undefined;
  slab[at++] = LOG_ARRAY;
  slab[at++] = KIND.log;
  writeUint(f.stream);
  slab[at++] = LOG_LEVELS.indexOf(f.level);
  return writeString(f.text) ? finish() : undefined;
}

// ---- reading -----------------------------------------------------------------------------------------------------

// The message being read, its end, and whether all that was read so far was in bounds and of the expected type. One
// flag checked at the end: past the end every read gives 0, so nothing runs away meanwhile.
let source: Uint8Array = new Uint8Array(0);
let position = 0;
let sound = true;

function byte(): number {
  if (position >= source.length) {
    sound = false;
    return 0;
  }
  return source[position++] as number;
}

function readUint(): number {
  const t = byte();
  if (t <= 0x7f) return t;
  switch (t) {
    case 0xcc:
      return byte();
    case 0xcd:
      return byte() * 0x100 + byte();
    case 0xce:
      return byte() * 0x1000000 + byte() * 0x10000 + byte() * 0x100 + byte();
    default:
      sound = false;
      return 0;
  }
}

// Buffer's own method, without a Buffer for each message.
const utf8Slice = (
  Buffer.prototype as unknown as {
    utf8Slice(this: Uint8Array, from: number, to: number): string;
  }
).utf8Slice;

function readString(): string {
  const t = byte();
  let length: number;
  if ((t & 0xe0) === 0xa0) length = t & 0x1f;
  else if (t === 0xd9) length = byte();
  else {
    sound = false;
    return '';
  }
  if (length === 0) return '';
  const from = position;
  position += length;
  if (position > source.length) {
    sound = false;
    return '';
  }
  return utf8Slice.call(source, from, position);
}

const EMPTY = new Uint8Array(0);

function readBytes(): Uint8Array {
  const t = byte();
  let length: number;
  if (t === 0xc4) length = byte();
  else if (t === 0xc5) length = byte() * 0x100 + byte();
  else if (t === 0xc6) length = byte() * 0x1000000 + byte() * 0x10000 + byte() * 0x100 + byte();
  else {
    sound = false;
    return EMPTY;
  }
  const from = position;
  position += length;
  if (position > source.length || length > INLINE_BODY_BYTES) {
    sound = false;
    return EMPTY;
  }
  return source.subarray(from, position);
}

function readBoolean(): boolean {
  const t = byte();
  if (t !== 0xc2 && t !== 0xc3) sound = false;
  return t === 0xc3;
}

function readPairs(): HeaderPairs {
  const t = byte();
  if ((t & 0xf0) !== 0x90) {
    sound = false;
    return [];
  }
  const pairs: [string, string][] = [];
  for (let i = t & 0x0f; i > 0 && sound; i--) {
    if (byte() !== 0x92) sound = false;
    pairs.push([readString(), readString()]);
  }
  return pairs;
}

/** Where the frame that was read last ended. */
export let endOfFrame = 0;

/** Whether all that was read was sound; lets go of the message. */
function complete(): boolean {
  endOfFrame = position;
  source = EMPTY;
  return sound;
}

function open(bytes: Uint8Array, from: number): void {
  source = bytes;
  position = from + 2;
  sound = true;
}

/** The frame at `from`, where it is an ordinary `result`; its binaries are views of `bytes`. */
export function decodeResult(bytes: Uint8Array, from: number): Result | undefined {
  open(bytes, from);
  const stream = readUint();
  const outcome = OUTCOMES[byte()];
  const code = readString();
  const message = readString();
  let body: Uint8Array | null = null;
  if (source[position] === 0xc0) position++;
  else body = readBytes();
  if (!complete() || outcome === undefined) return undefined;
  return { kind: 'result', stream, outcome, code, message, body };
}

/** The frame at `from`, where it is an ordinary `invoke`; its binaries are views of `bytes`. */
export function decodeInvoke(bytes: Uint8Array, from: number): Invoke | undefined {
  open(bytes, from);
  const stream = readUint();
  const executionId = readString();
  const attempt = readUint();
  const budgetMs = readUint();
  const form = FORMS[byte()];
  const method = readString();
  const target = readString();
  const headers = readPairs();
  const body = readBytes();
  const more = readBoolean();
  if (!complete() || form === undefined || stream === 0) return undefined;
  return {
    kind: 'invoke',
    stream,
    executionId,
    attempt,
    budgetMs,
    form,
    method,
    target,
    headers,
    body,
    more,
  };
}

/** The frame at `from`, where it is an ordinary `log`. */
export function decodeLog(bytes: Uint8Array, from: number): Log | undefined {
  open(bytes, from);
  const stream = readUint();
  const level = LOG_LEVELS[byte()];
  const text = readString();
  if (!complete() || level === undefined || stream === 0) return undefined;
  return { kind: 'log', stream, level, text };
}

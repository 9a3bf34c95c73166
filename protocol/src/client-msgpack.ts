/**
 * The msgpack spelling of client messages: one map from names to values. Read and written here and not by a library, since
 * the client that browsers load has it as well: it is a twentieth of msgpackr's size and needs no `eval`.
 *
 * Invariants:
 *  C1. Nothing is made that the bytes given do not hold: every length lies within them, and depth and element count are
 *      bounded, before a string, list or map is made of it.
 *  C2. Only nil, booleans, unsigned integers, strings, binaries, lists and maps with names are taken.
 *  C3. Binaries are views of the bytes given; whoever keeps one copies it.
 *  C4. Names that a message does not have are ignored, so that a later minor version may add some.
 */
import { fieldsOf, type Spelling, toMessage } from './client-fields.ts';
import { MAX_BINARY_BYTES, MessageError, type StreamMessage } from './client-messages.ts';

const MAX_DEPTH = 4;
const MAX_ELEMENTS = 8_192;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

// ---- reading -----------------------------------------------------------------------------------------------------

// Where the reader is: it is synchronous, and a message is read at a time.
let bytes: Uint8Array;
let at = 0;
let elements = 0;

const SPELLING: Spelling = {
  json: (_name, value) => (value instanceof Uint8Array ? value : undefined),
  bytes: (value) => (value instanceof Uint8Array ? value : undefined),
};

/** @throws {MessageError} and nothing else. */
export function decodeMsgpack(message: Uint8Array): StreamMessage {
  if (message.length > MAX_BINARY_BYTES) {
    throw new MessageError(`longer than ${MAX_BINARY_BYTES} bytes`);
  }
  bytes = message;
  at = 0;
  elements = 0;
  const first = message[0];
  if (first === undefined) throw new MessageError('empty');
  if ((first & 0xf0) !== 0x80 && first !== 0xde && first !== 0xdf) {
    throw new MessageError('not a map');
  }
  const map = readValue(0) as ReadonlyMap<string, unknown>;
  if (at !== message.length) throw new MessageError('bytes after the message');
  return toMessage(map.get('type'), (name) => map.get(name), SPELLING);
}

function readValue(depth: number): unknown {
  const t = uint(1);
  if (t <= 0x7f) return t;
  if (t <= 0x8f) return readMap(t & 0x0f, depth);
  if (t <= 0x9f) return readList(t & 0x0f, depth);
  if (t <= 0xbf) return readString(t & 0x1f);
  switch (t) {
    case 0xc0:
      return null;
    case 0xc2:
      return false;
    case 0xc3:
      return true;
    case 0xc4:
      return take(uint(1));
    case 0xc5:
      return take(uint(2));
    case 0xc6:
      return take(uint(4));
    case 0xca:
    case 0xcb: {
      const size = t === 0xca ? 4 : 8;
      const piece = take(size);
      const view = new DataView(piece.buffer, piece.byteOffset, size);
      return whole(size === 4 ? view.getFloat32(0) : view.getFloat64(0));
    }
    case 0xcc:
      return uint(1);
    case 0xcd:
      return uint(2);
    case 0xce:
      return uint(4);
    case 0xcf:
      return whole(uint(4) * 0x1_0000_0000 + uint(4));
    // How some write an integer that fits: signed.
    case 0xd0:
      return positive(uint(1), 0x80);
    case 0xd1:
      return positive(uint(2), 0x8000);
    case 0xd2:
      return positive(uint(4), 0x8000_0000);
    case 0xd3:
      return whole(positive(uint(4), 0x8000_0000) * 0x1_0000_0000 + uint(4));
    case 0xd9:
      return readString(uint(1));
    case 0xda:
      return readString(uint(2));
    case 0xdb:
      return readString(uint(4));
    case 0xdc:
      return readList(uint(2), depth);
    case 0xdd:
      return readList(uint(4), depth);
    case 0xde:
      return readMap(uint(2), depth);
    case 0xdf:
      return readMap(uint(4), depth);
    default:
      throw new MessageError(`type 0x${t.toString(16)} is not allowed`);
  }
}

function positive(value: number, sign: number): number {
  if (value >= sign) throw new MessageError('a negative number');
  return value;
}

function whole(value: number): number {
  if (!Number.isSafeInteger(value) || value < 0 || Object.is(value, -0)) {
    throw new MessageError('a number that is not an unsigned integer of 53 bits');
  }
  return value;
}

/** C1 */
function enter(length: number, each: number, depth: number): void {
  if (depth >= MAX_DEPTH) throw new MessageError(`deeper than ${MAX_DEPTH} levels`);
  elements += length * each;
  if (elements > MAX_ELEMENTS) throw new MessageError(`more than ${MAX_ELEMENTS} elements`);
  if (length * each > bytes.length - at) throw new MessageError('truncated');
}

function readList(length: number, depth: number): unknown[] {
  enter(length, 1, depth);
  const list: unknown[] = [];
  for (let i = 0; i < length; i++) list.push(readValue(depth + 1));
  return list;
}

function readMap(length: number, depth: number): Map<string, unknown> {
  enter(length, 2, depth);
  const map = new Map<string, unknown>();
  for (let i = 0; i < length; i++) {
    const name = readValue(depth + 1);
    if (typeof name !== 'string') throw new MessageError('a name that is not a string');
    map.set(name, readValue(depth + 1));
  }
  return map;
}

/** Short ASCII, as nearly all are, without a call into the decoder. */
const SHORT_CHARS = 64;

function readString(length: number): string {
  const piece = take(length);
  if (length <= SHORT_CHARS) {
    let text = '';
    for (let i = 0; i < length; i++) {
      const c = piece[i] as number;
      if (c >= 0x80) return decoded(piece);
      text += String.fromCharCode(c);
    }
    return text;
  }
  return decoded(piece);
}

function decoded(piece: Uint8Array): string {
  try {
    return decoder.decode(piece);
  } catch {
    throw new MessageError('a string that is not UTF-8');
  }
}

function take(length: number): Uint8Array {
  if (length > bytes.length - at) throw new MessageError('truncated');
  const piece = bytes.subarray(at, at + length);
  at += length;
  return piece;
}

function uint(size: number): number {
  if (size > bytes.length - at) throw new MessageError('truncated');
  let value = 0;
  for (let i = 0; i < size; i++) value = value * 256 + (bytes[at++] as number);
  return value;
}

// ---- writing -----------------------------------------------------------------------------------------------------

const UTF8_BYTES_PER_CHAR = 3;
const LONGEST_PREFIX = 9;

let out: Uint8Array;

/** As a binary WebSocket message, in memory of its own; its length is the caller's to look at. */
export function encodeMsgpack(message: StreamMessage): Uint8Array {
  const values: (readonly [string, unknown])[] = [['type', message.type]];
  let bound = LONGEST_PREFIX + sizeBound('type') + sizeBound(message.type);
  for (const [name, kind] of fieldsOf(message.type) ?? []) {
    let value = (message as unknown as Readonly<Record<string, unknown>>)[name];
    if (value === undefined) continue;
    if (kind.startsWith('json') && typeof value === 'string') value = encoder.encode(value);
    values.push([name, value]);
    bound += sizeBound(name) + sizeBound(value);
  }
  out = new Uint8Array(bound);
  at = 0;
  writeLength(values.length, 0x80, 0x0f, 0xde);
  for (const [name, value] of values) {
    writeValue(name);
    writeValue(value);
  }
  return out.subarray(0, at);
}

function sizeBound(value: unknown): number {
  if (typeof value === 'string') return LONGEST_PREFIX + value.length * UTF8_BYTES_PER_CHAR;
  if (value instanceof Uint8Array) return LONGEST_PREFIX + value.length;
  if (!Array.isArray(value)) return LONGEST_PREFIX;
  return value.reduce((sum: number, one) => sum + sizeBound(one), LONGEST_PREFIX);
}

function writeValue(value: unknown): void {
  if (typeof value === 'string') writeString(value);
  else if (typeof value === 'number') writeUint(value);
  else if (typeof value === 'boolean') out[at++] = value ? 0xc3 : 0xc2;
  else if (value instanceof Uint8Array) {
    if (value.length <= 0xff) put(0xc4, value.length, 1);
    else if (value.length <= 0xffff) put(0xc5, value.length, 2);
    else put(0xc6, value.length, 4);
    out.set(value, at);
    at += value.length;
  } else {
    const list = value as readonly unknown[];
    writeLength(list.length, 0x90, 0x0f, 0xdc);
    list.forEach(writeValue);
  }
}

/** Of what has a short form, then one of 16 and one of 32 bits. */
function writeLength(length: number, short: number, max: number, long: number): void {
  if (length <= max) out[at++] = short | length;
  else if (length <= 0xffff) put(long, length, 2);
  else put(long + 1, length, 4);
}

function writeString(text: string): void {
  // Written where it belongs if it is short and ASCII; else behind the longest prefix, and moved.
  if (text.length <= 0x1f) {
    const start = at;
    out[at++] = 0xa0 | text.length;
    let i = 0;
    for (; i < text.length; i++) {
      const c = text.charCodeAt(i);
      if (c >= 0x80) break;
      out[at++] = c;
    }
    if (i === text.length) return;
    at = start;
  }
  const { written } = encoder.encodeInto(text, out.subarray(at + 5));
  const from = at + 5;
  if (written <= 0x1f) out[at++] = 0xa0 | written;
  else if (written <= 0xff) put(0xd9, written, 1);
  else if (written <= 0xffff) put(0xda, written, 2);
  else put(0xdb, written, 4);
  out.copyWithin(at, from, from + written);
  at += written;
}

function writeUint(value: number): void {
  if (value <= 0x7f) out[at++] = value;
  else if (value <= 0xff) put(0xcc, value, 1);
  else if (value <= 0xffff) put(0xcd, value, 2);
  else if (value <= 0xffff_ffff) put(0xce, value, 4);
  else {
    put(0xcf, Math.floor(value / 0x1_0000_0000), 4);
    big(value % 0x1_0000_0000, 4);
  }
}

function put(type: number, value: number, size: number): void {
  out[at++] = type;
  big(value, size);
}

function big(value: number, size: number): void {
  for (let i = size - 1; i >= 0; i--) out[at++] = Math.floor(value / 256 ** i) % 256;
}

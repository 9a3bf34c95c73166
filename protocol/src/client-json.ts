/**
 * The JSON spelling of client messages. JSON payloads are cut out of the text and put into it as they are: a number keeps all
 * its digits, and however deep a payload nests, nothing walks it but the parser.
 */
import { fieldsOf, type Spelling, toMessage } from './client-fields.ts';
import {
  type JsonText,
  MAX_TEXT_BYTES,
  MessageError,
  type StreamMessage,
} from './client-messages.ts';

const utf8 = new TextDecoder();

/** As text of a WebSocket message; its length is the caller's to look at. */
export function encodeJson(message: StreamMessage): string {
  let text = `{"type":"${message.type}"`;
  for (const [name, kind] of fieldsOf(message.type) ?? []) {
    const value = (message as unknown as Readonly<Record<string, unknown>>)[name];
    if (value === undefined) continue;
    text += `,"${name}":`;
    if (kind.startsWith('json')) text += textOf(value as JsonText);
    else if (kind.startsWith('bytes')) text += `"${toBase64(value as Uint8Array)}"`;
    else text += JSON.stringify(value);
  }
  return `${text}}`;
}

/** @throws {MessageError} and nothing else. */
export function decodeJson(text: string): StreamMessage {
  // Of UTF-8's bytes there are as many at least.
  if (text.length > MAX_TEXT_BYTES) throw new MessageError(`longer than ${MAX_TEXT_BYTES} bytes`);
  let object: Readonly<Record<string, unknown>>;
  try {
    object = JSON.parse(text);
  } catch (error) {
    throw new MessageError(`JSON: ${(error as Error).message}`);
  }
  if (typeof object !== 'object' || object === null || Array.isArray(object)) {
    throw new MessageError('not a JSON object');
  }
  let members: ReadonlyMap<string, string> | undefined;
  const spelling: Spelling = {
    json(name) {
      members ??= membersOf(text);
      return members.get(name);
    },
    bytes: (value) => (typeof value === 'string' ? fromBase64(value) : undefined),
  };
  const read = (name: string) => (Object.hasOwn(object, name) ? object[name] : undefined);
  return toMessage(read('type'), read, spelling);
}

export function textOf(json: JsonText): string {
  return typeof json === 'string' ? json : utf8.decode(json);
}

// ---- cutting -----------------------------------------------------------------------------------------------------

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const isOpen = (c: number): boolean => c === 0x7b || c === 0x5b;
const isClose = (c: number): boolean => c === 0x7d || c === 0x5d;
const isSpace = (c: number): boolean => c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09;

/** The text of each member of an object that JSON.parse has taken; of two of one name the last, as there. */
export function membersOf(text: string): ReadonlyMap<string, string> {
  const members = new Map<string, string>();
  let at = skipSpace(text, 0) + 1;
  for (;;) {
    at = skipSpace(text, at);
    if (text.charCodeAt(at) !== QUOTE) return members; // its end
    const keyEnd = skipString(text, at);
    const key = text.slice(at, keyEnd);
    at = skipSpace(text, keyEnd);
    if (text.charCodeAt(at) === COLON) at = skipSpace(text, at + 1);
    const end = skipValue(text, at);
    members.set(
      key.includes('\\') ? (JSON.parse(key) as string) : key.slice(1, -1),
      text.slice(at, end),
    );
    at = skipSpace(text, end);
    if (text.charCodeAt(at) === COMMA) at++;
  }
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (isSpace(text.charCodeAt(at))) at++;
  return at;
}

/** Past the string whose first quote stands at `from`. */
function skipString(text: string, from: number): number {
  let at = from + 1;
  for (;;) {
    const c = text.charCodeAt(at);
    if (c === QUOTE) return at + 1;
    at += c === BACKSLASH ? 2 : 1;
  }
}

function skipValue(text: string, from: number): number {
  let depth = 0;
  let at = from;
  while (at < text.length) {
    const c = text.charCodeAt(at);
    if (c === QUOTE) {
      at = skipString(text, at);
      if (depth === 0) return at;
      continue;
    }
    if (isOpen(c)) depth++;
    else if (isClose(c)) {
      if (depth === 0) return at;
      depth--;
      if (depth === 0) return at + 1;
    } else if (depth === 0 && (c === COMMA || isSpace(c))) return at;
    at++;
  }
  return at;
}

// ---- base64 ------------------------------------------------------------------------------------------------------

// Browsers have no Buffer, and Node's atob is slow.
const hasBuffer = typeof Buffer === 'function';
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

export function toBase64(bytes: Uint8Array): string {
  if (hasBuffer) {
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
  }
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

/** undefined: it is no base64 (RFC 4648 4, padded). */
export function fromBase64(text: string): Uint8Array | undefined {
  if (!BASE64.test(text)) return undefined;
  if (hasBuffer) return Buffer.from(text, 'base64');
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

/** From named values to a message: the checks that both spellings share. A value is as its decoder gives it. */

import {
  FIELDS,
  type FieldKind,
  MAX_CLIENT_TOKEN_CHARS,
  MAX_HEADERS,
  MAX_TEXT_BYTES,
  MessageError,
  type StreamMessage,
} from './client-messages.ts';
import type { HeaderPairs } from './frames.ts';

/** The fields of a message, in the order they are written. */
export function fieldsOf(type: string): readonly (readonly [string, FieldKind])[] | undefined {
  return ENTRIES.get(type);
}

const ENTRIES: ReadonlyMap<string, readonly (readonly [string, FieldKind])[]> = new Map(
  Object.entries(FIELDS).map(([type, fields]) => [type, Object.entries(fields)]),
);

/** What a decoder reads of its own spelling: JSON text and bytes. */
export interface Spelling {
  /** undefined: it is none. */
  json(name: string, value: unknown): string | Uint8Array | undefined;
  bytes(value: unknown): Uint8Array | undefined;
}

/** @throws {MessageError} and nothing else, but what `spelling` throws. */
export function toMessage(
  type: unknown,
  read: (name: string) => unknown,
  spelling: Spelling,
): StreamMessage {
  const given = read('id');
  const id = isUint(given) ? given : 0;
  const fields = typeof type === 'string' ? ENTRIES.get(type) : undefined;
  if (fields === undefined) throw new MessageError('type: not one of a message', id);
  const message: Record<string, unknown> = { type };
  for (const [name, kind] of fields) {
    const value = read(name);
    // In JSON `null` is a payload as any other; else nil stands for nothing.
    const absent =
      value === undefined || (value === null && spelling.json(name, value) === undefined);
    if (absent || (value === null && !kind.startsWith('json'))) {
      if (!kind.endsWith('?')) fail(name, 'there', id);
      continue;
    }
    message[name] = check(name, kind, value, id, spelling);
  }
  return message as unknown as StreamMessage;
}

function check(name: string, kind: FieldKind, value: unknown, id: number, s: Spelling): unknown {
  switch (kind) {
    case 'id':
      return isUint(value) && value > 0 ? value : fail(name, 'a whole number from 1', id);
    case 'uint':
    case 'uint?':
      return isUint(value) ? value : fail(name, 'an unsigned whole number', id);
    case 'token':
    case 'token?':
      if (typeof value !== 'string') return fail(name, 'a string', id);
      if (value.length <= MAX_CLIENT_TOKEN_CHARS) return value;
      return fail(name, `a string of at most ${MAX_CLIENT_TOKEN_CHARS} characters`, id);
    case 'path':
      if (typeof value === 'string' && value.length <= MAX_TEXT_BYTES) return value;
      return fail(name, `a string of at most ${MAX_TEXT_BYTES} characters`, id);
    case 'bool?':
      return typeof value === 'boolean' ? value : fail(name, 'true or false', id);
    case 'pairs':
    case 'pairs?':
      return isPairs(value) ? value : fail(name, 'a list of pairs of strings', id);
    case 'json':
    case 'json?':
      return s.json(name, value) ?? fail(name, 'JSON', id);
    case 'bytes':
    case 'bytes?':
      return s.bytes(value) ?? fail(name, 'bytes', id);
  }
}

function fail(name: string, wanted: string, id: number): never {
  throw new MessageError(`${name}: not ${wanted}`, id);
}

function isUint(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isPairs(value: unknown): value is HeaderPairs {
  return (
    Array.isArray(value) &&
    value.length <= MAX_HEADERS &&
    value.every(
      (pair) =>
        Array.isArray(pair) &&
        pair.length === 2 &&
        typeof pair[0] === 'string' &&
        typeof pair[1] === 'string',
    )
  );
}

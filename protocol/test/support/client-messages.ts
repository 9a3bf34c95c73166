/** Arbitrary messages of every type of `/v1/stream`. */
import fc from 'fast-check';
import { FIELDS, type FieldKind, type StreamMessage } from '../../src/client-messages.ts';
import { uint } from './frames.ts';

// Whole code points only: a lone surrogate has no UTF-8 form.
const text = fc.oneof(fc.string({ maxLength: 80 }), fc.string({ unit: 'binary', maxLength: 300 }));
const json = fc.json({ maxDepth: 4 });

/** JSON payloads are text: what the spelling makes of it is its own. */
const KINDS: Readonly<Record<FieldKind, fc.Arbitrary<unknown>>> = {
  id: uint.map((n) => n || 1),
  uint,
  'uint?': fc.option(uint, { nil: undefined }),
  token: text,
  'token?': fc.option(text, { nil: undefined }),
  path: text,
  'bool?': fc.option(fc.boolean(), { nil: undefined }),
  pairs: fc.array(fc.tuple(text, text), { maxLength: 20 }),
  'pairs?': fc.option(fc.array(fc.tuple(text, text), { maxLength: 20 }), { nil: undefined }),
  json,
  'json?': fc.option(json, { nil: undefined }),
  bytes: fc.uint8Array({ maxLength: 400 }),
  'bytes?': fc.option(fc.uint8Array({ maxLength: 400 }), { nil: undefined }),
};

export const MESSAGE: fc.Arbitrary<StreamMessage> = fc.oneof(
  ...Object.entries(FIELDS).map(([type, fields]) =>
    fc
      .record(Object.fromEntries(Object.entries(fields).map(([name, kind]) => [name, KINDS[kind]])))
      .map((values) => ({ type, ...values }) as unknown as StreamMessage),
  ),
);

/** What is given of it, JSON payloads parsed and bytes as a list: two spellings of one message are alike. */
export function plain(message: StreamMessage): Record<string, unknown> {
  const fields = FIELDS[message.type] as Readonly<Record<string, FieldKind>>;
  return Object.fromEntries(
    Object.entries(message)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => {
        const kind = fields[name] ?? '';
        if (kind.startsWith('json')) {
          const given =
            typeof value === 'string' ? value : Buffer.from(value as Uint8Array).toString();
          return [name, JSON.parse(given)];
        }
        return [name, kind.startsWith('bytes') ? [...(value as Uint8Array)] : value];
      }),
  );
}

import fc from 'fast-check';
import { Packr, Unpackr } from 'msgpackr';
import t from 'tap';
import { decodeJson, encodeJson, membersOf } from '../src/client-json.ts';
import {
  FIELDS,
  type FieldKind,
  MAX_TEXT_BYTES,
  type StreamMessage,
} from '../src/client-messages.ts';
import { decodeMsgpack, encodeMsgpack } from '../src/client-msgpack.ts';
import { MESSAGE, plain } from './support/client-messages.ts';

const short = MESSAGE.filter((message) => encodeJson(message).length <= MAX_TEXT_BYTES);

t.test('a message survives a round trip', async (t) => {
  fc.assert(
    fc.property(short, (message) => {
      const [json, msgpack] = [
        decodeJson(encodeJson(message)),
        decodeMsgpack(encodeMsgpack(message)),
      ];
      t.same(plain(json), plain(message));
      t.same(plain(msgpack), plain(message));
    }),
    { numRuns: 2_000 },
  );
});

t.test('JSON payloads stand in the text as they are', async (t) => {
  const input = '{ "n": 12345678901234567890, "f": 1.50, "s": "\\u00e9 \\"}{" }';
  const text = `{ "type" : "invoke","id":1, "input":${input} ,"function":"f","input2":[1]}`;
  const message = decodeJson(text) as StreamMessage & { type: 'invoke' };
  t.equal(message.input, input);
  t.equal((decodeJson(encodeJson(message)) as typeof message).input, input);
  t.equal(
    (decodeJson('{"type":"invoke","id":1,"function":"f","input":null}') as typeof message).input,
    'null',
  );
  const deep = `${'['.repeat(30_000)}${']'.repeat(30_000)}`;
  const nested = decodeJson(`{"type":"invoke","id":1,"function":"f","input":${deep}}`);
  t.equal((nested as typeof message).input, deep);
});

t.test('members are cut out as JSON.parse reads them', async (t) => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), fc.jsonValue()),
      fc.nat({ max: 3 }),
      (object, indent) => {
        const text = JSON.stringify(object, null, indent);
        const cut = [...membersOf(text)].map(([name, member]) => [name, JSON.parse(member)]);
        const parsed = JSON.parse(text) as object;
        t.same(new Map(cut as [string, unknown][]), new Map(Object.entries(parsed)));
      },
    ),
    { numRuns: 1_000 },
  );
});

t.test('what a library writes is read, and the library reads what is written', async (t) => {
  const packr = new Packr({ useRecords: false, variableMapSize: true });
  const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' });
  fc.assert(
    fc.property(MESSAGE, (message) => {
      const fields = FIELDS[message.type] as Readonly<Record<string, FieldKind>>;
      const map = Object.fromEntries(
        Object.entries(message)
          .filter(([, value]) => value !== undefined)
          .map(([name, value]) => {
            const isJson = fields[name]?.startsWith('json') && typeof value === 'string';
            return [name, isJson ? Buffer.from(value as string) : value];
          }),
      );
      t.same(plain(decodeMsgpack(packr.pack(map))), plain(message));
      t.same(plain(unpackr.unpack(encodeMsgpack(message)) as StreamMessage), plain(message));
    }),
    { numRuns: 1_000 },
  );
});

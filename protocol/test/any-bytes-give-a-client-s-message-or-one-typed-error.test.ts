import fc from 'fast-check';
import t from 'tap';
import { decodeJson, encodeJson } from '../src/client-json.ts';
import {
  MAX_BINARY_BYTES,
  MAX_TEXT_BYTES,
  MessageError,
  type StreamMessage,
} from '../src/client-messages.ts';
import { decodeMsgpack, encodeMsgpack } from '../src/client-msgpack.ts';
import { MESSAGE } from './support/client-messages.ts';

/** The message, or null for the typed error; anything else is thrown on. */
function tried(decode: () => StreamMessage): StreamMessage | null {
  try {
    return decode();
  } catch (error) {
    if (error instanceof MessageError) return null;
    throw error;
  }
}

t.test('bytes', async (t) => {
  let taken = 0;
  const damaged = fc
    .tuple(MESSAGE, fc.nat(), fc.nat({ max: 255 }), fc.nat())
    .map(([message, at, byte, cut]) => {
      const bytes = encodeMsgpack(message).slice();
      bytes[at % bytes.length] = byte;
      return cut % 3 === 0 ? bytes.subarray(0, cut % bytes.length) : bytes;
    });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), damaged), (bytes) => {
      if (tried(() => decodeMsgpack(bytes)) !== null) taken++;
    }),
    { numRuns: 20_000 },
  );
  t.ok(taken > 100, `${taken} were messages all the same`);
});

t.test('text', async (t) => {
  let taken = 0;
  const damaged = fc
    .tuple(MESSAGE, fc.nat(), fc.string({ maxLength: 2 }))
    .map(([message, at, put]) => {
      const text = encodeJson(message);
      return text.slice(0, at % text.length) + put + text.slice((at % text.length) + 1);
    });
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json(), damaged), (text) => {
      if (tried(() => decodeJson(text)) !== null) taken++;
    }),
    { numRuns: 20_000 },
  );
  t.ok(taken > 100, `${taken} were messages all the same`);
});

t.test('a length that is claimed costs nothing', async (t) => {
  const before = process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed;
  for (const claim of [
    'dd01c9c380',
    'df01c9c380',
    'dbffffffff',
    'c6ffffffff',
    '81a474797065ddffffffff',
  ]) {
    t.equal(
      tried(() => decodeMsgpack(Buffer.from(claim, 'hex'))),
      null,
    );
    t.equal(
      tried(() => decodeMsgpack(Buffer.from(`81a474797065${claim}`, 'hex'))),
      null,
    );
  }
  const nested = Buffer.concat([Buffer.from('81a461616161', 'hex'), Buffer.alloc(1_000, 0x91)]);
  t.equal(
    tried(() => decodeMsgpack(nested)),
    null,
  );
  const used = process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed - before;
  t.ok(used < 2 ** 26, `${used} bytes`);
});

t.test('the limits hold at their edges', async (t) => {
  const ping = (length: number) => `{"type":"ping","x":"${'x'.repeat(length - 22)}"}`;
  t.equal(ping(MAX_TEXT_BYTES).length, MAX_TEXT_BYTES);
  t.same(
    tried(() => decodeJson(ping(MAX_TEXT_BYTES))),
    { type: 'ping' },
  );
  t.equal(
    tried(() => decodeJson(ping(MAX_TEXT_BYTES + 1))),
    null,
  );
  const data = (length: number) =>
    encodeMsgpack({ type: 'data', id: 1, bytes: new Uint8Array(length) });
  const most = MAX_BINARY_BYTES - (data(70_000).length - 70_000);
  t.equal(data(most).length, MAX_BINARY_BYTES);
  t.equal(tried(() => decodeMsgpack(data(most)))?.type, 'data');
  t.equal(
    tried(() => decodeMsgpack(data(most + 1))),
    null,
  );
});

t.test('the error names the request where the bytes do', async (t) => {
  for (const text of [
    '{"type":"invoke","id":7}',
    '{"type":"none","id":7}',
    '{"id":7,"type":"data","bytes":"?"}',
  ]) {
    t.throws(() => decodeJson(text), { id: 7, code: 'malformed_message' });
  }
  t.throws(() => decodeJson('{"type":"invoke","id":-1}'), { id: 0, code: 'malformed_message' });
});

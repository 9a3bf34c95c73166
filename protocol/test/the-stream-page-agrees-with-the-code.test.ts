import { readFileSync } from 'node:fs';
import t from 'tap';
import {
  BEARER_PROTOCOL,
  CLIENT_JSON,
  CLIENT_MSGPACK,
  CLIENT_WINDOW_BYTES,
  FIELDS,
  MAX_BINARY_BYTES,
  MAX_TEXT_BYTES,
  STREAM_CLOSE,
  STREAM_PATH,
  TEXT_PIECE_BYTES,
} from '../src/client-messages.ts';

const page = readFileSync(new URL('../../docs/stream.md', import.meta.url), 'utf8');
/** All that stands as code on the page, each piece by itself. */
const told = new Set(
  [...page.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code.replace(/\?$/, '')),
);

t.test('every message and every field is on the page', async (t) => {
  for (const [type, fields] of Object.entries(FIELDS)) {
    t.ok(told.has(type), type);
    for (const name of Object.keys(fields)) t.ok(told.has(name), `${name} of ${type}`);
  }
});

t.test('so are names, close codes and limits', async (t) => {
  for (const name of [BEARER_PROTOCOL, CLIENT_JSON, CLIENT_MSGPACK, STREAM_PATH]) {
    t.ok(told.has(name), name);
  }
  for (const { code } of Object.values(STREAM_CLOSE)) t.match(page, `| ${code} |`);
  t.match(page, `| ${MAX_TEXT_BYTES / 1_024} KiB |`);
  t.match(page, `| ${MAX_BINARY_BYTES / 1_024} KiB |`);
  t.match(page, `"windowBytes":${CLIENT_WINDOW_BYTES}`);
  t.match(page, TEXT_PIECE_BYTES.toLocaleString('en'));
});

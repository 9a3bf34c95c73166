/**
 * A receiver of callbacks: a plain HTTP server, started by hand (handler.js says how). For each callback
 *
 *   1. it checks that Simmer has signed it, a short time ago;
 *   2. it does nothing twice: the same callback may come again, with the same Idempotency-Key;
 *   3. it answers first what it has understood; what takes long would be done afterwards.
 *
 * PORT is the port it listens on (9000), CALLBACK_KEY the function's key.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

const { CALLBACK_KEY: key, PORT: port = '9000' } = process.env;
const TOLERANCE_S = 300;
const MAX_BODY_BYTES = 11_000_000;
/** Kept in memory; a real receiver has a table of them. */
const MAX_REMEMBERED = 10_000;

if (!key) {
  console.error('set CALLBACK_KEY: GET /v1/functions/report/callback-key');
  process.exit(1);
}

function isGenuine(headers, body) {
  const timestamp = headers['x-simmer-timestamp'] ?? '';
  const [, hex = ''] = /^v1=([0-9a-f]{64})$/.exec(headers['x-simmer-signature'] ?? '') ?? [];
  if (!/^\d{1,12}$/.test(timestamp)) return false;
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE_S) return false;
  const expected = createHmac('sha256', key).update(`${timestamp}.`).update(body).digest();
  const given = Buffer.from(hex, 'hex');
  return given.length === expected.length && timingSafeEqual(given, expected);
}

/** Keys of deliveries that were taken, oldest first. */
const taken = new Set();

function isNew(delivery) {
  if (taken.has(delivery)) return false;
  taken.add(delivery);
  if (taken.size > MAX_REMEMBERED) taken.delete(taken.values().next().value);
  return true;
}

function show({ executionId, status, output, error, attempts }) {
  const what = status === 'succeeded' ? JSON.stringify(output) : error.detail;
  console.log(`${executionId} ${status} after ${attempts.length} attempt(s): ${what}`);
}

const server = createServer(async (request, response) => {
  const parts = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > MAX_BODY_BYTES) return response.writeHead(413).end();
    parts.push(part);
  }
  const body = Buffer.concat(parts);
  if (!isGenuine(request.headers, body)) {
    console.log('refused: not signed by Simmer, or too long ago');
    return response.writeHead(401).end();
  }
  response.writeHead(204).end();
  const delivery = request.headers['idempotency-key'];
  if (isNew(delivery)) show(JSON.parse(body.toString()));
  else console.log(`${delivery} again: nothing to do`);
});

server.listen(Number(port), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}/`);
});

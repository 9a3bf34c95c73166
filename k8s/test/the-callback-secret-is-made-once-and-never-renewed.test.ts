import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import t, { type Test } from 'tap';
import { ensureKeys } from '../src/keys/keys.ts';
import { FakeApiServer } from './fake-api-server.ts';

const DAY_MS = 86_400_000;

/** An API server that keeps one Secret: what is written can be read. */
async function setUp(t: Test) {
  const server = await FakeApiServer.start(t);
  const stored: { data: Record<string, string> | undefined } = { data: undefined };
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    response.setHeader('content-type', 'application/json');
    if (request.method !== 'GET') {
      const { stringData } = JSON.parse(Buffer.concat(parts).toString());
      const written = Object.entries(stringData as Record<string, string>).map(([key, text]) => {
        return [key, Buffer.from(text).toString('base64')];
      });
      stored.data = { ...stored.data, ...Object.fromEntries(written) };
    }
    if (stored.data === undefined) {
      response.writeHead(404).end('{"kind":"Status","reason":"NotFound","code":404}');
      return;
    }
    const metadata = { name: 'simmer-keys', namespace: 'system', resourceVersion: '1' };
    response.end(JSON.stringify({ metadata, data: stored.data }));
  };
  server.other = (request, response) => void answer(request, response);
  const api = server.api(t);
  const ensure = async (now = Date.now()) => {
    const keys = await ensureKeys(api, 'system', { now: () => now });
    t.teardown(() => keys.dispose());
    return keys;
  };
  const write = (key: string, text: string | undefined) => {
    const { [key]: _, ...rest } = stored.data ?? {};
    const written = text === undefined ? {} : { [key]: Buffer.from(text).toString('base64') };
    stored.data = { ...rest, ...written };
  };
  return { ensure, write };
}

t.test('it stays while session keys are rotated and the CA is made anew', async (t) => {
  const { ensure, write } = await setUp(t);
  const start = Date.now();
  const { callbackSecret, keys } = await ensure(start);
  t.equal(callbackSecret.length, 32);
  const later = await ensure(start + 31 * DAY_MS);
  t.not(later.keys[0]?.id, keys[0]?.id, 'rotated');
  t.strictSame(later.callbackSecret, callbackSecret);
  write('ca.key', 'no key');
  t.strictSame((await ensure()).callbackSecret, callbackSecret);
});

t.test('a Secret of an earlier version gets one, and keeps what it has', async (t) => {
  const { ensure, write } = await setUp(t);
  const { keys, caPem } = await ensure();
  for (const text of [undefined, '', 'short']) {
    write('callback-secret', text);
    const again = await ensure();
    t.equal(again.callbackSecret.length, 32);
    t.strictSame([again.keys, again.caPem], [keys, caPem]);
  }
  const given = randomBytes(48);
  write('callback-secret', given.toString('base64url'));
  t.strictSame(Buffer.from((await ensure()).callbackSecret), given, 'one that somebody chose');
});

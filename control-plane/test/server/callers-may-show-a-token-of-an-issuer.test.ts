import { createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateKeyPair } from 'jose';
import t from 'tap';
import { Issuer } from './issuer.ts';
import { bearer, KeyFile } from './keys.ts';
import { eventually, Simmer } from './simmer.ts';

const HEADERS = `
export const fetch = async (request) => Response.json(Object.fromEntries(request.headers));
`;

t.test('a token of the issuer is let in, with what its claims say; no other is', async (t) => {
  const issuer = await Issuer.start(t);
  const simmer = await Simmer.start(t, [{ name: 'fn' }, { name: 'raw', code: HEADERS }], {
    flags: [...issuer.flags, '--jwt-functions-claim', 'https://simmer.example/functions'],
  });
  const functions = { 'https://simmer.example/functions': ['default/*'] };
  const status = async (token: string) => (await simmer.invoke('fn', {}, bearer(token))).status;
  const good = await issuer.token(functions);
  t.equal(await status(good), 200);
  t.equal(await status(good), 200);
  t.equal(issuer.fetches, 1);
  const now = Math.floor(Date.now() / 1_000);
  for (const claims of [
    { aud: 'other' },
    { iss: 'https://other.example' },
    { exp: now - 60 },
    { nbf: now + 600 },
    { exp: undefined },
    { sub: undefined },
  ]) {
    const token = await issuer.token({ ...functions, ...claims });
    t.equal(await status(token), 401, JSON.stringify(claims));
  }
  const forged = await issuer.token(functions, await generateKeyPair('ES256'));
  t.equal(await status(forged), 401);
  const [header, payload] = good.split('.') as [string, string];
  t.equal(await status(`${header}.${payload}.${'A'.repeat(86)}`), 401, 'another signature');
  const none = Buffer.from('{"alg":"none"}').toString('base64url');
  t.equal(await status(`${none}.${payload}.`), 401);
  t.equal(await status(`${none}.${payload}.AA`), 401);
  // Signed with what everyone can read of the issuer.
  const hs = Buffer.from('{"alg":"HS256","kid":"k1"}').toString('base64url');
  const mac = createHmac('sha256', issuer.publicKeySet).update(`${hs}.${payload}`);
  t.equal(await status(`${hs}.${payload}.${mac.digest('base64url')}`), 401);

  const reader = await issuer.token({ ...functions, scope: 'openid simmer:read' });
  t.equal((await simmer.request('/v1/functions', bearer(reader))).json.functions.length, 2);
  t.equal((await simmer.invoke('fn', {}, bearer(reader))).status, 403);
  const list = await issuer.token({ ...functions, scope: ['invoke', 'x'] });
  t.equal(await status(list), 200);
  t.equal(await status(await issuer.token({})), 403, 'without the claim no function');

  const seen = (await simmer.request('/fn/raw/', bearer(good))).json;
  t.notOk('authorization' in seen, 'its handler does not see it');
  t.match(await simmer.invoke('fn', { error: 'on purpose' }, bearer(good)), { status: 500 });
  const line = await eventually('the failure is logged', () =>
    simmer.logs().find((l) => l.message === 'invocation failed'),
  );
  t.equal(line['caller'], 'token:ada');
  // Who is shortened or has letters that logs do not take stays one of their own: so do their idempotency keys.
  for (const sub of ['é', 'ü', `${'a'.repeat(200)}1`, `${'a'.repeat(200)}2`, '?']) {
    const { headers } = bearer(await issuer.token({ ...functions, sub }));
    const mine = { headers: { ...headers, 'idempotency-key': 'mine' } };
    const first = await simmer.invoke('fn', {}, mine);
    t.equal(first.headers['idempotent-replayed'], undefined, sub);
    t.equal((await simmer.invoke('fn', {}, mine)).headers['idempotent-replayed'], 'true');
  }
  const everything = [JSON.stringify(simmer.logs()), await simmer.metrics(), simmer.stderr];
  t.notOk(everything.join().includes(payload));
});

t.test('while a token is checked the body comes, and nothing is told or run before', async (t) => {
  const issuer = await Issuer.start(t);
  const simmer = await Simmer.start(t, [{ name: 'fn' }, { name: 'raw', code: HEADERS }], {
    flags: issuer.flags,
  });
  issuer.mode = 'held';
  const good = bearer(await issuer.token());
  const bad = bearer(await issuer.token({ aud: 'other' }));
  const runs = join(simmer.folder, 'runs');
  const input = { runs, echo: 'x'.repeat(300_000) };
  const body = JSON.stringify({ input });
  const chunked = { 'transfer-encoding': 'chunked' };
  const calls = [
    simmer.invoke('fn', input, good),
    simmer.request('/v1/functions/fn:invoke', { headers: { ...good.headers, ...chunked }, body }),
    simmer.request('/v1/functions/fn:enqueue', { ...good, body }),
    simmer.request('/fn/raw/', good),
    simmer.request('/v1/functions', good),
  ];
  const refused = [
    simmer.invoke('fn', input, bad),
    simmer.invoke('no-such', {}, bad),
    simmer.request('/fn/Not.A.Name/', bad),
    simmer.invoke('fn', {}, { headers: { ...bad.headers, 'x-timeout-ms': 'x' } }),
    simmer.request('/v1/functions/fn:enqueue', { ...bad, body }),
    simmer.request('/v1/functions', bad),
  ];
  // One who may call nothing here is told that, not what else is wrong.
  const foreign = bearer(await issuer.token({ scope: 'read' }));
  const told = [
    simmer.invoke('fn', {}, foreign),
    simmer.invoke('fn', {}, { headers: { ...foreign.headers, 'x-timeout-ms': 'x' } }),
    simmer.invoke('no-such', {}, foreign),
  ];
  const missing = simmer.invoke('no-such', {}, good);
  await eventually('all of the bodies are there', async () => {
    return (await simmer.metric('simmer_held_bytes')) >= 5 * 300_000;
  });
  await eventually('the issuer is asked', () => issuer.heldRequests > 0);
  t.strictSame(simmer.runs(runs), []);
  issuer.release();
  t.strictSame(
    (await Promise.all(calls)).map((a) => a.status),
    [200, 200, 202, 200, 200],
  );
  for (const answer of await Promise.all(refused)) {
    t.match(answer.json, { status: 401, code: 'unauthenticated' });
    t.equal(answer.headers['www-authenticate'], 'Bearer realm="simmer"');
  }
  for (const answer of await Promise.all(told)) {
    t.match(answer.json, { status: 403, code: 'forbidden' });
  }
  t.equal((await missing).json.code, 'function_not_found');
  await eventually('all have run', () => simmer.runs(runs).length === 3);
  await simmer.quiet('default/fn');
});

t.test('an issuer that is away is told so, and keys go on', async (t) => {
  const issuer = await Issuer.start(t);
  issuer.mode = 'fails';
  const keys = new KeyFile(t);
  const key = keys.add();
  const simmer = await Simmer.start(t, [{ name: 'fn' }], {
    flags: [...issuer.flags, '--api-keys', keys.path],
  });
  const token = await issuer.token();
  const away = await simmer.invoke('fn', {}, bearer(token));
  t.match(away.json, { status: 503, code: 'identity_provider_unavailable' });
  t.equal(away.headers['retry-after'], '1');
  t.ok(simmer.logs().some((line) => line.message === 'JWT keys unavailable'));
  t.equal((await simmer.invoke('fn', {}, bearer(key))).status, 200);
  issuer.release();
  t.equal((await simmer.invoke('fn', {}, bearer(token))).status, 200);
});

t.test('the keys may stand in a file, and change there', async (t) => {
  const [first, second] = [await Issuer.start(t), await Issuer.start(t)];
  const simmer = await Simmer.start(t, [{ name: 'fn' }], {
    flags: [...first.flags, '--jwt-jwks', '/nowhere/jwks.json'],
  });
  const claims = { iss: first.url };
  const status = async (token: string) => (await simmer.invoke('fn', {}, bearer(token))).status;
  t.equal(await status(await first.token(claims)), 503);
  await simmer.stop();

  const keys = new KeyFile(t);
  const path = `${keys.path}.jwks`;
  writeFileSync(path, first.publicKeySet);
  const again = await Simmer.start(t, [{ name: 'fn' }], {
    flags: [...first.flags, '--jwt-jwks', path],
  });
  const of = async (issuer: Issuer) =>
    (await again.invoke('fn', {}, bearer(await issuer.token(claims)))).status;
  t.equal(await of(first), 200);
  t.equal(await of(second), 401);
  writeFileSync(path, `${second.publicKeySet}\n`);
  t.equal(await of(second), 200);
  t.equal(first.fetches, 0);
});

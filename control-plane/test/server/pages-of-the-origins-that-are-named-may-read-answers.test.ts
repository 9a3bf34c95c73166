import t from 'tap';
import { bearer, KeyFile } from './keys.ts';
import { request, Simmer } from './simmer.ts';

const OWN_CORS = `
export const fetch = async (request) => new Response(request.method, {
  headers: { 'access-control-allow-origin': '*', 'access-control-allow-credentials': 'true', 'x-own': '1' },
});
`;
const PAGE = 'https://page.example';

t.test('preflights are answered without a key, answers and errors are shared', async (t) => {
  const keys = new KeyFile(t);
  const key = keys.add();
  const simmer = await Simmer.start(t, [{ name: 'fn' }, { name: 'raw', code: OWN_CORS }], {
    flags: ['--api-keys', keys.path, '--cors-origins', `${PAGE},http://localhost:3000`],
  });
  const preflight = (path: string, origin: string) =>
    request(simmer.port, path, {
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,x-timeout-ms',
      },
    });
  for (const path of ['/v1/functions/fn:invoke', '/fn/raw/x', '/v1/executions', '/fn/no-such/']) {
    const allowed = await preflight(path, PAGE);
    t.equal(allowed.status, 204);
    t.match(allowed.headers, {
      'access-control-allow-origin': PAGE,
      'access-control-allow-methods': /POST/,
      'access-control-allow-headers': 'authorization,x-timeout-ms',
      'access-control-max-age': '600',
      vary: 'Origin',
    });
    t.equal(allowed.body.length, 0);
    const stranger = await preflight(path, 'https://evil.example');
    t.notOk('access-control-allow-origin' in stranger.headers);
  }
  const shared = async (path: string, options: Parameters<typeof simmer.request>[1]) => {
    const headers = { origin: PAGE, ...options?.headers };
    const answer = await simmer.request(path, { ...options, headers });
    t.equal(answer.headers['access-control-allow-origin'], PAGE, `${path} ${answer.status}`);
    t.match(answer.headers['access-control-expose-headers'], /X-Execution-Id.*RateLimit-Reset/);
    t.equal(answer.headers['vary'], 'Origin');
    t.notOk('access-control-allow-credentials' in answer.headers);
    return answer;
  };
  const { headers } = bearer(key);
  const body = '{"input":{}}';
  t.equal((await shared('/v1/functions/fn:invoke', { headers, body })).status, 200);
  t.equal((await shared('/v1/functions/fn:enqueue', { headers, body })).status, 202);
  t.equal((await shared('/v1/functions/fn:invoke', { body })).status, 401);
  t.equal((await shared('/v1/functions', { headers })).status, 200);
  t.equal((await shared('/v1/functions', {})).status, 401);
  t.equal((await shared('/nowhere', {})).status, 404);
  t.equal((await shared('/v1/functions/no-such', { headers })).status, 404);
  t.equal((await shared('/fn/raw/', { headers })).headers['x-own'], '1');
  const long = { headers: { ...headers, 'x-timeout-ms': 'x' }, body };
  t.equal((await shared('/v1/functions/fn:invoke', long)).status, 400);
  for (const origin of ['https://evil.example', `${PAGE}.evil.example`, 'null']) {
    const answer = await simmer.request('/v1/functions', { headers: { ...headers, origin } });
    t.notOk('access-control-allow-origin' in answer.headers, origin);
    t.equal(answer.headers['vary'], 'Origin');
  }
  // No preflight: what a browser asks has both headers.
  const { headers: own } = await request(simmer.port, '/fn/raw/', { method: 'OPTIONS', headers });
  t.equal(own['x-own'], '1');
});

t.test('with a star all may; without the option a handler speaks for itself', async (t) => {
  const all = await Simmer.start(t, [{ name: 'fn' }], { flags: ['--cors-origins', '*'] });
  const { headers } = await all.request('/v1/functions', { headers: { origin: PAGE } });
  t.equal(headers['access-control-allow-origin'], '*');
  t.notOk('vary' in headers);
  const none = await Simmer.start(t, [{ name: 'raw', code: OWN_CORS }]);
  const asked = { origin: PAGE, 'access-control-request-method': 'POST' };
  const raw = await request(none.port, '/fn/raw/', { method: 'OPTIONS', headers: asked });
  t.match([raw.status, raw.text], [200, 'OPTIONS']);
  t.equal(raw.headers['access-control-allow-credentials'], 'true');
  const list = await none.request('/v1/functions', { headers: { origin: PAGE } });
  t.notOk('access-control-allow-origin' in list.headers);
});

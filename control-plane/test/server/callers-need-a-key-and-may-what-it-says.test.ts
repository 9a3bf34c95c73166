import t from 'tap';
import { bearer, KeyFile } from './keys.ts';
import { eventually, request, Simmer } from './simmer.ts';

const HEADERS = `
export const fetch = async (request) => Response.json(Object.fromEntries(request.headers));
`;

t.test('who shows no key, or one that does not hold, is told only that', async (t) => {
  const keys = new KeyFile(t);
  const key = keys.add();
  const expired = keys.add({ expiresAt: '2020-01-01T00:00:00Z' });
  const disabled = keys.add({ disabled: true });
  const simmer = await Simmer.start(t, [{ name: 'fn' }], { flags: ['--api-keys', keys.path] });
  const wrong = `${key.slice(0, -4)}AAAA`;
  const paths = ['/v1/functions', '/v1/executions', '/fn/fn/x', '/fn/no-such/x'];
  for (const path of paths) {
    for (const headers of [
      {},
      bearer(wrong).headers,
      bearer(expired).headers,
      bearer(disabled).headers,
      bearer('smr_nosuchkey000_0123456789012345678901234567890123456789').headers,
      { authorization: `Basic ${key}` },
      { 'x-api-key': wrong },
      { 'x-api-key': `Bearer ${key}` },
    ]) {
      const answer = await simmer.request(path, { headers });
      t.equal(answer.status, 401, `${path} ${JSON.stringify(headers).slice(0, 40)}`);
      t.equal(answer.headers['www-authenticate'], 'Bearer realm="simmer"');
      t.equal(answer.json.code, 'unauthenticated');
    }
  }
  t.equal((await simmer.invoke('fn')).status, 401);
  t.equal((await simmer.invoke('no-such')).status, 401);
  t.equal((await simmer.invoke('fn', {}, bearer(key))).status, 200);
  t.equal((await simmer.invoke('fn', {}, { headers: { 'x-api-key': key } })).status, 200);
  t.equal(
    (await simmer.invoke('fn', {}, { headers: { authorization: `bearer  ${key}` } })).status,
    200,
  );
  t.equal((await simmer.invoke('no-such', {}, bearer(key))).status, 404);
  t.equal((await simmer.request('/v1/functions', bearer(key))).status, 200);
  const refused = await simmer.metric('simmer_refused_requests_total', { code: 'unauthenticated' });
  t.equal(refused, 4 * 8 + 2);
  // A route that is not there is no secret; the probes of an orchestrator have no key.
  t.equal((await simmer.request('/nowhere')).status, 404);
  t.equal((await request(simmer.managementPort, '/readyz')).status, 200);
});

t.test('a key may what its scopes and its function patterns say', async (t) => {
  const keys = new KeyFile(t);
  const invoker = keys.add({ scopes: ['invoke'] });
  const reader = keys.add({ scopes: ['read'] });
  const narrow = keys.add({ functions: ['default/orders-*'] });
  const simmer = await Simmer.start(t, [{ name: 'orders-a' }, { name: 'users' }], {
    flags: ['--api-keys', keys.path],
  });
  t.equal((await simmer.invoke('users', {}, bearer(invoker))).status, 200);
  t.match((await simmer.request('/v1/functions', bearer(invoker))).json, {
    status: 403,
    code: 'forbidden',
    detail: /scope read/,
  });
  t.match((await simmer.invoke('users', {}, bearer(reader))).json, { code: 'forbidden' });
  t.equal((await simmer.request('/v1/functions', bearer(reader))).json.functions.length, 2);

  t.equal((await simmer.invoke('orders-a', {}, bearer(narrow))).status, 200);
  // The same, whether it is there or not.
  for (const name of ['users', 'no-such']) {
    t.equal((await simmer.invoke(name, {}, bearer(narrow))).json.code, 'forbidden');
    t.equal((await simmer.request(`/fn/${name}/`, bearer(narrow))).json.code, 'forbidden');
    const { json } = await simmer.request(`/v1/functions/${name}`, bearer(narrow));
    t.equal(json.code, 'function_not_found');
    const pool = await simmer.request(`/v1/pools/${name}`, bearer(narrow));
    t.equal(pool.json.code, 'pool_not_found');
  }
  t.equal(await simmer.metric('simmer_refused_requests_total', { code: 'forbidden' }), 6);
  const list = (await simmer.request('/v1/functions', bearer(narrow))).json.functions;
  t.strictSame(
    list.map((f: { name: string }) => f.name),
    ['orders-a'],
  );
  const pools = (await simmer.request('/v1/pools', bearer(narrow))).json.pools;
  t.strictSame(
    pools.map((p: { name: string }) => p.name),
    ['orders-a'],
  );

  const body = JSON.stringify({ input: {} });
  const enqueue = async (name: string, key: string) => {
    const { headers } = bearer(key);
    const { json } = await simmer.request(`/v1/functions/${name}:enqueue`, { headers, body });
    return json.executionId as string;
  };
  const foreign = await enqueue('users', invoker);
  const own = await enqueue('orders-a', narrow);
  const hidden = await simmer.request(`/v1/executions/${foreign}`, bearer(narrow));
  t.equal(hidden.json.code, 'execution_not_found');
  const kept = await simmer.request('/v1/executions', bearer(narrow));
  const of = new Map<string, string>();
  for (const { executionId, function: name } of kept.json.executions) of.set(executionId, name);
  t.equal(of.get(own), 'orders-a');
  t.strictSame([...new Set(of.values())], ['orders-a']);
  const { headers } = bearer(narrow);
  const cancel = await simmer.request(`/v1/executions/${foreign}`, { method: 'DELETE', headers });
  t.equal(cancel.json.code, 'execution_not_found');
});

t.test('a change of the file holds within seconds; a broken one changes nothing', async (t) => {
  const keys = new KeyFile(t);
  const first = keys.add();
  const simmer = await Simmer.start(t, [{ name: 'fn' }], { flags: ['--api-keys', keys.path] });
  const status = async (key: string) => (await simmer.invoke('fn', {}, bearer(key))).status;
  t.equal(await status(first), 200);
  const second = keys.add();
  await eventually('the new key holds', async () => (await status(second)) === 200);
  keys.write('pepper: [');
  const refused = await eventually('it is told', () =>
    simmer.logs().find((line) => line.message.startsWith('API keys refused')),
  );
  t.match(refused, { level: 'error', reason: 'it is neither JSON nor YAML' });
  t.equal(await status(first), 200);
  keys.file = { ...keys.file, keys: keys.file.keys.slice(1) };
  keys.write();
  await eventually('the first is revoked', async () => (await status(first)) === 401);
  t.equal(await status(second), 200);
});

t.test('no key is seen outside of the request that shows it', async (t) => {
  const keys = new KeyFile(t);
  const key = keys.add();
  const simmer = await Simmer.start(t, [{ name: 'fn' }, { name: 'raw', code: HEADERS }], {
    flags: ['--api-keys', keys.path, '--log-level', 'debug'],
  });
  const secret = key.slice(-43);
  const { headers } = bearer(key);
  const own = { authorization: 'Basic dXNlcjpwYXNz', 'x-api-key': key, 'x-other': '1' };
  const seen = (await simmer.request('/fn/raw/', { headers: own })).json;
  t.match(seen, { authorization: 'Basic dXNlcjpwYXNz', 'x-other': '1' }, "the handler's own stays");
  t.notOk('x-api-key' in seen);
  const both = { authorization: `Bearer ${key}`, 'x-api-key': 'mine' };
  const other = (await simmer.request('/fn/raw/', { headers: both })).json;
  t.equal(other['x-api-key'], 'mine');
  t.notOk('authorization' in other);

  const failed = await simmer.invoke('fn', { error: 'on purpose' }, bearer(key));
  t.equal(failed.status, 500);
  const line = await eventually('the failure is logged', () =>
    simmer.logs().find((l) => l.message === 'invocation failed'),
  );
  t.equal(line['caller'], `key:${key.split('_')[1]}`);
  const strayed = await simmer.request(`/nowhere/${key}`, { headers });
  t.equal(strayed.status, 404);
  const misplaced: string[] = [];
  for (const [method, path] of [
    ...['GET', 'PUT', 'DELETE'].map((method) => [method, `/v1/functions/${key}`]),
    ...['GET', 'DELETE'].map((method) => [method, `/v1/dead-letters/${key}`]),
    ...[':invoke', ':enqueue'].map((verb) => ['POST', `/v1/functions/${key}${verb}`]),
    ...['GET', 'DELETE'].map((method) => [method, `/v1/executions/${key}`]),
    ...['executions', 'dead-letters'].map((list) => ['GET', `/v1/${list}?function=${key}`]),
    ...[`/v1/executions/${key}/logs`, `/v1/pools/${key}`, `/fn/${key}/`].map((p) => ['GET', p]),
    ...[`/v1/functions/${key}/callback-key`, `/v1/functions?wait=${key}`].map((p) => ['GET', p]),
    ['POST', `/v1/dead-letters/${key}:replay`],
  ] as [string, string][]) {
    const answer = await simmer.request(path, {
      method,
      headers,
      ...(method === 'PUT' && { body: '{}' }),
    });
    misplaced.push(answer.text);
    t.notOk(answer.text.includes(secret), `${method} ${path.replace(key, 'KEY')}`);
  }
  t.ok(
    misplaced.some((text) => text.includes('smr_...')),
    'that there was one is told',
  );
  const body = JSON.stringify({ input: {} });
  const queued = await simmer.request('/v1/functions/fn:enqueue', { headers, body });
  const kept = await simmer.request(`/v1/executions/${queued.json.executionId}?wait=5`, {
    headers,
  });
  const list = await simmer.request('/v1/executions', { headers });
  await simmer.invoke('fn', {}, bearer(`${key}x`));
  const everything = [
    ...[failed.text, strayed.text, kept.text, list.text, JSON.stringify(seen)],
    ...[
      JSON.stringify(other),
      await simmer.metrics(),
      JSON.stringify(simmer.logs()),
      simmer.stderr,
    ],
  ].join('\n');
  t.ok(everything.includes('invocation failed'), 'what is searched is there');
  t.notOk(everything.includes(secret));
});

t.test('without keys Authorization is the handler’s own', async (t) => {
  const simmer = await Simmer.start(t, [{ name: 'raw', code: HEADERS }]);
  const headers = { authorization: 'Bearer smr_mine_0123456789', 'x-api-key': 'k' };
  const { json } = await simmer.request('/fn/raw/', { headers });
  t.match(json, headers);
});

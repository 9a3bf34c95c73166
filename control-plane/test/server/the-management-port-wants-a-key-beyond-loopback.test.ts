import t from 'tap';
import { Issuer } from './issuer.ts';
import { bearer, KeyFile } from './keys.ts';
import { request, Simmer } from './simmer.ts';

t.test('beyond loopback a credential with the scope read, save for the probes', async (t) => {
  const keys = new KeyFile(t);
  const issuer = await Issuer.start(t);
  const reader = keys.add({ scopes: ['read'] });
  const invoker = keys.add({ scopes: ['invoke'] });
  const expired = keys.add({ expiresAt: '2020-01-01' });
  const simmer = await Simmer.start(t, [{ name: 'fn' }], {
    flags: ['--management-host', '0.0.0.0', '--api-keys', keys.path, ...issuer.flags],
  });
  const ask = (path: string, options = {}) => request(simmer.managementPort, path, options);
  t.equal((await ask('/healthz')).status, 200);
  t.equal((await ask('/readyz')).status, 200);
  for (const path of ['/metrics', '/actuator/prometheus']) {
    const plain = await ask(path);
    t.equal(plain.status, 401);
    t.equal(plain.headers['www-authenticate'], 'Bearer realm="simmer"');
    t.notOk(plain.text.includes('simmer_'));
    t.equal((await ask(path, bearer(reader))).status, 200);
    t.equal((await ask(path, { headers: { 'x-api-key': reader } })).status, 200);
    t.equal((await ask(path, bearer(invoker))).status, 403);
    t.equal((await ask(path, bearer(expired))).status, 401);
    t.equal((await ask(path, bearer(`${reader}x`))).status, 401);
    t.equal((await ask(path, bearer(await issuer.token()))).status, 200);
    t.equal((await ask(path, bearer(await issuer.token({ scope: 'invoke' })))).status, 403);
    t.equal((await ask(path, bearer(await issuer.token({ aud: 'x' })))).status, 401);
  }
});

t.test('on loopback, and where nobody is asked, it is open', async (t) => {
  const keys = new KeyFile(t);
  const local = await Simmer.start(t, [], { flags: ['--api-keys', keys.path] });
  t.equal((await request(local.managementPort, '/metrics')).status, 200);
  const open = await Simmer.start(t, [], {
    flags: ['--management-host', '0.0.0.0', '--allow-anonymous'],
  });
  t.equal((await request(open.managementPort, '/metrics')).status, 200);
});

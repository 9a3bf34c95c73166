import { readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import t from 'tap';
import { Api, SECRETS } from '../../src/api/api.ts';
import { makeCa, makeServerCertificate } from '../../src/keys/certificates.ts';
import { ensureKeys, KEYS_SECRET } from '../../src/keys/keys.ts';
import { NO_CLUSTER, ownNamespace } from './cluster.ts';

const DAY_MS = 86_400_000;

if (NO_CLUSTER) t.plan(0, NO_CLUSTER);
else {
  const setUp = async (t: Parameters<typeof ownNamespace>[0]) => {
    const api = Api.load();
    const namespace = await ownNamespace(t, api);
    const ensure = async (options: Parameters<typeof ensureKeys>[2] = {}) => {
      const keys = await ensureKeys(api, namespace, options);
      t.teardown(() => keys.dispose());
      return keys;
    };
    return { api, namespace, ensure };
  };

  t.test('several that start at once agree; a later one has the same', async (t) => {
    const { ensure } = await setUp(t);
    const [first, ...others] = await Promise.all([ensure(), ensure(), ensure(), ensure()]);
    others.push(await ensure());
    t.equal(first?.keys.length, 1);
    t.equal(first?.keys[0]?.key.length, 32);
    for (const keys of others) {
      t.strictSame(keys.keys, first?.keys);
      t.equal(keys.caPem, first?.caPem);
      t.strictSame(keys.callbackSecret, first?.callbackSecret);
      t.not(keys.certFile, first?.certFile);
    }
  });

  t.test('private keys are for this user’s eyes, and go when they are disposed of', async (t) => {
    const { ensure } = await setUp(t);
    const keys = await ensure();
    t.match(readFileSync(keys.certFile, 'utf8'), /^-----BEGIN CERTIFICATE-----/);
    t.match(readFileSync(keys.keyFile, 'utf8'), /^-----BEGIN PRIVATE KEY-----/);
    t.equal(statSync(keys.keyFile).mode & 0o077, 0);
    t.equal(statSync(dirname(keys.keyFile)).mode & 0o077, 0);
    await keys.dispose();
    t.throws(() => statSync(keys.keyFile), { code: 'ENOENT' });
  });

  t.test('session keys are rotated with age, and the one before still verifies', async (t) => {
    const { ensure } = await setUp(t);
    const start = Date.now();
    const [old] = (await ensure({ now: () => start })).keys;
    t.strictSame((await ensure({ now: () => start + 29 * DAY_MS })).keys, [old]);
    const [young, before, ...rest] = (await ensure({ now: () => start + 31 * DAY_MS })).keys;
    t.strictSame([before, ...rest], [old]);
    t.not(young?.id, old?.id);
    const later = (await ensure({ now: () => start + 62 * DAY_MS })).keys;
    t.strictSame(later.slice(1), [young], 'two are kept');
  });

  t.test('what somebody broke by hand is made anew, and only that', async (t) => {
    const { api, namespace, ensure } = await setUp(t);
    const first = await ensure();
    const broken = { stringData: { 'ca.key': 'no key' } };
    await api.patch(SECRETS, namespace, KEYS_SECRET, broken);
    const second = await ensure();
    t.not(second.caPem, first.caPem);
    t.strictSame(second.keys, first.keys);
    await api.patch(SECRETS, namespace, KEYS_SECRET, { stringData: { 'sessions.json': '{' } });
    const third = await ensure();
    t.equal(third.caPem, second.caPem);
    t.equal(third.keys.length, 1);
    t.not(third.keys[0]?.id, first.keys[0]?.id);
  });

  t.test('a certificate may come from a Secret that others keep', async (t) => {
    const { api, namespace, ensure } = await setUp(t);
    const ca = await makeCa(Date.now());
    const server = await makeServerCertificate(ca, 'simmer-control-plane', Date.now());
    const stringData = { 'tls.crt': server.cert, 'tls.key': server.key };
    const metadata = { name: 'given' };
    const type = 'kubernetes.io/tls';
    await api.create(SECRETS, namespace, { metadata, type, stringData });
    await t.rejects(ensure({ tlsSecret: 'given' }), {
      message: `Secret ${namespace}/given must hold ca.crt, tls.crt and tls.key`,
    });
    await api.patch(SECRETS, namespace, 'given', { stringData: { 'ca.crt': ca.cert } });
    const keys = await ensure({ tlsSecret: 'given' });
    t.equal(keys.caPem, ca.cert);
    t.equal(readFileSync(keys.certFile, 'utf8'), server.cert);
    await t.rejects(ensure({ tlsSecret: 'absent' }), { message: /get secrets absent/ });
  });
}

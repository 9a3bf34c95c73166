import { isApiKey, parseApiKeyFile } from '@simmer/protocol/api-keys';
import t from 'tap';
import { Api, SECRETS } from '../../src/api/api.ts';
import { ensureApiKeys, readApiKeys } from '../../src/keys/api-keys.ts';
import { NO_CLUSTER, ownNamespace } from './cluster.ts';

if (NO_CLUSTER) t.plan(0, NO_CLUSTER);
else {
  const setUp = async (t: Parameters<typeof ownNamespace>[0]) => {
    const api = Api.load();
    const namespace = await ownNamespace(t, api);
    const firstKey = async () => {
      const secret = await api.find(SECRETS, namespace, 'keys-first-key');
      const { key = '' } = (secret?.['data'] ?? {}) as Record<string, string>;
      return Buffer.from(key, 'base64').toString();
    };
    const holds = async (key: string) => {
      const [file] = (await readApiKeys(api, namespace, 'keys'))?.files ?? [];
      const parsed = parseApiKeyFile(JSON.parse(file?.text ?? 'null'));
      if (!parsed.ok) throw new Error(parsed.issue);
      const { pepper, keys } = parsed.file;
      return keys.length === 1 && keys.every(({ hash }) => isApiKey(pepper, hash, key));
    };
    const ensure = () => ensureApiKeys(api, namespace, 'keys', Date.now());
    return { api, namespace, ensure, firstKey, holds };
  };

  t.test('several that start at once make one', async (t) => {
    const { ensure, firstKey, holds } = await setUp(t);
    const made = await Promise.all([ensure(), ensure(), ensure(), ensure()]);
    t.equal(made.filter(Boolean).length, 1);
    t.ok(await holds(await firstKey()));
    t.equal(await ensure(), false);
  });

  t.test('one that died between the two Secrets left a key that holds', async (t) => {
    const { api, namespace, ensure, firstKey, holds } = await setUp(t);
    await ensure();
    const key = await firstKey();
    await api.remove(SECRETS, namespace, 'keys');
    t.equal(await ensure(), true);
    t.equal(await firstKey(), key);
    t.ok(await holds(key));
  });

  t.test('what the operator has written stays', async (t) => {
    const { api, namespace, ensure } = await setUp(t);
    const stringData = { 'mine.yaml': 'pepper: x', README: 'y' };
    await api.create(SECRETS, namespace, { metadata: { name: 'keys' }, stringData });
    t.equal(await ensure(), false);
    const read = await readApiKeys(api, namespace, 'keys');
    t.strictSame(read?.files, [{ name: 'mine.yaml', text: 'pepper: x' }]);
    t.equal(await api.find(SECRETS, namespace, 'keys-first-key'), undefined);
    t.equal(await readApiKeys(api, namespace, 'others'), undefined);
  });
}

import { createHash, randomBytes } from 'node:crypto';
import t, { type Test } from 'tap';
import { ConfigMapShelf } from '../../src/code/config-map-shelf.ts';
import { Api, CONFIG_MAPS, keptLog, NO_CLUSTER, ownNamespace, until } from './cluster.ts';

const digestOf = (bytes: Uint8Array) =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const MIB = 1_048_576;

async function setUp(t: Test) {
  const api = Api.load();
  const namespace = await ownNamespace(t, api);
  const may = { write: true };
  const shelf = new ConfigMapShelf({
    ...{ api, namespace, maxBytes: 10 * MIB, mayWrite: () => may.write, log: keptLog() },
  });
  const names = async (selector: string) =>
    (await api.list(CONFIG_MAPS, namespace, { labelSelector: selector })).items.map(
      ({ metadata }) => metadata.name,
    );
  return { api, namespace, shelf, may, names };
}

if (NO_CLUSTER) t.plan(0, NO_CLUSTER);
else {
  t.test('in pieces, which go with it', async (t) => {
    const { shelf, names } = await setUp(t);
    const bytes = randomBytes(2 * MIB);
    const digest = digestOf(bytes);
    t.equal(await shelf.read(digest), undefined);
    await shelf.write(digest, bytes);
    await shelf.write(digest, bytes);
    t.ok(bytes.equals((await shelf.read(digest)) ?? Buffer.of()));
    t.match(await shelf.list(), [{ digest, bytes: bytes.length, usedAt: Number }]);
    t.equal((await names('simmer.dev/code=piece')).length, 3);
    await shelf.remove(digest);
    t.equal(await shelf.read(digest), undefined);
    t.strictSame(await shelf.list(), []);
    await until('the cluster removes its pieces', async () => {
      return (await names('simmer.dev/code=piece')).length === 0;
    });
  });

  t.test('a write that was cut off is not there, and may be gone on with', async (t) => {
    const { api, namespace, shelf } = await setUp(t);
    const bytes = randomBytes(MIB);
    const digest = digestOf(bytes);
    await shelf.write(digest, bytes);
    const name = `simmer-code-${digest.slice(7)}`;
    await api.patch(CONFIG_MAPS, namespace, name, { data: { state: 'writing' } });
    await api.remove(CONFIG_MAPS, namespace, `${name}-1`);
    t.equal(await shelf.read(digest), undefined);
    await shelf.write(digest, bytes);
    t.ok(bytes.equals((await shelf.read(digest)) ?? Buffer.of()));
    await api.remove(CONFIG_MAPS, namespace, `${name}-0`);
    t.equal(await shelf.read(digest), undefined, 'nor is one without a piece');
  });

  t.test('one of an empty module; and nothing while another may lead', async (t) => {
    const { shelf, may } = await setUp(t);
    const none = Buffer.of();
    await shelf.write(digestOf(none), none);
    t.equal((await shelf.read(digestOf(none)))?.length, 0);
    may.write = false;
    await t.rejects(shelf.write(digestOf(none), none), /another control plane may lead/);
    await t.rejects(shelf.remove(digestOf(none)), /another control plane may lead/);
    t.equal(shelf.maxBytes, 10 * MIB);
  });
}

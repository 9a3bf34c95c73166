import t from 'tap';
import { Informer } from '../../src/api/informer.ts';
import {
  Api,
  CONFIG_MAPS,
  configMap,
  keptLog,
  NO_CLUSTER,
  ownNamespace,
  until,
} from './cluster.ts';

if (NO_CLUSTER !== undefined) {
  t.plan(0, NO_CLUSTER);
} else {
  t.test('the first list, then each change, in order', async (t) => {
    const api = Api.load();
    const namespace = await ownNamespace(t, api);
    const labels = { mine: 'yes' };
    await api.create(CONFIG_MAPS, namespace, { metadata: { name: 'before', labels } });
    await api.create(CONFIG_MAPS, namespace, configMap('unlabelled', {}));
    const informer = new Informer(api, CONFIG_MAPS, {
      namespace,
      labelSelector: 'mine=yes',
      log: keptLog(),
    });
    t.teardown(() => informer.stop());
    const seen: string[] = [];
    informer.onChange(({ type, object }) => seen.push(`${type} ${object.metadata.name}`));
    await informer.start();
    t.strictSame(seen, ['added before']);
    await api.create(CONFIG_MAPS, namespace, { metadata: { name: 'after', labels } });
    await api.patch(CONFIG_MAPS, namespace, 'before', { data: { x: '1' } });
    await api.remove(CONFIG_MAPS, namespace, 'before');
    await until('the deletion to be seen', () => informer.get('before') === undefined);
    t.strictSame(seen, ['added before', 'added after', 'modified before', 'deleted before']);
    t.match(informer.get('after'), { kind: 'ConfigMap', apiVersion: 'v1' });
    t.equal(informer.list().length, 1);
    t.equal(informer.listCount, 1);
    t.equal(informer.problem, undefined);
  });

  t.test(
    'a stream that is silent for too long is resumed without a list and misses nothing',
    async (t) => {
      const api = Api.load();
      const namespace = await ownNamespace(t, api);
      const informer = new Informer(api, CONFIG_MAPS, {
        namespace,
        labelSelector: 'mine=yes',
        log: keptLog(),
        idleMs: 30,
        random: () => 0,
      });
      t.teardown(() => informer.stop());
      const names = new Set<string>();
      informer.onChange(({ object }) => names.add(object.metadata.name ?? ''));
      await informer.start();
      for (let i = 0; i < 40; i += 1) {
        const metadata = { name: `c-${i}`, labels: { mine: 'yes' } };
        await api.create(CONFIG_MAPS, namespace, { metadata });
        // Some fall into a stream, some between two: that is the point.
        if (i % 4 === 0) await until(`c-${i} to be seen`, () => names.has(`c-${i}`));
      }
      await until('all to be seen', () => names.size === 40);
      t.equal(informer.listCount, 1);
    },
  );
}

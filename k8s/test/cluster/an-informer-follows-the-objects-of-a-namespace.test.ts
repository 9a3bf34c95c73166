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
import { severableApi } from './severable.ts';

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

  t.test('an API server that is away for a while: it catches up, and says so', async (t) => {
    const direct = Api.load();
    const namespace = await ownNamespace(t, direct);
    const link = await severableApi(t);
    const log = keptLog();
    const informer = new Informer(link.api, CONFIG_MAPS, {
      namespace,
      labelSelector: 'mine=yes',
      log,
      random: () => 0,
    });
    t.teardown(() => informer.stop());
    const labels = { mine: 'yes' };
    const add = (name: string) =>
      direct.create(CONFIG_MAPS, namespace, { metadata: { name, labels } });
    await add('before');
    await informer.start();
    link.cut();
    await until('the loss to be noticed', () => informer.problem);
    await add('meanwhile');
    await direct.remove(CONFIG_MAPS, namespace, 'before');
    link.mend();
    await until('it to catch up', () => informer.get('meanwhile') && !informer.get('before'));
    t.equal(informer.problem, undefined);
    t.equal(informer.listCount, 1, 'from where it was, not from the beginning');
    t.ok(log.lines.some((line) => line.level === 'warn' && /cannot be reached/.test(line.message)));
    t.ok(log.lines.some((line) => line.level === 'info' && /watched again/.test(line.message)));
    await add('after');
    await until('it to go on', () => informer.get('after'));
  });
}

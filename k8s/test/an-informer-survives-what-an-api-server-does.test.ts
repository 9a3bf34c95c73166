import t, { type Test } from 'tap';
import { CONFIG_MAPS } from '../src/api/api.ts';
import { Informer, type InformerOptions } from '../src/api/informer.ts';
import { FakeApiServer, item, type Watcher } from './fake-api-server.ts';
import { keptLog } from './fakes.ts';
import { until } from './until.ts';

async function follow(t: Test, fake: FakeApiServer, options: Partial<InformerOptions> = {}) {
  const log = keptLog();
  const informer = new Informer(fake.api(t), CONFIG_MAPS, {
    namespace: 'n',
    log,
    // Shortest pauses.
    random: () => 0,
    ...options,
  });
  t.teardown(() => informer.stop());
  const seen: string[] = [];
  informer.onChange(({ type, object }) => {
    const { name, resourceVersion } = object.metadata;
    seen.push(`${type} ${name} ${resourceVersion}`);
  });
  const watcher = (count: number): Promise<Watcher> =>
    until(`watch ${count}`, () => fake.watchers[count - 1]);
  const told = (what: string) => until(what, () => seen.includes(what));
  return { informer, log, seen, watcher, told };
}

t.test('410 as an event: a list whose differences are told, deletions included', async (t) => {
  const fake = await FakeApiServer.start(t);
  fake.items = [item('same', '1'), item('changed', '1'), item('gone', '1'), item('replaced', '1')];
  const { informer, seen, watcher } = await follow(t, fake);
  await informer.start();
  t.equal((await watcher(1)).from, '1');
  seen.length = 0;
  fake.items = [
    item('same', '1'),
    item('changed', '5'),
    item('new', '6'),
    item('replaced', '7', 'another'),
  ];
  fake.resourceVersion = '9';
  (await watcher(1)).send('ERROR', { kind: 'Status', code: 410, message: 'too old' });
  t.equal((await watcher(2)).from, '9');
  t.strictSame(seen, [
    'deleted gone 1',
    'modified changed 5',
    'added new 6',
    'deleted replaced 1',
    'added replaced 7',
  ]);
  t.equal(informer.problem, undefined);
});

t.test('410 as a status: the same', async (t) => {
  const fake = await FakeApiServer.start(t);
  fake.refusals.push({ on: 'watch', status: 410, message: 'too old' });
  const { informer, watcher } = await follow(t, fake);
  await informer.start();
  await watcher(1);
  t.equal(fake.lists, 2);
});

t.test('a stream that ends or breaks goes on where it was, by event or bookmark', async (t) => {
  const fake = await FakeApiServer.start(t);
  const { informer, seen, watcher, told } = await follow(t, fake);
  await informer.start();
  const first = await watcher(1);
  t.equal(first.query.get('allowWatchBookmarks'), 'true');
  first.send('ADDED', item('a', '5'));
  await told('added a 5');
  first.end();
  const second = await watcher(2);
  t.equal(second.from, '5');
  second.send('BOOKMARK', { metadata: { resourceVersion: '20' } });
  second.send('MODIFIED', item('a', '19'));
  await told('modified a 19');
  second.send('BOOKMARK', { metadata: { resourceVersion: '30' } });
  second.end();
  const third = await watcher(3);
  t.equal(third.from, '30');
  third.reset();
  const fourth = await watcher(4);
  t.equal(fourth.from, '30');
  fourth.send('DELETED', item('a', '40'));
  await told('deleted a 40');
  t.equal(fake.lists, 1);
  t.strictSame(seen, ['added a 5', 'modified a 19', 'deleted a 40']);
});

t.test('a silent stream is given up, and resumed without a list', async (t) => {
  const fake = await FakeApiServer.start(t);
  const { informer, log, watcher } = await follow(t, fake, { idleMs: 20 });
  await informer.start();
  await watcher(3);
  t.equal(fake.lists, 1);
  t.strictSame(log.lines, [], 'which is no problem by itself');
});

t.test('a listener that throws harms neither the others nor the stream', async (t) => {
  const fake = await FakeApiServer.start(t);
  fake.items = [item('a', '1')];
  const log = keptLog();
  const informer = new Informer(fake.api(t), CONFIG_MAPS, { namespace: 'n', log });
  t.teardown(() => informer.stop());
  const seen: string[] = [];
  informer.onChange(() => {
    throw new Error('broken listener');
  });
  informer.onChange(({ type, object }) => seen.push(`${type} ${object.metadata.name}`));
  await informer.start();
  const watcher = await until('the watch', () => fake.watchers[0]);
  watcher.send('ADDED', item('b', '2'));
  await until('b', () => seen.length === 2);
  t.strictSame(seen, ['added a', 'added b']);
  t.equal(log.lines.filter((line) => /broken listener/.test(line.message)).length, 2);
  t.equal(informer.list().length, 2);
});

t.test('a line that is no event is passed over', async (t) => {
  const fake = await FakeApiServer.start(t);
  const { informer, watcher, told } = await follow(t, fake);
  await informer.start();
  const first = await watcher(1);
  first.raw('no json\n');
  first.raw('{"type":"ADDED"}\n');
  first.raw('null\n');
  first.send('ADDED', item('a', '2'));
  await told('added a 2');
  t.equal(fake.watchers.length, 1);
});

t.test('an API server that is away, or busy, is waited for; the log says so once', async (t) => {
  const fake = await FakeApiServer.start(t);
  for (let i = 0; i < 3; i += 1) {
    fake.refusals.push({ on: 'list', status: 503, message: 'starting up' });
  }
  fake.items = [item('a', '1')];
  const { informer, log } = await follow(t, fake);
  await informer.start();
  t.strictSame(
    informer.list().map((object) => object.metadata.name),
    ['a'],
  );
  t.equal(fake.lists, 4);
  const loud = log.lines.filter((line) => line.level !== 'debug');
  t.match(loud, [{ message: /starting up/ }, { level: 'info', message: /watched again/ }]);
});

t.test(
  'who may not watch goes on listing what was listed, and says which permission lacks',
  async (t) => {
    const fake = await FakeApiServer.start(t);
    fake.items = [item('a', '1')];
    for (let i = 0; i < 2; i += 1) fake.refusals.push({ on: 'watch', status: 403, message: 'no' });
    const { informer, log, watcher } = await follow(t, fake);
    await informer.start();
    await until('the problem', () => informer.problem);
    t.match(informer.problem, 'verb "watch", resource "configmaps", namespace "n"');
    await watcher(1);
    t.equal(fake.lists, 1);
    t.equal(log.lines.filter((line) => line.level === 'error').length, 1);
    await until('the end of it', () => informer.problem === undefined);
  },
);

t.test('whoever asks for it learns that a list is denied; it goes on trying', async (t) => {
  const fake = await FakeApiServer.start(t);
  const message = 'configmaps is forbidden: User "x" cannot list resource "configmaps"';
  fake.refusals.push({ on: 'list', status: 403, message });
  const { informer } = await follow(t, fake);
  await informer.startOrDenied();
  t.equal(informer.synced, false);
  t.match(informer.problem, /no permission to list configmaps in namespace n/);
  await informer.start();
  t.equal(informer.synced, true);
});

t.test('stopped, it is silent, and its start is over', async (t) => {
  const fake = await FakeApiServer.start(t);
  fake.items = [item('a', '1')];
  const { informer, seen } = await follow(t, fake);
  const starting = informer.start();
  informer.stop();
  await starting;
  t.strictSame(seen, []);
});

t.test('staleness grows from the last sign of life', async (t) => {
  const fake = await FakeApiServer.start(t);
  let now = 0;
  const clock = {
    now: () => now,
    epoch: () => now,
    after: (ms: number, callback: () => void) => {
      const timer = setTimeout(callback, ms);
      return { cancel: () => clearTimeout(timer) };
    },
  };
  const { informer, watcher, told } = await follow(t, fake, { clock });
  now = 50;
  t.equal(informer.staleMs, 50);
  await informer.start();
  const first = await watcher(1);
  await until('the watch to be let in', () => informer.staleMs === 0);
  now = 5_050;
  t.equal(informer.staleMs, 5_000);
  first.send('ADDED', item('a', '2'));
  await told('added a 2');
  t.equal(informer.staleMs, 0);
});

t.test('a stream that lived is followed at once, one that was cut off is not', async (t) => {
  const fake = await FakeApiServer.start(t);
  let now = 0;
  const pauses: number[] = [];
  const clock = {
    now: () => now,
    epoch: () => now,
    after: (ms: number, callback: () => void) => {
      pauses.push(ms);
      const timer = setTimeout(callback, 0);
      return { cancel: () => clearTimeout(timer) };
    },
  };
  const { informer, watcher } = await follow(t, fake, { clock, random: () => 1 });
  await informer.start();
  const first = await watcher(1);
  await until('the watch to be let in', () => informer.staleMs === 0);
  now = 400_000;
  first.end();
  const second = await watcher(2);
  t.strictSame(pauses, []);
  second.end();
  for (let count = 3; count <= 9; count += 1) (await watcher(count)).end();
  await watcher(10);
  t.strictSame(pauses, [400, 800, 1_600, 3_200, 6_400, 8_000, 8_000, 8_000]);
});

import t from 'tap';
import { ApiError, type KubeObject } from '../src/api/api.ts';
import { NO_POOL, type PoolStatus } from '../src/status/pool-status.ts';
import { StatusWriter } from '../src/status/writer.ts';
import { FakeApi, keptLog, ManualClock, type Write } from './fakes.ts';

const CRASH = { code: 'exited_before_ready', message: 'boom' };

/** Functions f0, f1, ... in a namespace; `pool` is what each one's pool is reported as. */
function setUp(count: number) {
  const clock = new ManualClock();
  const fake = new FakeApi();
  const objects = new Map<string, KubeObject>();
  const issues = new Map<string, { field: string; reason: string }[]>();
  for (let i = 0; i < count; i += 1) {
    const metadata = { name: `f${i}`, namespace: 'n', uid: `u${i}`, generation: 1 };
    objects.set(`n/f${i}`, { apiVersion: 'a', kind: 'Function', metadata, spec: {} });
  }
  const log = keptLog();
  let mayWrite = true;
  const writer = new StatusWriter({
    api: fake.api,
    objects: {
      keys: () => [...objects.keys()],
      object: (key) => objects.get(key),
      issues: (key) => issues.get(key) ?? [],
    },
    log,
    instance: 'simmer-0',
    mayWrite: () => mayWrite,
    clock,
  });
  /** Reports once a second for so long. */
  const run = async (seconds: number, pool: (i: number, second: number) => Partial<PoolStatus>) => {
    for (let second = 0; second < seconds; second += 1) {
      const statuses = [...objects.keys()].map(
        (key, i) => [key, { ...NO_POOL, ...pool(i, second) }] as const,
      );
      await writer.report(new Map(statuses));
      clock.advance(1_000);
    }
  };
  const taken = (): Write[] => fake.writes.splice(0);
  const allow = (may: boolean) => {
    mayWrite = may;
  };
  return { clock, fake, objects, issues, log, writer, run, taken, allow };
}

t.test('a thousand new functions are told of within half a minute, and then no more', async (t) => {
  const { run, taken } = setUp(1_000);
  await run(30, () => ({}));
  const names = taken().map((write) => write.name);
  t.equal(names.length, 1_000);
  t.equal(new Set(names).size, 1_000);
  await run(60, () => ({}));
  t.strictSame(taken(), []);
});

t.test('under load, counters and counts make less than one write a second', async (t) => {
  const { run, taken } = setUp(50);
  await run(10, () => ({ ready: 1, desired: 1, pods: 1 }));
  taken();
  await run(300, (i, second) => ({
    ready: 1 + ((second + i) % 3),
    desired: 1,
    pods: 4,
    misses: second * 7,
    queued: second % 11,
  }));
  const count = taken().length;
  t.ok(count < 300, `${count} writes in 300 s`);
  t.ok(count > 150, `${count} writes in 300 s`);
});

t.test("one function's counters are told every ten seconds at most", async (t) => {
  const { run, taken } = setUp(1);
  await run(1, () => ({ ready: 1, desired: 1, pods: 1 }));
  taken();
  await run(100, (_, second) => ({ ready: 1, desired: 1, pods: 1, misses: second }));
  const count = taken().length;
  t.ok(count >= 9 && count <= 10, `${count} writes in 100 s`);
});

t.test('a verdict is told at once, ahead of all counters', async (t) => {
  const { run, taken } = setUp(30);
  await run(1, () => ({ ready: 1, desired: 1, pods: 1 }));
  taken();
  await run(1, (i) =>
    i === 29 ? { failure: { ...CRASH, count: 1 } } : { ready: 2, desired: 1, pods: 2 },
  );
  const writes = taken().filter((write) => write.resource === 'functions');
  t.match(writes[0], { name: 'f29', object: { metadata: { uid: 'u29' } } });
  t.match(writes[0]?.object['status'], {
    observedGeneration: 1,
    selector: 'app.kubernetes.io/managed-by=simmer,simmer.dev/function=f29,simmer.dev/kind=pool',
    conditions: [{ type: 'Ready', status: 'False', reason: 'CrashLoop' }, {}, {}],
  });
});

t.test('a condition that flaps every second is not written every second', async (t) => {
  const { run, taken } = setUp(1);
  await run(200, (_, second) => ({ ready: second % 2, desired: 1, pods: 1 }));
  const count = taken().length;
  t.ok(count <= 30, `${count} writes in 200 s`);
});

t.test('what an earlier control plane wrote is not written again', async (t) => {
  const { run, taken, objects } = setUp(1);
  await run(1, () => ({ ready: 1, desired: 1, pods: 1 }));
  const [write] = taken();
  const later = setUp(1);
  const object = objects.get('n/f0') as KubeObject;
  later.objects.set('n/f0', { ...object, status: write?.object['status'] });
  await later.run(20, () => ({ ready: 1, desired: 1, pods: 1 }));
  t.strictSame(later.taken(), []);
});

t.test('another object of the name begins anew', async (t) => {
  const { run, taken, objects } = setUp(1);
  await run(1, () => ({}));
  const object = objects.get('n/f0') as KubeObject;
  objects.set('n/f0', { ...object, metadata: { ...object.metadata, uid: 'another' } });
  await run(1, () => ({}));
  t.strictSame(
    taken().map((write) => write.object.metadata.uid),
    ['u0', 'another'],
  );
});

t.test('nothing is written while another may lead', async (t) => {
  const { run, taken, allow } = setUp(1);
  allow(false);
  await run(3, () => ({ failure: { ...CRASH, count: 1 } }));
  t.strictSame(taken(), []);
  allow(true);
  await run(1, () => ({}));
  t.equal(taken().length, 1);
});

t.test('what could not be written is written later, and the log says so once', async (t) => {
  const { run, taken, fake, log } = setUp(2);
  fake.fail = new ApiError('unreachable', 0, 'Unreachable', 'away');
  await run(5, () => ({}));
  t.equal(log.lines.length, 1);
  t.match(log.lines[0], { level: 'warn', message: /not up to date: away/ });
  fake.fail = undefined;
  await run(1, () => ({}));
  t.equal(taken().length, 2);
});

t.test('a trouble makes one event, whose series counts what follows', async (t) => {
  const { run, taken } = setUp(1);
  await run(300, (_, second) => ({
    desired: 1,
    failure: { ...CRASH, count: 1 + Math.floor(second / 10) },
  }));
  const events = taken().filter((write) => write.resource === 'events');
  t.equal(events.filter((write) => write.verb === 'create').length, 1);
  t.match(events[0]?.object, {
    type: 'Warning',
    reason: 'CrashLoop',
    note: /boom/,
    regarding: { kind: 'Function', name: 'f0', namespace: 'n', uid: 'u0' },
    reportingInstance: 'simmer-0',
    eventTime: /^2030-01-01T00:00:\d\d\.\d{6}Z$/,
  });
  const counted = events.filter((write) => write.verb === 'patch');
  t.ok(counted.length >= 3 && counted.length <= 5, `${counted.length} counts in 300 s`);
  const series = counted.at(-1)?.object['series'] as { count: number };
  t.ok(series.count > 20);
});

t.test(
  'the same trouble seen again is no repetition; one that was over in between is',
  async (t) => {
    const { run, taken } = setUp(1);
    const stuck = { reason: 'Unschedulable', message: 'no node' };
    await run(100, () => ({ stuck }));
    t.equal(taken().filter((write) => write.resource === 'events').length, 1);
    await run(5, () => ({}));
    await run(5, () => ({ stuck }));
    const again = taken().filter((write) => write.resource === 'events');
    t.match(again, [{ verb: 'patch', object: { series: { count: 2 } } }]);
  },
);

t.test('a refused manifest is told of although it has no pool', async (t) => {
  const { writer, issues, taken } = setUp(2);
  issues.set('n/f0', [{ field: 'spec.handler', reason: 'is wrong' }]);
  await writer.report(new Map());
  const writes = taken();
  t.strictSame(
    writes.map((write) => `${write.verb} ${write.resource}`),
    ['apply functions', 'create events'],
  );
  t.match(writes[1]?.object, { reason: 'ManifestRefused', note: 'spec.handler: is wrong' });
});

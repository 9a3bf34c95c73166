import t from 'tap';
import { EVENTS, FUNCTIONS, type KubeObject } from '../../src/api/api.ts';
import type { Condition } from '../../src/status/conditions.ts';
import { NO_POOL } from '../../src/status/pool-status.ts';
import { StatusWriter } from '../../src/status/writer.ts';
import { ManualClock } from '../fakes.ts';
import { Api, ensureCrds, fn, keptLog, NO_CLUSTER, ownNamespace } from './cluster.ts';

interface Status {
  readonly conditions: readonly Condition[];
}

if (NO_CLUSTER !== undefined) {
  t.plan(0, NO_CLUSTER);
} else {
  t.test('status, conditions and events', async (t) => {
    const api = Api.load();
    await ensureCrds(api);
    const namespace = await ownNamespace(t, api);
    const clock = new ManualClock();
    const log = keptLog();
    let object = await api.create(FUNCTIONS, namespace, fn('a', { minReplicas: 1 }));
    const key = `${namespace}/a`;
    const writer = new StatusWriter({
      api,
      objects: { keys: () => [key], object: () => object, issues: () => [] },
      log,
      instance: 'simmer-0',
      clock,
    });
    const read = async (): Promise<KubeObject & { status: Status }> =>
      (await api.get(FUNCTIONS, namespace, 'a')) as KubeObject & { status: Status };

    const failure = { code: 'exited_before_ready', message: 'boom', count: 3 };
    await writer.report(new Map([[key, { ...NO_POOL, desired: 1, failure }]]));
    const failing = await read();
    t.match(failing.status, { observedGeneration: 1, desiredReplicas: 1, readyReplicas: 0 });
    t.match(failing.status.conditions[0], {
      type: 'Ready',
      status: 'False',
      reason: 'CrashLoop',
      message: /3 times in a row: boom/,
    });
    object = await api.patch(FUNCTIONS, namespace, 'a', { spec: { maxReplicas: 20 } });
    clock.advance(61_000);
    const serving = { ...NO_POOL, desired: 1, ready: 1, pods: 1, queued: 2, misses: 5 };
    await writer.report(new Map([[key, serving]]));
    const after = await read();
    t.match(after.status, { observedGeneration: 2, replicas: 1, queued: 2, misses: 5 });
    const conditions = after.status.conditions.map((c) => `${c.type}=${c.status}`);
    t.strictSame(conditions, ['Ready=True', 'Progressing=False', 'Degraded=False']);
    t.not(
      after.status.conditions[0]?.lastTransitionTime,
      failing.status.conditions[0]?.lastTransitionTime,
    );

    await writer.report(
      new Map([[key, { ...NO_POOL, desired: 1, failure: { ...failure, count: 4 } }]]),
    );
    clock.advance(61_000);
    await writer.report(
      new Map([[key, { ...NO_POOL, desired: 1, failure: { ...failure, count: 9 } }]]),
    );
    const { items } = await api.list(EVENTS, namespace);
    t.match(items, [
      {
        reason: 'CrashLoop',
        note: /boom/,
        type: 'Warning',
        regarding: { kind: 'Function', name: 'a', uid: object.metadata.uid },
        series: { count: 7 },
      },
    ]);
    t.strictSame(log.lines, []);

    await api.remove(FUNCTIONS, namespace, 'a');
    clock.advance(60_000);
    await writer.report(new Map([[key, serving]]));
    t.equal(await api.find(FUNCTIONS, namespace, 'a'), undefined, 'nothing is made anew');
    t.strictSame(log.lines, []);
  });
}

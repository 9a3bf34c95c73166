import t from 'tap';
import { type Condition, conditionsOf, type Judged, troublesOf } from '../src/status/conditions.ts';
import { NO_POOL, type PoolStatus } from '../src/status/pool-status.ts';

const NOW = '2030-01-01T00:00:00Z';

function judged(pool: Partial<PoolStatus>, more: Partial<Judged> = {}): Judged {
  return {
    pool: { ...NO_POOL, ...pool },
    minReplicas: 0,
    generation: 3,
    issues: [],
    served: true,
    generic: false,
    ...more,
  };
}

const said = (given: Judged) =>
  conditionsOf(given, [], NOW).map((c) => `${c.type}=${c.status} ${c.reason}`);

const crash = { code: 'exited_before_ready', message: 'exit code 1: boom', count: 4 };
const stuck = { reason: 'Unschedulable', message: '0/1 nodes are available' };
const issues = [{ field: 'spec.source.configMap', reason: 'there is no ConfigMap c' }];

const TABLE: readonly (readonly [string, Judged, readonly string[]])[] = [
  [
    'nothing is asked for',
    judged({}),
    ['Ready=True ScaledToZero', 'Progressing=False Settled', 'Degraded=False AsExpected'],
  ],
  [
    'a WarmPool fits',
    judged({ warmPools: { names: ['warm'], reason: '' } }),
    [
      ...['Ready=True ScaledToZero', 'Progressing=False Settled', 'Degraded=False AsExpected'],
      'Claimable=True WarmPoolFits',
    ],
  ],
  [
    'no WarmPool fits',
    judged({ warmPools: { names: [], reason: 'another image' } }),
    [
      ...['Ready=True ScaledToZero', 'Progressing=False Settled', 'Degraded=False AsExpected'],
      'Claimable=False NoWarmPoolFits',
    ],
  ],
  [
    'its minimum is there',
    judged({ desired: 2, ready: 2, pods: 2 }, { minReplicas: 2 }),
    ['Ready=True Serving', 'Progressing=False Settled', 'Degraded=False AsExpected'],
  ],
  [
    'its minimum is not there yet',
    judged({ desired: 2, ready: 1, pods: 2 }, { minReplicas: 2 }),
    ['Ready=False Starting', 'Progressing=True Starting', 'Degraded=False AsExpected'],
  ],
  [
    'it grows',
    judged({ desired: 3, ready: 1, pods: 3 }, { minReplicas: 1 }),
    ['Ready=True Serving', 'Progressing=True Starting', 'Degraded=False AsExpected'],
  ],
  [
    'it rolls',
    judged({ desired: 1, ready: 1, pods: 2, rolling: true }, { minReplicas: 1 }),
    ['Ready=True Serving', 'Progressing=True Rolling', 'Degraded=False AsExpected'],
  ],
  [
    'its pods crash',
    judged({ desired: 1, failure: crash }, { minReplicas: 1 }),
    ['Ready=False CrashLoop', 'Progressing=True Starting', 'Degraded=True CrashLoop'],
  ],
  [
    'new pods crash while old ones serve',
    judged({ desired: 1, ready: 1, pods: 2, rolling: true, failure: crash }, { minReplicas: 1 }),
    ['Ready=True Serving', 'Progressing=True Rolling', 'Degraded=True CrashLoop'],
  ],
  [
    'its pods cannot be scheduled',
    judged({ desired: 1, pods: 1, stuck }, { minReplicas: 1 }),
    ['Ready=False Unschedulable', 'Progressing=True Starting', 'Degraded=True Unschedulable'],
  ],
  [
    'a backend names why it cannot launch',
    judged({ failure: { code: 'launch_failed', message: 'QuotaExceeded: pods', count: 1 } }),
    ['Ready=False QuotaExceeded', 'Progressing=False Settled', 'Degraded=True QuotaExceeded'],
  ],
  [
    'another failure',
    judged({ failure: { code: 'ready_timeout', message: 'not ready', count: 1 } }),
    ['Ready=False ReadyTimeout', 'Progressing=False Settled', 'Degraded=True ReadyTimeout'],
  ],
  [
    'its manifest was never valid',
    judged({}, { issues, served: false }),
    [
      'Ready=False ManifestRefused',
      'Progressing=False ManifestRefused',
      'Degraded=True ManifestRefused',
    ],
  ],
  [
    'its manifest is refused, the one before serves',
    judged({ desired: 1, ready: 1, pods: 1 }, { issues }),
    ['Ready=True Serving', 'Progressing=False Settled', 'Degraded=True ManifestRefused'],
  ],
];

for (const [name, given, expected] of TABLE) {
  t.test(name, (t) => {
    t.strictSame(said(given), expected);
    t.end();
  });
}

t.test('words for people: what failed, how often, where', (t) => {
  const message = (given: Judged) => conditionsOf(given, [], NOW)[2]?.message;
  t.equal(
    message(judged({ failure: crash })),
    'pods failed before they were ready, 4 times in a row: exit code 1: boom',
  );
  t.equal(message(judged({}, { issues })), 'spec.source.configMap: there is no ConfigMap c');
  const long = { ...crash, message: 'x'.repeat(100_000) };
  t.equal(message(judged({ failure: long }))?.length, 1_024);
  t.end();
});

t.test('the time of transition is kept until the status changes, whatever else does', (t) => {
  const before: Condition[] = [
    {
      type: 'Ready',
      status: 'False',
      reason: 'Old',
      message: 'old',
      observedGeneration: 1,
      lastTransitionTime: '2020-01-01T00:00:00Z',
    },
    {
      type: 'Degraded',
      status: 'True',
      reason: 'Old',
      message: 'old',
      observedGeneration: 1,
      lastTransitionTime: '2020-01-01T00:00:00Z',
    },
  ];
  const [ready, progressing, degraded] = conditionsOf(judged({ failure: crash }), before, NOW);
  t.match(ready, { reason: 'CrashLoop', lastTransitionTime: '2020-01-01T00:00:00Z' });
  t.match(progressing, { lastTransitionTime: NOW, observedGeneration: 3 });
  t.match(degraded, { reason: 'CrashLoop', lastTransitionTime: '2020-01-01T00:00:00Z' });
  const [serving] = conditionsOf(judged({ ready: 1 }), before, NOW);
  t.match(serving, { status: 'True', lastTransitionTime: NOW });
  t.end();
});

t.test('several troubles are all told, each reason once', (t) => {
  const failure = { code: 'launch_failed', message: 'Unschedulable: no node', count: 2 };
  const reasons = troublesOf(judged({ failure, stuck }, { issues })).map((x) => x.reason);
  t.strictSame(reasons, ['ManifestRefused', 'Unschedulable']);
  t.end();
});

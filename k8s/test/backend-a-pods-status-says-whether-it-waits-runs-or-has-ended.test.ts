import t from 'tap';
import { lastWords } from '../src/backend/last-words.ts';
import { refusedPod, viewJob, viewPod } from '../src/backend/pod-view.ts';

interface Status {
  metadata?: object;
  spec?: object;
  status?: object;
}
const view = ({ metadata, spec = {}, status = {} }: Status) =>
  viewPod({ metadata: { name: 'p', uid: 'u', ...metadata }, spec, status });
const stateOf = (status: object) => view({ status }).state;
const container = (state: object) => [
  { name: 'istio-proxy', state: { running: {} } },
  { name: 'function', state },
];
const waiting = (reason: string, message?: string) =>
  stateOf({ phase: 'Pending', containerStatuses: container({ waiting: { reason, message } }) });
const terminated = (terminated: object, more: object = {}) =>
  stateOf({ phase: 'Failed', ...more, containerStatuses: container({ terminated }) });

t.test('a pod that is created, pulled or set up is starting', async (t) => {
  t.strictSame(stateOf({}), { name: 'starting' });
  t.strictSame(waiting('ContainerCreating'), { name: 'starting' });
  t.strictSame(
    stateOf({ phase: 'Pending', conditions: [{ type: 'PodScheduled', status: 'True' }] }),
    { name: 'starting' },
  );
});

t.test('it runs when its own container does, whatever others do', async (t) => {
  const startedAt = '2026-01-02T03:04:05Z';
  t.strictSame(
    stateOf({ phase: 'Running', containerStatuses: container({ running: { startedAt } }) }),
    { name: 'running', since: Date.parse(startedAt) },
  );
  t.strictSame(stateOf({ phase: 'Pending', containerStatuses: container({}).slice(0, 1) }), {
    name: 'starting',
  });
});

t.test('what keeps it from starting has a name, and hope or none', async (t) => {
  for (const [reason, message, code, hopeless] of [
    ['ErrImagePull', 'dial tcp: i/o timeout', 'ImagePullFailed', false],
    ['ImagePullBackOff', 'Back-off pulling image "x": not found', 'ImagePullFailed', true],
    ['ErrImagePull', 'pull access denied', 'ImagePullFailed', true],
    ['InvalidImageName', "couldn't parse image name", 'ImagePullFailed', true],
    ['CreateContainerConfigError', 'secret "s" not found', 'ContainerRefused', true],
    [
      'CreateContainerConfigError',
      'failed to sync secret cache: timed out waiting for the condition',
      'ContainerRefused',
      false,
    ],
  ] as const) {
    const stuck = { code, message, hopeless };
    t.strictSame(waiting(reason, message), { name: 'starting', stuck }, `${reason}: ${message}`);
  }
  const message = '0/1 nodes are available: 1 Insufficient cpu.';
  const PodScheduled = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message };
  t.strictSame(stateOf({ phase: 'Pending', conditions: [PodScheduled] }), {
    name: 'starting',
    stuck: { code: 'Unschedulable', message, hopeless: false },
  });
});

t.test('how it ended is said in words', async (t) => {
  for (const [how, reason] of [
    [{ exitCode: 0, reason: 'Completed' }, 'exit code 0'],
    [{ exitCode: 3, reason: 'Error', message: 'giving up\n' }, 'exit code 3: giving up'],
    [{ exitCode: 137, reason: 'Error' }, 'signal SIGKILL'],
    [{ exitCode: 143, reason: 'Error' }, 'signal SIGTERM'],
    [{ exitCode: 137, reason: 'OOMKilled' }, 'out of memory (OOMKilled)'],
    [
      { exitCode: 128, reason: 'StartError', message: 'exec: "nope": not found' },
      'the container cannot run: exec: "nope": not found',
    ],
  ] as const) {
    t.match(terminated(how), { name: 'exited', reason, blameless: false }, reason);
  }
  t.match(terminated({ exitCode: 0, reason: 'Completed' }), { ran: true, clean: true });
  t.match(terminated({ exitCode: 128, reason: 'StartError' }), { ran: false, clean: false });
});

t.test('what a node, an eviction or the scheduler did is nobody’s fault', async (t) => {
  t.strictSame(stateOf({ phase: 'Failed', reason: 'Evicted', message: 'low on memory' }), {
    name: 'exited',
    ran: false,
    clean: false,
    reason: 'Evicted: low on memory',
    blameless: true,
  });
  const conditions = [
    { type: 'DisruptionTarget', status: 'True', reason: 'PreemptionByScheduler', message: 'm' },
  ];
  t.match(terminated({ exitCode: 143, reason: 'Error' }, { conditions }), {
    reason: 'PreemptionByScheduler: m; signal SIGTERM',
    blameless: true,
  });
  t.match(terminated({ exitCode: 137, reason: 'ContainerStatusUnknown' }), { blameless: true });
});

t.test('what went with its node has ended, whatever the kubelet said last', async (t) => {
  const containerStatuses = container({ running: { startedAt: '2026-01-02T03:04:05Z' } });
  const conditions = [
    { type: 'DisruptionTarget', status: 'True', reason: 'DeletionByPodGC', message: 'no node' },
  ];
  t.strictSame(stateOf({ phase: 'Failed', containerStatuses, conditions }), {
    name: 'exited',
    ran: false,
    clean: false,
    reason: 'DeletionByPodGC: no node',
    blameless: true,
  });
  const reason = 'NodeLost';
  t.strictSame(terminated({ exitCode: 137, reason: 'ContainerStatusUnknown' }, { reason }), {
    name: 'exited',
    ran: false,
    clean: false,
    reason: 'NodeLost; its node lost sight of it',
    blameless: true,
  });
});

t.test('one that was told to go says by whom, in any state', async (t) => {
  const metadata = { deletionTimestamp: '2026-01-02T03:04:05Z' };
  t.equal(view({ metadata }).deleting, 'deleted from outside');
  const conditions = [
    { type: 'DisruptionTarget', status: 'True', reason: 'EvictionByEvictionAPI', message: 'e' },
  ];
  const running = { phase: 'Running', conditions, containerStatuses: container({ running: {} }) };
  t.match(view({ metadata, status: running }), {
    deleting: 'EvictionByEvictionAPI: e',
    state: { name: 'running' },
  });
  t.equal(view({}).deleting, undefined);
});

t.test('a Job has finished or not', async (t) => {
  const job = (conditions?: object[]) =>
    viewJob({ metadata: { uid: 'j' }, status: { conditions } }).finished;
  t.equal(job(), undefined);
  t.equal(job([{ type: 'FailureTarget', status: 'True' }]), undefined);
  t.strictSame(job([{ type: 'Complete', status: 'True' }]), { reason: 'Complete', failed: false });
  t.strictSame(
    job([{ type: 'Failed', status: 'True', reason: 'DeadlineExceeded', message: 'too long' }]),
    { reason: 'DeadlineExceeded: too long', failed: true },
  );
});

t.test('a refusal names its kind, and not the pod that never was', async (t) => {
  t.strictSame(refusedPod('pods "f-1-abcde" is forbidden: exceeded quota: q, requested: pods=1'), {
    code: 'QuotaExceeded',
    message: 'the pod is forbidden: exceeded quota: q, requested: pods=1',
    hopeless: false,
  });
  t.match(refusedPod('pods "p" is forbidden: violates PodSecurity "restricted:latest"'), {
    code: 'PodRefused',
    hopeless: true,
  });
});

t.test('last words are the line that says most', async (t) => {
  const crash = [
    '/app/pod.mjs:26',
    "    throw new Error('no database');",
    '          ^',
    '',
    'Error: no database',
    '    at file:///app/pod.mjs:26:11',
    '',
    'Node.js v22.19.0',
    '',
  ].join('\n');
  t.equal(lastWords(crash), 'Error: no database');
  t.equal(lastWords('{"level":"error","message":"no such module"}\n'), 'no such module');
  t.equal(lastWords('{"cut off'), '{"cut off');
  t.equal(lastWords(''), '');
  t.equal(lastWords('x'.repeat(5_000)).length, 500);
});

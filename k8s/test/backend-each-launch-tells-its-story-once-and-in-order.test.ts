import type { BackendEvent } from '@simmer/protocol/backend';
import t from 'tap';
import type { JobView, PodState, PodView, Stuck } from '../src/backend/pod-view.ts';
import { type Sighting, step, type TrackedPod } from '../src/backend/tracked-pod.ts';

const launched = (more: Partial<TrackedPod> = {}): TrackedPod => ({
  podId: 'f-1',
  kind: 'pool',
  functionKey: 'default/f',
  namespace: 'default',
  revision: 'r1',
  origin: undefined,
  made: 'pod',
  launchedAt: 0,
  proofKey: 'key',
  uid: 'u1',
  label: 'f-1',
  phase: { name: 'pending', stuck: undefined },
  uids: ['u1'],
  seen: false,
  ending: false,
  toldLeaving: false,
  ...more,
});
const aJob = (more: Partial<TrackedPod> = {}) =>
  launched({ kind: 'job', made: 'job', uid: 'j1', label: '', uids: [], ...more });

const STARTING: PodState = { name: 'starting' };
const RUNNING: PodState = { name: 'running', since: 0 };
const exit = (reason: string, blameless = false): PodState => ({
  name: 'exited',
  ran: true,
  clean: false,
  reason,
  blameless,
});
const stuckBy = (code: Stuck['code'], hopeless = false): PodState => ({
  name: 'starting',
  stuck: { code, message: 'm', hopeless },
});
const pod = (state: PodState, more: Partial<PodView> = {}): PodView => ({
  name: 'f-1',
  uid: 'u1',
  state,
  deleting: undefined,
  bound: true,
  ...more,
});
const job = (more: Partial<JobView> = {}): JobView => ({
  uid: 'j1',
  finished: undefined,
  deleting: false,
  ...more,
});

/** One sighting after the other; what was told, in short. */
function story(from: TrackedPod, ...sightings: Partial<Sighting>[]) {
  let tracked = from;
  const told: string[] = [];
  const events: BackendEvent[] = [];
  for (const sighting of sightings) {
    const { after, events: now } = step(tracked, { pods: [], job: undefined, ...sighting }, 1_000);
    tracked = after;
    events.push(...now);
    told.push(...now.map(short));
  }
  return { told, tracked, events };
}

function short(event: BackendEvent): string {
  switch (event.type) {
    case 'started':
      return `started ${event.label}`;
    case 'identified':
      return `identified ${event.uid} ${event.proofKey}`;
    case 'stuck':
      return `stuck ${event.reason}${event.hopeless ? ' (hopeless)' : ''}`;
    case 'leaving':
      return `leaving ${event.reason}`;
    case 'exited':
      return `exited ${event.reason}${event.blameless ? ' (blameless)' : ''}`;
  }
}

t.test('a bare pod starts once and exits once', async (t) => {
  const { told, tracked } = story(
    launched(),
    {},
    { pods: [pod(STARTING)] },
    { pods: [pod(RUNNING)] },
    { pods: [pod(RUNNING)] },
    { pods: [pod(exit('exit code 3: giving up'))] },
    { pods: [pod(exit('exit code 3: giving up'))] },
    {},
  );
  t.strictSame(told, ['started f-1', 'exited exit code 3: giving up']);
  t.equal(tracked.phase.name, 'gone');
});

t.test('one that was never seen to run has started all the same, if it ran', async (t) => {
  t.strictSame(story(launched(), { pods: [pod(exit('exit code 1'))] }).told, [
    'started f-1',
    'exited exit code 1',
  ]);
  const never: PodState = {
    name: 'exited',
    ran: false,
    clean: false,
    reason: 'Evicted',
    blameless: true,
  };
  t.strictSame(story(launched(), { pods: [pod(never)] }).told, ['exited Evicted (blameless)']);
});

t.test('that it is not seen means nothing before it was seen, and the end after', async (t) => {
  t.strictSame(story(launched(), {}, {}).told, []);
  t.strictSame(story(launched(), { pods: [pod(RUNNING)] }, {}).told, [
    'started f-1',
    'exited it was deleted from outside (blameless)',
  ]);
  t.strictSame(story(launched({ ending: true }), { pods: [pod(RUNNING)] }, {}).told, [
    'started f-1',
    'exited it was ended',
  ]);
});

t.test('one that others told to go leaves, and its exit is nobody’s fault', async (t) => {
  const deleting = 'EvictionByEvictionAPI';
  const { told } = story(
    launched(),
    { pods: [pod(RUNNING)] },
    { pods: [pod(RUNNING, { deleting })] },
    { pods: [pod(RUNNING, { deleting })] },
    { pods: [pod(exit('exit code 0'), { deleting })] },
  );
  t.strictSame(told, [
    'started f-1',
    'leaving EvictionByEvictionAPI',
    'exited exit code 0 (blameless)',
  ]);
});

t.test('one that we told to go does not leave, it exits', async (t) => {
  const deleting = 'deleted from outside';
  const { told } = story(
    launched({ ending: true }),
    { pods: [pod(RUNNING, { deleting })] },
    { pods: [pod(exit('signal SIGKILL'), { deleting })] },
  );
  t.strictSame(told, ['started f-1', 'exited signal SIGKILL']);
});

t.test('a cause is told once, and again when it becomes another or hopeless', async (t) => {
  const { told } = story(
    launched(),
    { pods: [pod(stuckBy('Unschedulable'))] },
    { pods: [pod(stuckBy('Unschedulable'))] },
    { pods: [pod(stuckBy('ImagePullFailed'))] },
    { pods: [pod(STARTING)] },
    { pods: [pod(stuckBy('ImagePullFailed', true))] },
    { pods: [pod(stuckBy('ImagePullFailed', true))] },
    { pods: [pod(RUNNING)] },
  );
  t.strictSame(told, [
    'stuck Unschedulable: m',
    'stuck ImagePullFailed: m',
    'stuck ImagePullFailed: m (hopeless)',
    'started f-1',
  ]);
});

t.test('a Job tells of each of its pods, in turn', async (t) => {
  const second = pod(RUNNING, { name: 'f-1-b', uid: 'u2' });
  const { told, tracked } = story(
    aJob(),
    { job: job() },
    { job: job(), pods: [pod(RUNNING, { name: 'f-1-a' })] },
    { job: job(), pods: [pod(exit('Evicted', true), { name: 'f-1-a' }), second] },
    { job: job(), pods: [second] },
    { job: job({ finished: { reason: 'Complete', failed: false } }), pods: [second] },
    { job: job(), pods: [{ ...second, state: exit('exit code 0') }] },
  );
  t.strictSame(told, [
    'identified u1 key',
    'started f-1-a',
    'identified u2 key',
    'exited exit code 0',
  ]);
  t.equal(tracked.label, 'f-1-b');
});

t.test('a Job without a pod says why, from its events or its end', async (t) => {
  const trouble: Stuck = { code: 'QuotaExceeded', message: 'no', hopeless: false };
  t.strictSame(story(aJob(), { job: job(), trouble }, { job: job(), trouble }).told, [
    'stuck QuotaExceeded: no',
  ]);
  const finished = { reason: 'DeadlineExceeded', failed: true };
  t.strictSame(story(aJob(), { job: job({ finished }) }).told, ['exited DeadlineExceeded']);
  t.strictSame(story(aJob(), { job: job() }, {}).told, [
    'exited it was deleted from outside (blameless)',
  ]);
});

t.test('a Job whose pod is gone is over, whatever its controller thinks so far', async (t) => {
  t.strictSame(story(aJob(), { job: job(), pods: [pod(RUNNING)] }, { job: job() }).told, [
    'identified u1 key',
    'started f-1',
    'exited it was deleted from outside (blameless)',
  ]);
});

t.test('nothing is told before it is taken on, nor after its end', async (t) => {
  const sighting = { pods: [pod(RUNNING)] };
  t.strictSame(story(launched({ phase: { name: 'creating' } }), sighting).told, []);
  t.strictSame(story(launched({ phase: { name: 'gone' } }), sighting).told, []);
});

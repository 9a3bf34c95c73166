import { warmPoolKey } from '@simmer/protocol/names';
import t from 'tap';
import { ApiError } from '../src/api/api.ts';
import { Marks } from '../src/backend/marks.ts';
import { Timers } from '../src/backend/timers.ts';
import type { TrackedPod } from '../src/backend/tracked-pod.ts';
import { FakeApi, keptLog, ManualClock } from './fakes.ts';

const claimed = (podId: string, more: Partial<TrackedPod> = {}): TrackedPod => ({
  ...{ podId, kind: 'pool', functionKey: 'team/f', namespace: 'team', revision: 'r1' },
  ...{ origin: warmPoolKey('team', 'warm'), made: 'pod', launchedAt: 0, proofKey: '' },
  ...{ uid: `uid-of-${podId}`, label: podId, phase: { name: 'running' }, uids: [] },
  ...{ seen: true, ending: false, toldLeaving: false },
  ...more,
});

function setUp() {
  const api = new FakeApi();
  const clock = new ManualClock();
  const log = keptLog();
  const functionUid = () => 'uid-of-f';
  const timers = new Timers(clock);
  const marks = new Marks({ api: api.api, clock, timers, log, functionUid });
  return { api, clock, log, marks };
}

/** When it has loaded its function. */
const AFTER_MS = 150;
const turn = () => new Promise((resolve) => setImmediate(resolve));

async function due(clock: ManualClock): Promise<void> {
  clock.advance(AFTER_MS);
  await turn();
}

t.test('not while the pod loads its function, nor when it is gone by then', async (t) => {
  const { api, clock, marks } = setUp();
  marks.mark(claimed('p1'));
  marks.mark(claimed('p2'));
  clock.advance(AFTER_MS - 1);
  marks.mark(claimed('p3'));
  await turn();
  t.strictSame(api.writes, []);
  marks.forget('p1');
  clock.advance(1);
  await turn();
  t.strictSame(
    api.writes.map(({ name }) => name),
    ['p2'],
  );
  await due(clock);
  t.equal(api.writes.length, 2);
});

t.test("labels and owner are the function's", async (t) => {
  const { api, clock, marks } = setUp();
  marks.mark(claimed('p1'));
  await due(clock);
  t.strictSame(api.writes, [
    {
      ...{ verb: 'patch', resource: 'pods', name: 'p1' },
      object: {
        metadata: {
          uid: 'uid-of-p1',
          labels: {
            'simmer.dev/pool': null,
            'simmer.dev/function': 'f',
            'simmer.dev/revision': 'r1',
            'simmer.dev/claimed-from': 'warm',
          },
          ownerReferences: [
            {
              ...{ apiVersion: 'simmer.dev/v1alpha1', kind: 'Function', name: 'f' },
              ...{ uid: 'uid-of-f', controller: true },
            },
          ],
        },
      },
    },
  ]);
});

t.test('a burst is spread over time', async (t) => {
  const { api, clock, marks } = setUp();
  for (let i = 0; i < 100; i++) marks.mark(claimed(`p${i}`));
  clock.advance(AFTER_MS);
  for (let i = 0; i < 20; i++) await turn();
  t.equal(api.writes.length, 20);
  for (let second = 1; second <= 4; second++) {
    for (let i = 0; i < 20; i++) {
      clock.advance(50);
      await turn();
      await turn();
    }
    t.ok(Math.abs(api.writes.length - 20 * (second + 1)) <= 2, `${api.writes.length}`);
  }
  t.equal(api.writes[0]?.name, 'p0', 'in order');
});

t.test('what failed is tried again; what is gone is not, nor anything after the end', async (t) => {
  const { api, clock, log, marks } = setUp();
  api.fail = new ApiError('unreachable', 0, 'Unreachable', 'away');
  marks.mark(claimed('p1'));
  await due(clock);
  t.match(log.lines, [{ level: 'warn', message: /cannot mark the pod .* team\/f/ }]);
  api.fail = undefined;
  clock.advance(2_000);
  await due(clock);
  t.equal(api.writes.length, 1);
  api.fail = new ApiError('refused', 404, 'NotFound', 'gone');
  marks.mark(claimed('p2'));
  await due(clock);
  api.fail = undefined;
  clock.advance(10_000);
  await turn();
  t.equal(api.writes.length, 1);
  marks.stop();
  marks.mark(claimed('p3'));
  await due(clock);
  t.equal(api.writes.length, 1);
});

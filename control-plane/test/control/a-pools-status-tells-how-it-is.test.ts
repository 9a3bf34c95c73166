import t from 'tap';
import { poolStatus } from '../../src/control/pool-status.ts';
import { HEALTHY } from '../../src/control/pools/backoff.ts';
import type { Pod, Pool } from '../../src/control/pools/pool.ts';
import { newCost } from '../../src/control/sizing/cost.ts';
import { allocateCounters, FunctionCounters } from '../../src/shared/counters.ts';
import { registered } from './fakes.ts';

function pod(podId: string, more: Partial<Pod> = {}): [string, Pod] {
  const made: Pod = {
    podId,
    kind: 'pool',
    revision: 'r1',
    backend: 'kubernetes',
    credential: '',
    launchedAt: 0,
    adopted: false,
    needed: false,
    label: podId,
    phase: { name: 'ready', since: 0 },
    stuck: undefined,
    origin: undefined,
    ...more,
  };
  return [podId, made];
}

function statusOf(pods: [string, Pod][], more: Partial<Pool> = {}) {
  const counters = new FunctionCounters(allocateCounters(1), 1);
  counters.addGauge('queued', 3);
  counters.countMiss('grow');
  counters.countMiss('job');
  const pool: Pool = {
    key: 'default/f',
    slot: 1,
    registered: registered('f', { minReplicas: 2, maxReplicas: 3 }),
    pods: new Map(pods),
    backoff: HEALTHY,
    lastFailure: undefined,
    rollTarget: 0,
    lastRetireAt: 0,
    claimed: new Map(),
    claims: 0,
    fit: undefined,
    size: undefined,
    grown: 0,
    cost: newCost(0),
    deleted: false,
    wakeAt: 0,
    ...more,
  };
  return poolStatus(pool, counters);
}

t.test('the minimum is wanted, and what grew beyond it', async (t) => {
  t.match(statusOf([]), { desired: 2, ready: 0, pods: 0, rolling: false, queued: 3, misses: 2 });
  const three = [pod('a'), pod('b'), pod('c', { phase: { name: 'queued' } })];
  t.match(statusOf(three), { desired: 3, ready: 2, pods: 3 });
  t.match(statusOf([pod('j', { kind: 'job' })]), { ready: 0, pods: 0 }, 'a Job is no replica');
  const leaving = pod('d', { phase: { name: 'ending', killAt: 0 } });
  t.match(statusOf([leaving]), { desired: 2, ready: 0, pods: 1 });
});

t.test('a pod of another revision means that it rolls', async (t) => {
  t.equal(statusOf([pod('a'), pod('b', { revision: 'r0' })]).rolling, true);
});

t.test('why pods cannot start has a name, and crashes are counted', async (t) => {
  const stuck = { reason: 'ImagePullFailed: no such image', since: 0 };
  const [, starting] = pod('a', { stuck, phase: { name: 'starting', deadline: 1 } });
  t.match(statusOf([['a', starting]]).stuck, { reason: 'ImagePullFailed', message: stuck.reason });
  const words = { ...starting, stuck: { reason: 'no idea', since: 0 } };
  t.match(statusOf([['a', words]]).stuck, { reason: 'PodsCannotStart' });
  const failing = statusOf([], {
    backoff: { state: 'failing', failures: 2, failedAt: 0, suspendedUntil: 1 },
    lastFailure: {
      code: 'handler_not_loaded',
      message: 'SyntaxError',
      at: '',
      count: 2,
      hopeless: true,
    },
  });
  t.strictSame(failing.failure, {
    code: 'handler_not_loaded',
    message: 'SyntaxError',
    count: 2,
  });
});

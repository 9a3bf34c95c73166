import t from 'tap';
import { Api } from '../../src/control/api.ts';
import { HEALTHY, onFailure } from '../../src/control/pools/backoff.ts';
import type { Pod, PodPhase, Pool } from '../../src/control/pools/pool.ts';
import { newCost } from '../../src/control/sizing/cost.ts';
import { ANYONE } from '../../src/shared/caller.ts';
import { allocateCounters, FunctionCounters } from '../../src/shared/counters.ts';
import type { PodSnapshot } from '../../src/shared/messages.ts';
import { manifestOf, registered } from './fakes.ts';

const NOW = 10_000;
const pod = (podId: string, phase: PodPhase, more: Partial<Pod> = {}): Pod => ({
  podId,
  kind: 'pool',
  revision: 'r1',
  backend: 'process',
  credential: 'secret',
  launchedAt: 4_000,
  adopted: false,
  needed: false,
  stuck: undefined,
  origin: undefined,
  label: '4711',
  phase,
  ...more,
});
const snapshot = (podId: string, state: PodSnapshot['state'], inFlight = 0): PodSnapshot => ({
  podId,
  kind: 'pool',
  functionKey: 'default/echo',
  state,
  inFlight,
  stale: false,
});

function setUp() {
  const memory = allocateCounters(2);
  const base = {
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
  };
  const ready = { name: 'ready', since: 0 } as const;
  const pods = [
    pod('p1', ready),
    pod('p2', ready, { revision: 'r0' }),
    pod('p3', { name: 'starting', deadline: 0 }),
    pod('p4', { name: 'queued' }, { label: undefined }),
    pod('p5', { name: 'draining', killAt: 0, wasReady: true }),
    pod('p6', ready, { kind: 'job' }),
  ];
  const echo: Pool = {
    ...base,
    key: 'default/echo',
    slot: 1,
    registered: registered('echo', { minReplicas: 1, env: [{ name: 'A', value: 'b' }] }),
    pods: new Map(pods.map((p) => [p.podId, p])),
  };
  const crashing: Pool = {
    ...base,
    key: 'team/crashing',
    slot: 2,
    registered: {
      key: 'team/crashing',
      manifest: manifestOf('crashing', {}, 'team'),
      baseDir: '/',
      revision: 'r9',
    },
    pods: new Map(),
    backoff: onFailure(HEALTHY, 9_800, 9_900),
    lastFailure: {
      code: 'exited_before_ready',
      message: 'exit code 1',
      at: '2026-01-01T00:00:00.000Z',
      count: 1,
      hopeless: false,
    },
  };
  const counters = new FunctionCounters(memory, 1);
  counters.addGauge('queued', 5);
  counters.addGauge('podsBusy', 1);
  counters.count('accepted');
  counters.countMiss('grow');
  counters.countPlacement('warm');
  const pools = [crashing, echo];
  const api = new Api({
    pools: {
      pools: () => pools,
      pool: (key) => pools.find((p) => p.key === key),
      defaultBackend: 'process',
    },
    memory,
    now: () => NOW,
    callbackKey: (key) => `key of ${key}`,
  });
  const get = (path: string, pods: PodSnapshot[] = []) => {
    const answer = api.answer({
      type: 'http-request',
      requestId: 42,
      method: 'GET',
      path,
      query: '',
      executionId: 'boot-1',
      caller: ANYONE,
      contentType: '',
      ifMatch: '',
      contentDigest: '',
      body: null,
      pods,
    });
    t.match(answer, { type: 'http-response', requestId: 42 });
    return { ...answer, body: JSON.parse(answer.body as string) };
  };
  return { get };
}

t.test('functions are listed by key, and one is told of in full', async (t) => {
  const { get } = setUp();
  const list = get('/v1/functions');
  t.match(list, { status: 200, contentType: 'application/json' });
  t.match(list.body.functions, [
    {
      name: 'echo',
      namespace: 'default',
      urlName: 'echo',
      spec: { handler: 'handler.js', concurrency: 1, minReplicas: 1 },
      status: { revision: 'r1', queued: 5, accepted: 1, pods: { busy: 1, idle: 0 } },
    },
    {
      name: 'crashing',
      namespace: 'team',
      urlName: 'crashing.team',
      status: { lastFailure: { count: 1 } },
    },
  ]);
  const one = get('/v1/functions/echo.default');
  t.strictSame(
    one.body.spec,
    registered('echo', { minReplicas: 1, env: [{ name: 'A', value: 'b' }] }).manifest.spec,
  );
  t.notOk('lastFailure' in one.body.status);
});

t.test('a pool tells what each of its pods does', async (t) => {
  const { get } = setUp();
  const pods = [
    snapshot('p1', 'busy', 3),
    snapshot('p2', 'idle'),
    snapshot('p3', 'connected'),
    snapshot('p4', 'launching'),
    snapshot('p5', 'busy', 1),
    snapshot('p6', 'busy', 1),
    snapshot('p7', 'idle'),
  ];
  const summary = {
    name: 'echo',
    namespace: 'default',
    urlName: 'echo',
    kind: 'Function',
    revision: 'r1',
    backend: 'process',
    minReplicas: 1,
    maxReplicas: 10,
    desired: 4,
    live: 6,
    ready: 3,
    idle: 1,
    busy: 2,
    launching: 2,
    draining: 1,
    stale: 1,
    jobs: 1,
    lost: 0,
    misses: { wait: 0, generic: 0, grow: 1, job: 0, exhausted: 0 },
    placements: { warm: 1, waited: 0, grown: 0, generic: 0, job: 0 },
  };
  t.strictSame(get('/v1/pools/echo', pods).body, {
    ...summary,
    cost: {
      ...{ podSeconds: 0, idlePodSeconds: 0, idleMibSeconds: 0, memoryMib: 320 },
      ...{ coldStarts: 0, coldStartSeconds: 0, savedSeconds: 0 },
    },
    pods: [
      {
        id: 'p1',
        label: '4711',
        kind: 'pool',
        state: 'busy',
        inFlight: 3,
        ageMs: 6_000,
        stale: false,
      },
      {
        id: 'p2',
        label: '4711',
        kind: 'pool',
        state: 'idle',
        inFlight: 0,
        ageMs: 6_000,
        stale: true,
      },
      {
        id: 'p3',
        label: '4711',
        kind: 'pool',
        state: 'launching',
        inFlight: 0,
        ageMs: 6_000,
        stale: false,
      },
      {
        id: 'p4',
        label: null,
        kind: 'pool',
        state: 'launching',
        inFlight: 0,
        ageMs: 6_000,
        stale: false,
      },
      {
        id: 'p5',
        label: '4711',
        kind: 'pool',
        state: 'draining',
        inFlight: 1,
        ageMs: 6_000,
        stale: false,
      },
      {
        id: 'p6',
        label: '4711',
        kind: 'job',
        state: 'busy',
        inFlight: 1,
        ageMs: 6_000,
        stale: false,
      },
    ],
  });
  const list = get('/v1/pools', pods);
  t.strictSame(list.body.pools[0], summary);
  t.match(list.body.pools[1], {
    name: 'crashing',
    live: 0,
    lastFailure: { code: 'exited_before_ready', message: 'exit code 1', count: 1 },
    launchesSuspendedMs: 400,
  });
  t.notMatch(JSON.stringify(list.body), /secret/);
});

t.test('what is not there is a problem with a code', async (t) => {
  const { get } = setUp();
  for (const [path, status, code] of [
    ['/v1/functions/nope', 404, 'function_not_found'],
    ['/v1/pools/nope', 404, 'pool_not_found'],
    ['/v1/pools/..', 400, 'invalid_function_name'],
    ['/v1/functions/%00', 400, 'invalid_function_name'],
    [`/v1/functions/${'a'.repeat(300)}`, 400, 'invalid_function_name'],
    ['/v1/functions/', 400, 'invalid_function_name'],
    ['/v1/functions/echo/x', 404, 'route_not_found'],
    ['/v1/other', 404, 'route_not_found'],
  ] as const) {
    const answer = get(path);
    t.match(answer, { status, contentType: 'application/problem+json' }, path);
    t.match(answer.body, { status, code, executionId: 'boot-1' }, path);
  }
});

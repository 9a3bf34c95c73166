import { KubeConfig } from '@kubernetes/client-node';
import type { BackendEvent } from '@simmer/protocol/backend';
import t, { type Test } from 'tap';
import { type Api, ApiError, type KubeObject, PODS, type Resource } from '../src/api/api.ts';
import { KubernetesBackend } from '../src/backend/backend.ts';
import { fakeClock, specOf } from './backend-fixtures.ts';

const unreachable = () => new ApiError('unreachable', 0, 'Unreachable', 'no answer');
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

/** An API server whose watches never come; what it is asked to write is kept, and may go unanswered. */
class LameApi {
  readonly config = new KubeConfig();
  readonly asked: { verb: string; name: string; graceSeconds?: number }[] = [];
  readonly objects = new Map<string, KubeObject>();
  away = false;
  unanswered = false;

  async list(_: Resource, __: string, options: { labelSelector?: string } = {}) {
    if (options.labelSelector !== undefined || this.away) throw unreachable();
    return { items: [...this.objects.values()], resourceVersion: '1' };
  }

  async find() {
    if (this.away) throw unreachable();
    return { metadata: {}, data: { key: btoa('the-key') } };
  }

  async create(resource: Resource, namespace: string, object: KubeObject) {
    if (this.away) throw unreachable();
    const { name = '' } = object.metadata;
    this.asked.push({ verb: `create ${resource.plural}`, name });
    const created = { ...object, metadata: { ...object.metadata, namespace, uid: `uid-${name}` } };
    this.objects.set(name, created);
    if (this.unanswered) throw unreachable();
    return created;
  }

  async remove(
    resource: Resource,
    _: string,
    name: string,
    { graceSeconds }: { graceSeconds?: number } = {},
  ) {
    if (this.away) throw unreachable();
    const grace = graceSeconds === undefined ? {} : { graceSeconds };
    this.asked.push({ verb: `delete ${resource.plural}`, name, ...grace });
    return true;
  }
}

function setUp(t: Test) {
  const api = new LameApi();
  const clock = fakeClock();
  const quiet = () => {};
  const backend = new KubernetesBackend({
    api: api as unknown as Api,
    namespaces: ['default'],
    runtimeImage: 'i',
    caPem: '',
    log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
    functionUid: () => undefined,
    clock,
  });
  t.teardown(() => backend.close());
  const events: BackendEvent[] = [];
  backend.onEvent((event) => void events.push(event));
  const launch = (podId: string) =>
    backend.launch({
      podId,
      kind: 'pool',
      functionKey: 'default/f',
      spec: specOf(),
      revision: 'r1',
      baseDir: '',
      credential: 'c',
      address: 'ws://a:1',
    });
  const advance = async (ms: number) => {
    clock.advance(ms);
    await settle();
    await settle();
  };
  const types = () => events.map((e) => e.type);
  return { api, backend, launch, advance, events, types };
}

t.test('a launch is refused with the reason, and works once it is back', async (t) => {
  const { api, launch, backend, types } = setUp(t);
  api.away = true;
  await t.rejects(launch('f-1'), { code: 'launch_failed', message: /no answer/ });
  t.strictSame(types(), []);
  api.away = false;
  await launch('f-2');
  t.strictSame(types(), ['identified']);
  t.strictSame(
    (await backend.list()).map((p) => p.podId),
    ['f-2'],
  );
});

t.test('an end that could not be asked for is asked for again, once more at a time', async (t) => {
  const { api, launch, backend, advance } = setUp(t);
  await launch('f-1');
  api.away = true;
  await t.rejects(backend.terminate('f-1', 0), { code: 'unreachable' });
  api.away = false;
  await backend.terminate('f-1', 20_000);
  await backend.terminate('f-1', 30_000);
  await backend.terminate('f-1', 400);
  const deleted = () =>
    api.asked.filter((a) => a.verb === 'delete pods').map((a) => a.graceSeconds);
  t.strictSame(deleted(), [20, 1], 'a longer one is no news');
  await advance(10_000);
  t.strictSame(deleted(), [20, 1]);
  await advance(1_000);
  t.strictSame(deleted(), [20, 1, 0], 'its node does not answer: it is struck off');
});

t.test('a pod that came and went while no watch ran is told of as exited', async (t) => {
  const { api, launch, advance, types } = setUp(t);
  await launch('f-1');
  await advance(20_000);
  t.strictSame(types(), ['identified'], 'it is there');
  api.objects.clear();
  api.away = true;
  await advance(20_000);
  t.strictSame(types(), ['identified'], 'nobody knows');
  api.away = false;
  await advance(20_000);
  t.strictSame(types(), ['identified', 'exited']);
});

t.test('nothing is asked for once it is closed', async (t) => {
  const { api, launch, backend, advance } = setUp(t);
  await launch('f-1');
  await backend.terminate('f-1', 0);
  await backend.close();
  const { length } = api.asked;
  await advance(60_000);
  await backend.terminate('f-1', 0);
  await t.rejects(launch('f-2'), { message: /the backend is closed/ });
  t.equal(api.asked.length, length);
  t.equal(api.asked[0]?.verb, `create ${PODS.plural}`);
});

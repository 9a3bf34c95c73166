import t from 'tap';
import { Api, ApiError, JOBS, type KubeObject, PODS, type Resource } from '../../src/api/api.ts';
import { NO_CLUSTER, ownNamespace, until } from './cluster.ts';
import { makeBackend, requestIn } from './pods.ts';

/** The API server does what it is asked for, but its answers are lost. */
class Unanswered extends Api {
  lost = true;

  override async create<T extends KubeObject>(
    resource: Resource,
    namespace: string,
    object: KubeObject,
  ): Promise<T> {
    const created = await super.create<T>(resource, namespace, object);
    if (this.lost && (resource === PODS || resource === JOBS)) {
      throw new ApiError('unreachable', 0, 'Unreachable', 'the answer was lost');
    }
    return created;
  }
}

if (NO_CLUSTER) t.plan(0, NO_CLUSTER);
else {
  t.test('a pod or Job whose creation was not answered is removed when it is seen', async (t) => {
    const api = new Unanswered(Api.load().config);
    const namespace = await ownNamespace(t, api);
    const { backend, of, told } = makeBackend(t, api, namespace);
    await backend.start();
    for (const kind of ['pool', 'job'] as const) {
      const request = requestIn(namespace, 'f', { kind });
      await t.rejects(backend.launch(request), { message: /the answer was lost/ });
      const resource = kind === 'job' ? JOBS : PODS;
      await until('it is gone', async () => !(await api.find(resource, namespace, request.podId)));
      t.strictSame(of(request.podId), []);
    }
    await until('no pod is left', async () => (await api.list(PODS, namespace)).items.length === 0);
    api.lost = false;
    const next = requestIn(namespace, 'f');
    await backend.launch(next);
    await told(next.podId, 'started');
  });
}

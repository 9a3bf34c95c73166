import t from 'tap';
import { JOBS, PODS } from '../../src/api/api.ts';
import { NO_CLUSTER, until } from './cluster.ts';
import { requestIn, setUp } from './pods.ts';

if (NO_CLUSTER) t.plan(0, NO_CLUSTER);
else {
  t.test('an eviction: it leaves, finishes in its grace, and nobody is to blame', async (t) => {
    const { api, backend, namespace, told, typesOf } = await setUp(t);
    const request = requestIn(namespace, 'slow');
    const { podId } = request;
    await backend.launch(request);
    await told(podId, 'started');
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: podId } };
    await api.create(PODS, namespace, eviction, { subresource: 'eviction' });
    t.match(await told(podId, 'leaving'), { reason: /EvictionByEvictionAPI/ });
    t.match(await told(podId, 'exited'), { blameless: true });
    t.strictSame(typesOf(podId), ['identified', 'started', 'leaving', 'exited']);
    t.strictSame(await backend.list(), []);
  });

  t.test('a deletion from outside, with grace and without', async (t) => {
    const { api, backend, namespace, told } = await setUp(t);
    for (const graceSeconds of [5, 0]) {
      const request = requestIn(namespace, 'f');
      await backend.launch(request);
      await told(request.podId, 'started');
      await api.remove(PODS, namespace, request.podId, { graceSeconds });
      t.match(await told(request.podId, 'exited'), { blameless: true });
    }
  });

  t.test('a Job that loses its pod is over, and makes no other', async (t) => {
    const { api, backend, namespace, told, of } = await setUp(t);
    const request = requestIn(namespace, 'f', { kind: 'job' });
    const { podId } = request;
    await backend.launch(request);
    const { label } = await told(podId, 'started');
    t.match(label, /^f-\d+-\w{5}$/, 'its label is the pod’s name');
    await api.remove(PODS, namespace, label, { graceSeconds: 1 });
    t.match(await told(podId, 'exited'), { blameless: true });
    await until('the Job is gone', async () => !(await api.find(JOBS, namespace, podId)));
    await until(
      'its pods are gone',
      async () => (await api.list(PODS, namespace)).items.length === 0,
    );
    t.equal(of(podId).filter((e) => e.type === 'identified').length, 1);
  });

  t.test('a Job that is deleted from outside leaves, and its pod with it', async (t) => {
    const { api, backend, namespace, told } = await setUp(t);
    const request = requestIn(namespace, 'slow', { kind: 'job' });
    const { podId } = request;
    await backend.launch(request);
    await told(podId, 'started');
    await api.remove(JOBS, namespace, podId);
    await told(podId, 'leaving');
    t.match(await told(podId, 'exited'), { blameless: true });
    await until(
      'its pods are gone',
      async () => (await api.list(PODS, namespace)).items.length === 0,
    );
  });

  t.test('a Job that is ended takes its pod along within the grace', async (t) => {
    const { api, backend, namespace, told, typesOf } = await setUp(t);
    const request = requestIn(namespace, 'stubborn', { kind: 'job' });
    const { podId } = request;
    await backend.launch(request);
    await told(podId, 'started');
    await backend.terminate(podId, 0);
    t.match(await told(podId, 'exited'), { reason: 'signal SIGKILL' });
    t.strictSame(typesOf(podId), ['identified', 'started', 'exited']);
    await until('the Job is gone', async () => !(await api.find(JOBS, namespace, podId)));
    await until(
      'its pods are gone',
      async () => (await api.list(PODS, namespace)).items.length === 0,
    );
  });

  t.test('one that is ended while it is created never runs for long', async (t) => {
    const { api, backend, namespace, told } = await setUp(t);
    for (const kind of ['pool', 'job'] as const) {
      const request = requestIn(namespace, 'stubborn', { kind });
      const launching = backend.launch(request);
      await backend.terminate(request.podId, 0);
      await launching;
      await told(request.podId, 'exited');
    }
    await until('nothing is left', async () => {
      const [pods, jobs] = [await api.list(PODS, namespace), await api.list(JOBS, namespace)];
      return pods.items.length === 0 && jobs.items.length === 0;
    });
  });

  t.test('what ends by itself is cleared away, a failure later than the rest', async (t) => {
    const { api, backend, namespace, told } = await setUp(t);
    const failing = requestIn(namespace, 'exits');
    await backend.launch(failing);
    t.match(await told(failing.podId, 'exited'), { reason: 'exit code 3: giving up' });
    const ended = requestIn(namespace, 'f');
    await backend.launch(ended);
    await told(ended.podId, 'started');
    await backend.terminate(ended.podId, 20_000);
    t.match(await told(ended.podId, 'exited'), { reason: 'exit code 0' });
    await until('the one is gone', async () => !(await api.find(PODS, namespace, ended.podId)));
    t.ok(await api.find(PODS, namespace, failing.podId), 'the other can still be looked at');
  });
}

import t from 'tap';
import { NAMESPACES, RESOURCE_QUOTAS } from '../../src/api/api.ts';
import { NO_CLUSTER, until } from './cluster.ts';
import { kubectl, nodeSpec, requestIn, setUp } from './pods.ts';

if (NO_CLUSTER) t.plan(0, NO_CLUSTER);
else {
  const job = { kind: 'job' } as const;

  t.test('an image that is not there', async (t) => {
    const { backend, namespace, told } = await setUp(t);
    const image = 'localhost/simmer-test/nowhere:1';
    const template = { imagePullPolicy: 'Never' };
    for (const kind of ['pool', 'job'] as const) {
      const request = requestIn(namespace, 'no-image', {
        kind,
        spec: nodeSpec({ image, template }),
      });
      await backend.launch(request);
      const { reason, hopeless } = await told(request.podId, 'stuck');
      t.match(reason, /^ImagePullFailed: .*nowhere/s);
      t.ok(hopeless);
      await backend.terminate(request.podId, 0);
      t.match(await told(request.podId, 'exited'), { reason: 'it was ended' });
    }
  });

  t.test('no node that would do', async (t) => {
    const { backend, namespace, told } = await setUp(t);
    for (const kind of ['pool', 'job'] as const) {
      const spec = nodeSpec({ template: { nodeSelector: { 'simmer.dev/test': 'nowhere' } } });
      const request = requestIn(namespace, 'no-node', { kind, spec });
      await backend.launch(request);
      const { reason, hopeless } = await told(request.podId, 'stuck');
      t.match(reason, /^Unschedulable: 0\/\d+ nodes are available/);
      t.notOk(hopeless, 'the cluster may grow');
      await backend.terminate(request.podId, 0);
      await told(request.podId, 'exited');
    }
  });

  t.test('a quota: a pod is refused, a Job stays without one', async (t) => {
    const { api, backend, namespace, told, of } = await setUp(t);
    const quota = { metadata: { name: 'none' }, spec: { hard: { pods: '0' } } };
    await api.create(RESOURCE_QUOTAS, namespace, quota);
    // Its status is there before the admission plugin has heard of it, which then has other words.
    await until('the quota is enforced', async () => {
      const probe = ['run', 'probe', '--image', 'x', '--dry-run=server', '-n', namespace];
      const refusal = await kubectl(...probe).catch((error: Error) => error.message);
      return refusal.includes('exceeded quota: none');
    });
    const pod = requestIn(namespace, 'over-quota');
    await t.rejects(backend.launch(pod), {
      code: 'launch_failed',
      message: /cannot launch a pod of over-quota: QuotaExceeded: .*exceeded quota: none/s,
    });
    t.strictSame(of(pod.podId), []);
    const request = requestIn(namespace, 'over-quota', job);
    await backend.launch(request);
    const { reason, hopeless } = await told(request.podId, 'stuck');
    t.match(reason, /^QuotaExceeded: .*exceeded quota: none/s);
    t.notOk(hopeless, 'others may end');
    // It goes on by itself once there is room.
    await api.remove(RESOURCE_QUOTAS, namespace, 'none');
    await backend.terminate(request.podId, 0);
    t.match(await told(request.podId, 'exited'), { reason: 'it was ended' });
    t.strictSame(await backend.list(), []);
  });

  t.test('Pod Security: what a namespace does not allow is hopeless', async (t) => {
    const { api, backend, namespace, told } = await setUp(t);
    const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
    await api.patch(NAMESPACES, '', namespace, { metadata: { labels } });
    const allowed = requestIn(namespace, 'restricted');
    await backend.launch(allowed);
    t.ok(await told(allowed.podId, 'started'), 'what we make by default is restricted');
    const template = { securityContext: { allowPrivilegeEscalation: true } };
    const spec = nodeSpec({ template });
    await t.rejects(backend.launch(requestIn(namespace, 'escalates', { spec })), {
      message: /PodRefused: .*violates PodSecurity "restricted/s,
    });
    const request = requestIn(namespace, 'escalates', { ...job, spec });
    await backend.launch(request);
    t.match(await told(request.podId, 'stuck'), {
      reason: /^PodRefused: .*violates PodSecurity/s,
      hopeless: true,
    });
  });

  t.test('a Secret of the function that is missing; and root, which is refused', async (t) => {
    const { backend, namespace, told, of } = await setUp(t);
    const env = [{ name: 'A', valueFrom: { secretKeyRef: { name: 'mine', key: 'k' } } }];
    const request = requestIn(namespace, 'no-secret', { spec: nodeSpec({ env }) });
    await backend.launch(request);
    t.match(await told(request.podId, 'stuck'), {
      reason: 'ContainerRefused: secret "mine" not found',
      hopeless: true,
    });
    const { template, ...rest } = nodeSpec();
    const { runAsUser: _, ...rootly } = template ?? { readOnlyRootFilesystem: false };
    const root = requestIn(namespace, 'root', { spec: { ...rest, template: rootly } });
    await backend.launch(root);
    // Before it may say that the kubelet has not read what the pod needs.
    const refused = await until('it is refused', async () =>
      of(root.podId).find((e) => e.type === 'stuck' && e.reason.includes('runAsNonRoot')),
    );
    t.match(refused, { hopeless: true });
  });

  t.test('a volume that cannot be mounted', async (t) => {
    const { backend, namespace, told } = await setUp(t);
    const template = {
      volumes: [{ name: 'v', configMap: { name: 'nowhere' } }],
      volumeMounts: [{ name: 'v', mountPath: '/v' }],
    };
    const request = requestIn(namespace, 'no-volume', { spec: nodeSpec({ template }) });
    await backend.launch(request);
    t.match(await told(request.podId, 'stuck'), {
      reason: /^MountFailed: .*configmap "nowhere" not found/s,
    });
  });

  t.test('what is no pod at all, and a namespace that is gone', async (t) => {
    const { backend, namespace } = await setUp(t, { namespaces: ['simmer-test-gone'] });
    await t.rejects(backend.launch(requestIn(namespace, 'f')), {
      message: /namespace simmer-test-\w+ is not among those that are served/,
    });
    await t.rejects(backend.launch(requestIn('simmer-test-gone', 'f')), {
      code: 'launch_failed',
      message: /namespaces? "simmer-test-gone" not found/,
    });
  });
}

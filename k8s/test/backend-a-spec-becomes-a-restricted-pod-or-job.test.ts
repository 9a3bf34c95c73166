import t from 'tap';
import { isJob, jobObject, podObject } from '../src/backend/pod-template.ts';
import { launchOf, SETTINGS } from './backend-fixtures.ts';

// biome-ignore lint/suspicious/noExplicitAny: objects of the Kubernetes API, looked into
const pod = (spec: object = {}, settings = SETTINGS): any => podObject(launchOf(spec), settings);
const envOf = (object: { spec: { containers: { env: { name: string }[] }[] } }) =>
  Object.fromEntries(
    (object.spec.containers[0]?.env ?? []).map(({ name, ...rest }) => [name, rest]),
  );

t.test('a bare function becomes a restricted pod without a volume', async (t) => {
  t.strictSame(pod(), {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'f-boot-1',
      namespace: 'team-a',
      labels: {
        'app.kubernetes.io/managed-by': 'simmer',
        'simmer.dev/function': 'f',
        'simmer.dev/pod-id': 'f-boot-1',
        'simmer.dev/kind': 'pool',
        'simmer.dev/revision': 'r1',
      },
      annotations: { 'simmer.dev/launched-at': '2026-01-02T03:04:05.006Z' },
      ownerReferences: [
        {
          apiVersion: 'simmer.dev/v1alpha1',
          kind: 'Function',
          name: 'f',
          uid: 'uid-of-f',
          controller: true,
        },
      ],
    },
    spec: {
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      // the longest timeout that may be asked for, 1 s of grace, 2 s of slack
      terminationGracePeriodSeconds: 63,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        {
          name: 'function',
          image: 'registry.example/runtime:1',
          env: [
            { name: 'SIMMER_ADDRESS', value: 'wss://10.0.0.1:8082' },
            {
              name: 'SIMMER_FALLBACK_ADDRESS',
              value: 'wss://simmer-pods.simmer-system:8082',
            },
            { name: 'SIMMER_CA', value: '-----CA-----' },
            { name: 'SIMMER_POD_UID', valueFrom: { fieldRef: { fieldPath: 'metadata.uid' } } },
            {
              name: 'SIMMER_POOL_KEY',
              valueFrom: { secretKeyRef: { name: 'simmer-pool-f', key: 'key' } },
            },
            { name: 'SIMMER_TOKEN', value: 'token' },
            { name: 'SIMMER_FUNCTION', value: 'team-a/f' },
            { name: 'SIMMER_HANDLER', value: 'handler.js' },
            { name: 'SIMMER_CAPACITY', value: '1' },
            { name: 'SIMMER_GRACE_MS', value: '62000' },
          ],
          terminationMessagePolicy: 'FallbackToLogsOnError',
          securityContext: {
            allowPrivilegeEscalation: false,
            capabilities: { drop: ['ALL'] },
            readOnlyRootFilesystem: false,
          },
        },
      ],
    },
  });
});

t.test('everything of the template reaches the pod', async (t) => {
  const template = {
    labels: { team: 'a', 'app.kubernetes.io/managed-by': 'somebody' },
    annotations: { note: 'n' },
    imagePullSecrets: [{ name: 'registry' }],
    imagePullPolicy: 'Always',
    command: ['node'],
    args: ['main.js'],
    envFrom: [{ prefix: 'P_', secretRef: { name: 's' } }],
    resources: { requests: { cpu: '100m' }, limits: { memory: '64Mi' } },
    nodeSelector: { disk: 'ssd' },
    tolerations: [{ key: 'k', operator: 'Exists' }],
    affinity: { nodeAffinity: {} },
    topologySpreadConstraints: [{ maxSkew: 1 }],
    priorityClassName: 'high',
    runtimeClassName: 'gvisor',
    serviceAccountName: 'sa',
    volumes: [{ name: 'v', emptyDir: {} }],
    volumeMounts: [{ name: 'v', mountPath: '/v' }],
    readOnlyRootFilesystem: true,
    runAsUser: 1234,
    securityContext: { capabilities: { add: ['NET_BIND_SERVICE'], drop: ['ALL'] } },
    podSecurityContext: { fsGroup: 7 },
    terminationGracePeriodSeconds: 5,
  };
  const made = pod({
    image: 'me/f:1',
    template,
    concurrency: 7,
    env: [
      { name: 'A', value: 'a' },
      { name: 'B', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } },
    ],
  });
  t.match(made.metadata, { labels: { team: 'a' }, annotations: { note: 'n' } });
  t.equal(made.metadata.labels['app.kubernetes.io/managed-by'], 'simmer', 'ours win');
  const { nodeSelector, tolerations, affinity, topologySpreadConstraints } = template;
  const { priorityClassName, runtimeClassName, serviceAccountName, volumes } = template;
  const { imagePullSecrets, terminationGracePeriodSeconds } = template;
  t.match(made.spec, {
    imagePullSecrets,
    nodeSelector,
    tolerations,
    affinity,
    topologySpreadConstraints,
    priorityClassName,
    runtimeClassName,
    serviceAccountName,
    volumes,
    terminationGracePeriodSeconds,
    securityContext: { runAsUser: 1234, runAsNonRoot: true, fsGroup: 7 },
  });
  const [container] = made.spec.containers;
  const { imagePullPolicy, command, args, envFrom, resources, volumeMounts } = template;
  t.match(container, {
    image: 'me/f:1',
    imagePullPolicy,
    command,
    args,
    envFrom,
    resources,
    volumeMounts,
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { add: ['NET_BIND_SERVICE'], drop: ['ALL'] },
    },
  });
  t.match(envOf(made), {
    A: { value: 'a' },
    B: { valueFrom: { secretKeyRef: { name: 's', key: 'k' } } },
    SIMMER_CAPACITY: { value: '7' },
    SIMMER_GRACE_MS: { value: '4000' },
  });
});

t.test('code of the manifest comes over the socket: no handler is named', async (t) => {
  const env = envOf(pod({ source: { inline: 'export default () => 1' } }));
  t.notOk('SIMMER_HANDLER' in env);
  t.match(env['SIMMER_FUNCTION'], { value: 'team-a/f' });
});

t.test('without TLS and without a Service nothing is said of them', async (t) => {
  const env = envOf(pod({}, { ...SETTINGS, caPem: '', fallbackAddress: '' }));
  t.notOk('SIMMER_CA' in env);
  t.notOk('SIMMER_FALLBACK_ADDRESS' in env);
});

t.test('the function that owns itself is not asked for where there is none', async (t) => {
  const { functionUid: _, ...launch } = launchOf();
  t.notOk('ownerReferences' in podObject(launch, SETTINGS).metadata);
});

t.test('a Job runs one pod once, for a bounded time', async (t) => {
  const launch = launchOf({ template: { labels: { team: 'a' } } }, { kind: 'job' });
  t.ok(isJob(launch));
  // biome-ignore lint/suspicious/noExplicitAny: as above
  const job: any = jobObject(launch, SETTINGS);
  t.match(job, {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: 'f-boot-1', namespace: 'team-a', ownerReferences: [{ uid: 'uid-of-f' }] },
    spec: {
      backoffLimit: 0,
      completions: 1,
      parallelism: 1,
      activeDeadlineSeconds: 600,
      ttlSecondsAfterFinished: 60,
    },
  });
  t.strictSame(job.spec.template.metadata, {
    labels: job.metadata.labels,
    annotations: job.metadata.annotations,
  });
  t.equal(job.metadata.labels['simmer.dev/kind'], 'job');
  t.strictSame(job.spec.template.spec, podObject(launch, SETTINGS)['spec']);
});

t.test('a Job lives long enough for one invocation, however short its life is set', async (t) => {
  const launch = launchOf(
    { startupTimeoutMs: 10_000, timeoutMs: 120_000, graceMs: 2_000 },
    { kind: 'job' },
  );
  // biome-ignore lint/suspicious/noExplicitAny: as above
  const job: any = jobObject(launch, { ...SETTINGS, maxLifetimeMs: 1_000 });
  t.equal(job.spec.activeDeadlineSeconds, 132);
});

t.test('a grace of days is no more than a runtime takes', async (t) => {
  const env = envOf(pod({ template: { terminationGracePeriodSeconds: 604_800 } }));
  t.match(env['SIMMER_GRACE_MS'], { value: '86400000' });
  const none = envOf(pod({ template: { terminationGracePeriodSeconds: 0 } }));
  t.match(none['SIMMER_GRACE_MS'], { value: '0' });
});

t.test('overflow may be bare pods, and a pool never is of Jobs', async (t) => {
  t.notOk(isJob(launchOf({ overflowKind: 'Pod' }, { kind: 'job' })));
  t.notOk(isJob(launchOf({}, { kind: 'pool' })));
});

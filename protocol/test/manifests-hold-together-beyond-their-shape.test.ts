import t from 'tap';
import { type FunctionManifest, resolveManifest } from '../src/manifest.ts';

const apiVersion = 'simmer.dev/v1alpha1';
const manifest = (spec: object) => ({
  apiVersion,
  kind: 'Function',
  metadata: { name: 'f' },
  spec: { handler: 'h.js', ...spec },
});

function issues(spec: object, kind = 'Function'): string[] {
  const { handler, ...rest } = manifest(spec).spec;
  const given = kind === 'Function' ? { handler, ...rest } : rest;
  const resolved = resolveManifest({ ...manifest({}), kind, spec: given });
  return resolved.ok ? ['accepted'] : resolved.issues.map((i) => `${i.field}: ${i.reason}`);
}

t.test('a value of the environment is written down or comes from one place', async (t) => {
  const ref = { name: 'keys', key: 'token' };
  const accepted = [
    { name: 'A', value: '' },
    { name: 'A', valueFrom: { secretKeyRef: ref } },
    { name: 'A', valueFrom: { configMapKeyRef: { ...ref, optional: true } } },
    { name: 'A', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
  ];
  for (const variable of accepted) t.same(issues({ env: [variable] }), ['accepted']);
  const refused: [object, string][] = [
    [{ name: 'A' }, 'spec.env[0]: lacks value or valueFrom'],
    [
      { name: 'A', value: '1', valueFrom: { secretKeyRef: ref } },
      'spec.env[0]: must hold value or valueFrom, not both',
    ],
    [
      { name: 'A', valueFrom: {} },
      'spec.env[0].valueFrom: must hold exactly one of secretKeyRef, configMapKeyRef, fieldRef',
    ],
    [
      { name: 'A', valueFrom: { secretKeyRef: ref, configMapKeyRef: ref } },
      'spec.env[0].valueFrom: must hold exactly one of secretKeyRef, configMapKeyRef, fieldRef',
    ],
    [
      { name: 'A', valueFrom: { secretKeyRef: { name: 'k' } } },
      'spec.env[0].valueFrom.secretKeyRef: lacks key',
    ],
    [{ name: 'A', valueFrom: { volumeRef: {} } }, 'spec.env[0].valueFrom: unknown field volumeRef'],
  ];
  for (const [variable, expected] of refused)
    t.ok(issues({ env: [variable] }).includes(expected), expected);
  t.same(
    issues({
      env: [
        { name: 'A', value: '1' },
        { name: 'B', value: '' },
        { name: 'A', value: '2' },
      ],
    }),
    ['spec.env[2].name: A stands in env twice'],
  );
});

t.test('source is inline or in a ConfigMap, and its name has a default', async (t) => {
  const resolved = resolveManifest({
    ...manifest({}),
    spec: { source: { inline: 'export default () => 1' } },
  });
  t.equal(resolved.ok && (resolved.manifest as FunctionManifest).spec.handler, 'handler.js');
  t.same(issues({ source: { configMap: { name: 'code', key: 'handler.ts' } } }), ['accepted']);
  const both = 'spec.source: must hold exactly one of inline, configMap, bundle, folder';
  t.same(issues({ source: {} }), [both]);
  t.same(issues({ source: { inline: 'x', configMap: { name: 'code', key: 'k' } } }), [both]);
  t.same(issues({ source: { inline: 'x'.repeat(262_144) } }), ['accepted']);
  t.match(issues({ source: { inline: 'x'.repeat(262_145) } }), [/^spec\.source\.inline: /]);
  t.match(issues({ source: null }), [/^spec\.source: /]);
});

t.test('a template takes the parts of a pod, known or free', async (t) => {
  const template = {
    labels: { team: 'a', empty: '' },
    annotations: { 'example.org/note': 'any text' },
    imagePullSecrets: [{ name: 'registry' }],
    imagePullPolicy: 'Never',
    command: ['node'],
    args: ['--flag'],
    envFrom: [
      { prefix: 'DB_', secretRef: { name: 'db' } },
      { configMapRef: { name: 'settings', optional: true } },
    ],
    resources: { requests: { cpu: 1, memory: '64Mi' }, limits: { memory: '128Mi' } },
    nodeSelector: { 'kubernetes.io/arch': 'amd64' },
    tolerations: [{ key: 'gpu', operator: 'Exists', effect: 'NoSchedule' }],
    affinity: { nodeAffinity: { anything: [1, { deep: true }] } },
    topologySpreadConstraints: [
      { maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'DoNotSchedule' },
    ],
    priorityClassName: 'high',
    runtimeClassName: 'gvisor',
    serviceAccountName: 'reader',
    volumes: [{ name: 'data', configMap: { name: 'data' } }],
    volumeMounts: [{ name: 'data', mountPath: '/data', readOnly: true }],
    readOnlyRootFilesystem: true,
    runAsUser: 1001,
    securityContext: { capabilities: { add: ['NET_BIND_SERVICE'] } },
    podSecurityContext: { fsGroup: 1001 },
    terminationGracePeriodSeconds: 120,
  };
  for (const kind of ['Function', 'WarmPool']) {
    t.same(issues({ image: 'registry.example/f:1', template }, kind), ['accepted'], kind);
  }
  const resolved = resolveManifest(manifest({ template }));
  t.same(resolved.ok && resolved.manifest.spec.template, template, 'and keeps them as they stand');
  t.match(resolveManifest(manifest({ template: {} })), {
    manifest: { spec: { template: { readOnlyRootFilesystem: false } } },
  });
});

t.test('what is wrong within a template is named', async (t) => {
  const refused: [object, string][] = [
    [
      { labels: { 'simmer.dev/function': 'x' } },
      'spec.template.labels: labels that begin with simmer.dev/ are reserved',
    ],
    [{ labels: { team: 'not a label' } }, 'spec.template.labels.team: '],
    [
      { envFrom: [{}] },
      'spec.template.envFrom[0]: must hold exactly one of configMapRef, secretRef',
    ],
    [
      { volumeMounts: [{ name: 'data', mountPath: '/data' }] },
      'spec.template.volumeMounts: must name volumes that stand in spec.template.volumes',
    ],
    [{ volumes: [{ emptyDir: {} }] }, 'spec.template.volumes[0]: lacks name'],
    [
      { imagePullPolicy: 'Sometimes' },
      'spec.template.imagePullPolicy: must be one of Always, IfNotPresent, Never',
    ],
    [
      { resources: { limits: { cpu: true } } },
      'spec.template.resources.limits.cpu: must be a number or a string',
    ],
    [{ resources: { limit: {} } }, 'spec.template.resources: unknown field limit'],
    [{ runAsUser: 0 }, 'spec.template.runAsUser: '],
    [{ hostNetwork: true }, 'spec.template: unknown field hostNetwork'],
  ];
  for (const [template, expected] of refused) {
    const found = issues({ template });
    t.ok(
      found.some((line) => line.startsWith(expected)),
      `${expected} <- ${found.join('; ')}`,
    );
  }
});

t.test('a one-shot pod is a Job or a bare pod', async (t) => {
  t.same(issues({ overflowKind: 'Pod' }), ['accepted']);
  t.same(issues({ overflowKind: 'Deployment' }), ['spec.overflowKind: must be one of Job, Pod']);
});

import { NO_BUNDLES, type RegisteredFunction } from '@simmer/protocol/registry';
import t from 'tap';
import type { KubeObject } from '../src/api/api.ts';
import { type Reference, referencesOf } from '../src/registry/references.ts';
import { checkObject, type KnownContents, register } from '../src/registry/resolve.ts';

function object(spec: object, metadata: object = {}): KubeObject {
  return {
    apiVersion: 'simmer.dev/v1alpha1',
    kind: 'Function',
    metadata: {
      name: 'a',
      namespace: 'n',
      uid: 'u',
      resourceVersion: '1',
      generation: 1,
      ...metadata,
    },
    spec: { handler: 'h.js', ...spec },
    status: { queued: 1 },
  };
}

const written = ({ kind, name, key }: Reference) => `${kind} ${name} ${key ?? '*'}`;

function contents(values: Readonly<Record<string, string>> = {}): KnownContents {
  return {
    unknown: () => undefined,
    digest: (reference) => values[written(reference)] ?? 'absent',
    secret: () => ({ reason: 'none', absent: true }),
    configMap: () => ({ reason: 'none', absent: true }),
    read: (name, key) => Buffer.from(values[`ConfigMap ${name} ${key}`] ?? ''),
  };
}

function registered(given: KubeObject, known = contents(), stockImage = 'stock:1') {
  const checked = checkObject(given);
  if (!checked.ok) throw new Error(JSON.stringify(checked.issues));
  return register(checked, 'u', known, {
    stockImage,
    bundles: NO_BUNDLES,
    claimable: false,
  }) as RegisteredFunction;
}

const READS = {
  env: [
    { name: 'A', valueFrom: { secretKeyRef: { name: 's', key: 'a' } } },
    { name: 'B', valueFrom: { configMapKeyRef: { name: 'c', key: 'b' } } },
    { name: 'C', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
    { name: 'D', value: 'd' },
  ],
  template: {
    envFrom: [{ secretRef: { name: 'whole-s' } }, { configMapRef: { name: 'whole-c' } }],
    imagePullSecrets: [{ name: 'pull' }],
    volumes: [
      { name: 'v1', secret: { secretName: 'mounted-s' } },
      { name: 'v2', configMap: { name: 'mounted-c' } },
      {
        name: 'v3',
        projected: {
          sources: [
            { secret: { name: 'projected-s' } },
            { configMap: { name: 'projected-c' } },
            null,
          ],
        },
      },
      { name: 'v4', emptyDir: {} },
      { name: 'v5', secret: 'no object', configMap: null, projected: { sources: 'no list' } },
    ],
  },
};
const ALL_READ = [
  'Secret s a',
  'ConfigMap c b',
  'Secret whole-s *',
  'ConfigMap whole-c *',
  'Secret mounted-s *',
  'ConfigMap mounted-c *',
  'Secret projected-s *',
  'ConfigMap projected-c *',
];

t.test('what a function reads is found wherever a manifest can name it', (t) => {
  const { manifest } = registered(object(READS));
  t.strictSame(referencesOf(manifest.spec).map(written), ALL_READ);
  t.end();
});

t.test('each content that is read changes it; what is not read does not', (t) => {
  const base = registered(object(READS)).revision;
  for (const name of ALL_READ) {
    t.not(registered(object(READS), contents({ [name]: 'x' })).revision, base, name);
  }
  for (const name of ['Secret s b', 'Secret pull *', 'ConfigMap other *']) {
    t.equal(registered(object(READS), contents({ [name]: 'x' })).revision, base, name);
  }
  t.end();
});

t.test('settings that the control plane keeps itself leave it alone', (t) => {
  const base = registered(object({})).revision;
  for (const spec of [
    { minReplicas: 1 },
    { maxReplicas: 3 },
    { overflow: 1 },
    { keepAliveMs: 5 },
    { timeoutMs: 5 },
    { queue: { maxLength: 3 } },
  ]) {
    t.equal(registered(object(spec)).revision, base, JSON.stringify(spec));
  }
  const metadata = { labels: { a: 'b' }, annotations: { a: 'b' }, resourceVersion: '2' };
  t.equal(registered(object({}, metadata)).revision, base, 'metadata');
  t.end();
});

t.test('what is fixed at a launch changes it', (t) => {
  const base = registered(object({})).revision;
  const specs = [
    { handler: 'other.js' },
    { image: 'x' },
    { env: [{ name: 'A', value: 'a' }] },
    { concurrency: 2 },
    { graceMs: 5 },
    { maxResultBytes: 5 },
    { inputSchema: { type: 'string' } },
    { outputSchema: { type: 'string' } },
    { backend: 'process' },
    { template: { resources: { limits: { cpu: 1 } } } },
    { source: { inline: '1' } },
    { source: { inline: '2' } },
  ];
  const revisions = specs.map((spec) => registered(object(spec)).revision);
  t.equal(new Set([base, ...revisions]).size, specs.length + 1);
  t.not(registered(object({}), contents(), 'stock:2').revision, base, 'the stock image');
  const own = object({ image: 'x' });
  t.equal(registered(own, contents(), 'stock:2').revision, registered(own).revision);
  t.end();
});

t.test('it does not depend on the order of names in an object', (t) => {
  const labels = (template: object) => registered(object({ template })).revision;
  const one = labels({ labels: { a: '1', b: '2' }, runAsUser: 5 });
  t.equal(labels({ runAsUser: 5, labels: { b: '2', a: '1' } }), one);
  t.end();
});

t.test('code from a ConfigMap comes with its name and digest', (t) => {
  const source = { configMap: { name: 'c', key: 'k' } };
  const found = registered(object({ handler: 'f.ts', source }), contents({ 'ConfigMap c k': '1' }));
  t.match(found.source, { entry: 'f.ts', digest: /^6b86b273ff34fce1/ });
  t.end();
});

t.test('what cannot be known refuses a function that needs it, and no other', (t) => {
  const blind: KnownContents = { ...contents(), unknown: (kind) => `no ${kind}s` };
  t.match(registered(object(READS), blind), {
    field: 'spec',
    reason: 'reads Secret s: no Secrets',
  });
  const source = { configMap: { name: 'c', key: 'k' } };
  t.match(registered(object({ source }), blind), { field: 'spec.source.configMap' });
  t.match(registered(object({}), blind), { key: 'n/a' });
  t.end();
});

t.test("kubectl's copy of the manifest is no part of it", (t) => {
  const annotations = { 'kubectl.kubernetes.io/last-applied-configuration': '{}', mine: 'x' };
  const { manifest } = registered(object({}, { annotations }));
  t.strictSame(manifest.metadata.annotations, { mine: 'x' });
  t.end();
});

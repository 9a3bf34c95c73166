/** Each rule stands in CEL and in TypeScript: the API server must refuse what resolveManifest refuses, for the same reason. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { API_VERSION, resolveManifest } from '@simmer/protocol/manifest';
import t from 'tap';

const namespace = `simmer-test-${randomBytes(4).toString('hex')}`;

function kubectl(args: readonly string[], input = ''): { code: number; out: string } {
  const { status, stdout, stderr } = spawnSync('kubectl', args, { input, encoding: 'utf8' });
  return { code: status ?? -1, out: `${stdout}${stderr}` };
}

/** Judged by the API server, in its namespace; nothing is stored. */
const dryRun = (manifest: object) =>
  kubectl(
    ['apply', '--namespace', namespace, '--dry-run=server', '--filename', '-'],
    JSON.stringify(manifest),
  );

const fn = (spec: object, name = 'f') => ({
  apiVersion: API_VERSION,
  kind: 'Function',
  metadata: { name },
  spec,
});
const pool = (spec: object) => ({ ...fn(spec), kind: 'WarmPool' });

t.before(() => {
  const made = kubectl(['create', 'namespace', namespace]);
  if (made.code !== 0) throw new Error(made.out);
});
t.teardown(() => kubectl(['delete', 'namespace', namespace, '--wait=false']));

const ref = { name: 'keys', key: 'token' };
const handler = 'handler.js';
const template = (part: object) => fn({ handler, template: part });

t.test('what is right is taken', async (t) => {
  const right = {
    'a handler': fn({ handler }),
    'source without a handler': fn({ source: { inline: 'export default () => 1' } }),
    'code in a ConfigMap': fn({ handler, source: { configMap: { name: 'code', key: 'f.js' } } }),
    'values from elsewhere': fn({
      handler,
      env: [
        { name: 'A', valueFrom: { secretKeyRef: ref } },
        { name: 'B', valueFrom: { configMapKeyRef: { ...ref, optional: true } } },
        { name: 'C', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
        { name: 'D', value: '' },
      ],
    }),
    'parts of a pod': template({
      envFrom: [{ secretRef: { name: 'keys' } }],
      resources: { requests: { cpu: 1 }, limits: { memory: '64Mi' } },
      affinity: { nodeAffinity: { anything: true } },
      volumes: [{ name: 'data', emptyDir: {} }],
      volumeMounts: [{ name: 'data', mountPath: '/data', readOnly: true }],
    }),
    'a pool that says nothing': pool({}),
    'a pool with an image': pool({ image: 'registry.example/base:1', minReplicas: 2 }),
  };
  for (const [what, manifest] of Object.entries(right)) {
    const { code, out } = dryRun(manifest);
    t.equal(code, 0, `${what}: ${out}`);
    t.ok(resolveManifest(manifest).ok, what);
  }
});

t.test('what is wrong is refused with the same field and words', async (t) => {
  const wrong: object[] = [
    fn({ handler, minReplicas: 11 }),
    pool({ minReplicas: 3, maxReplicas: 2 }),
    fn({ handler, env: [{ name: 'SIMMER_X', value: '' }] }),
    fn({ handler, env: [{ name: 'A' }] }),
    fn({ handler, env: [{ name: 'A', value: '', valueFrom: { secretKeyRef: ref } }] }),
    fn({ handler, env: [{ name: 'A', valueFrom: {} }] }),
    fn({ handler, env: [{ name: 'A', valueFrom: { secretKeyRef: ref, configMapKeyRef: ref } }] }),
    fn({ source: {} }),
    fn({ source: { inline: 'x', configMap: { name: 'code', key: 'k' } } }),
    template({ envFrom: [{ prefix: 'A_' }] }),
    template({ volumeMounts: [{ name: 'data', mountPath: '/data' }] }),
    template({ labels: { 'simmer.dev/function': 'other' } }),
  ];
  for (const manifest of wrong) {
    const resolved = resolveManifest(manifest);
    if (resolved.ok) {
      t.fail(`accepted: ${JSON.stringify(manifest)}`);
      continue;
    }
    const { code, out } = dryRun(manifest);
    t.equal(code, 1, out);
    for (const { field, reason } of resolved.issues) {
      // What stands in brackets is a value; the API server does not show it.
      const words = reason.replace(/ \(.*\)$/, '');
      t.match(out, `${field}: Invalid value: ${words}`);
    }
  }
});

t.test('shapes, names and repeats are refused by both', async (t) => {
  const cases: [object, RegExp][] = [
    [fn({}), /lacks handler \(or source/],
    [fn({ handler }, 'a.b'), /metadata\.name: .*must be a DNS label of at most 40 characters/],
    [fn({ handler }, 'x'.repeat(41)), /must be a DNS label of at most 40 characters/],
    [fn({ handler, concurency: 5 }), /unknown field "spec\.concurency"/],
    [fn({ handler, overflowKind: 'Deployment' }), /Unsupported value: "Deployment"/],
    [fn({ handler, concurrency: 0 }), /spec\.concurrency: .*greater than or equal to 1/],
    [template({ hostNetwork: true }), /unknown field "spec\.template\.hostNetwork"/],
    [template({ runAsUser: 0 }), /spec\.template\.runAsUser: .*greater than or equal to 1/],
    [template({ resources: { limits: { cpu: true } } }), /spec\.template\.resources\.limits\.cpu/],
    [
      fn({
        handler,
        env: [
          { name: 'A', value: '1' },
          { name: 'A', value: '2' },
        ],
      }),
      /spec\.env\[1\]: Duplicate value/,
    ],
  ];
  for (const [manifest, expected] of cases) {
    t.notOk(resolveManifest(manifest).ok, JSON.stringify(manifest));
    const { code, out } = dryRun(manifest);
    t.equal(code, 1);
    t.match(out, expected);
  }
});

t.test('defaults of the API server are those of Simmer', async (t) => {
  for (const manifest of [fn({ handler, queue: { maxLength: 5 }, template: {} }), pool({})]) {
    const { out } = kubectl(
      [
        'apply',
        '--namespace',
        namespace,
        '--dry-run=server',
        '--output',
        'json',
        '--filename',
        '-',
      ],
      JSON.stringify(manifest),
    );
    const stored = JSON.parse(out) as { spec: object };
    const resolved = resolveManifest(manifest);
    t.same(stored.spec, resolved.ok && resolved.manifest.spec);
  }
});

t.test('kubectl scales by the minimum, within the maximum, and explains each field', async (t) => {
  const applied = kubectl(
    ['apply', '--namespace', namespace, '--filename', '-'],
    JSON.stringify(fn({ handler }, 'scaled')),
  );
  t.equal(applied.code, 0, applied.out);
  const scale = (to: number) =>
    kubectl(['scale', '--namespace', namespace, 'fn/scaled', `--replicas=${to}`]);
  t.match(scale(3), { code: 0 });
  const { out } = kubectl([
    'get',
    '--namespace',
    namespace,
    'functions.simmer.dev/scaled',
    '--output',
    'jsonpath={.spec.minReplicas}',
  ]);
  t.equal(out, '3');
  t.match(scale(11), { code: 1, out: /spec\.minReplicas: .*must be at most spec\.maxReplicas/ });
  const table = kubectl(['get', 'simmer', '--namespace', namespace]).out;
  t.match(table, /NAME +READY +DESIRED +QUEUE +MISSES +STATUS +AGE/);
  for (const path of [
    'fn.spec.source.configMap',
    'fn.spec.template.resources',
    'wp.spec',
    'fn.status.conditions',
  ]) {
    const explained = kubectl(['explain', path]);
    t.equal(explained.code, 0, explained.out);
    t.notMatch(explained.out, '<no description>', path);
  }
});

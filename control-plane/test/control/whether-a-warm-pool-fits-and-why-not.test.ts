import { warmPoolKey } from '@simmer/protocol/names';
import type { RegisteredFunction } from '@simmer/protocol/registry';
import t from 'tap';
import { type Fit, fitsOf } from '../../src/control/pools/fitting.ts';
import { quantityOf } from '../../src/control/pools/quantity.ts';
import { manifestOf } from './fakes.ts';

const SOURCE = { entry: 'handler.js', digest: 'd', bytes: Buffer.from('x') };

function fn(spec: Record<string, unknown> = {}, more: Partial<RegisteredFunction> = {}) {
  const manifest = manifestOf('f', { source: { inline: 'x' }, ...spec });
  return { key: 'default/f', manifest, baseDir: '', revision: 'r', source: SOURCE, ...more };
}

function pool(
  spec: Record<string, unknown> = {},
  name = 'p',
  tenancy: 'Shared' | 'Named' = 'Shared',
  namespace = 'default',
): RegisteredFunction {
  return {
    key: warmPoolKey(namespace, name),
    manifest: manifestOf(name, { source: { inline: 'x' }, ...spec }, namespace),
    ...{ baseDir: '', revision: 'r', pool: { tenancy, maxShare: 50, preload: [] } },
  };
}

const fit = (f: RegisteredFunction, ...pools: RegisteredFunction[]): Fit =>
  fitsOf([f, ...pools], 'process').get('default/f') as Fit;

const template = (fields: object) => ({ template: fields });
const limits = (memory: string, more: object = {}) =>
  template({ resources: { limits: { memory, ...more } } });

const fits: [string, RegisteredFunction, RegisteredFunction][] = [
  ['a function without wishes', fn(), pool()],
  ['plain variables', fn({ env: [{ name: 'A', value: 'b' }] }), pool()],
  ['schemas', fn({ inputSchema: { type: 'object' } }), pool()],
  ['the same image', fn({ image: 'i:1' }), pool({ image: 'i:1' })],
  ["no image, and so the pool's", fn(), pool({ image: 'i:1' })],
  ['the default backend by name', fn({ backend: 'process' }), pool()],
  [
    "a part of the pool's template",
    fn(template({ runAsUser: 5 })),
    pool(template({ runAsUser: 5, priorityClassName: 'x' })),
  ],
  ['less memory than the pods have', fn(limits('100Mi')), pool(limits('1Gi'))],
  ['a limit where the pods have none', fn(limits('100Mi')), pool()],
  [
    'requests that the pods have',
    fn(template({ resources: { requests: { cpu: '100m' } } })),
    pool(template({ resources: { requests: { cpu: 1 } } })),
  ],
  ['a named pool that is not shared', fn({ pool: 'p' }), pool({}, 'p', 'Named')],
];
for (const [name, f, p] of fits) {
  t.test(`fits: ${name}`, async (t) => t.match(fit(f, p), { claim: { pools: [p.key] } }));
}

const misfits: [string, RegisteredFunction, RegisteredFunction[], RegExp][] = [
  ['no pool', fn(), [], /no WarmPool in the namespace default/],
  [
    "another namespace's pool",
    fn(),
    [pool({}, 'p', 'Shared', 'other')],
    /no WarmPool in the namespace/,
  ],
  ['a pool for who names it', fn(), [pool({}, 'p', 'Named')], /no WarmPool/],
  ['a name that is not there', fn({ pool: 'q' }), [pool()], /no WarmPool q/],
  ['a file', fn({ source: undefined }, { source: undefined as never }), [pool()], /spec\.source/],
  [
    'another image',
    fn({ image: 'i:2' }),
    [pool({ image: 'i:1' })],
    /WarmPool p: its pods have another image/,
  ],
  ['another backend', fn({ backend: 'kubernetes' }), [pool()], /of the backend process/],
  [
    'a service account',
    fn(template({ serviceAccountName: 's' })),
    [pool()],
    /another serviceAccountName/,
  ],
  ['volumes', fn(template({ volumes: [{ name: 'v' }] })), [pool()], /another volumes/],
  ['more memory', fn(limits('2Gi')), [pool(limits('1Gi'))], /another limit of memory/],
  [
    'another limit of cpu',
    fn(limits('1Gi', { cpu: 1 })),
    [pool(limits('1Gi', { cpu: 2 }))],
    /limit of cpu/,
  ],
  [
    'a read-only root',
    fn(template({ readOnlyRootFilesystem: true })),
    [pool()],
    /readOnlyRootFilesystem/,
  ],
  [
    'a field of the pod',
    fn({ env: [{ name: 'NODE', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } }] }),
    [pool()],
    /NODE is a field of its own pod/,
  ],
  [
    'a secret that nobody read',
    fn({ env: [{ name: 'S', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }] }),
    [pool()],
    /S is read from the cluster/,
  ],
  ['whole Secrets', fn(template({ envFrom: [{ secretRef: { name: 's' } }] })), [pool()], /envFrom/],
  [
    'a large environment',
    fn({
      env: Array.from({ length: 10 }, (_, i) => ({ name: `V${i}`, value: 'x'.repeat(60_000) })),
    }),
    [pool()],
    /environment is 600020 bytes/,
  ],
];
for (const [name, f, pools, reason] of misfits) {
  t.test(`does not fit: ${name}`, async (t) => t.match(fit(f, ...pools), { reason }));
}

t.test('of several pools those that fit, and what a pod is given', async (t) => {
  const secrets = [['S', 'secret']] as const;
  const f = fn(
    {
      ...limits('64Mi'),
      env: [{ name: 'S', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }],
    },
    { environment: { env: [], secrets } },
  );
  const found = fit(f, pool({}, 'a'), pool({ image: 'i:1' }, 'b'), pool({}, 'c', 'Named'));
  t.same(found, {
    claim: {
      ...{ env: [], secrets, memoryBytes: 67_108_864 },
      pools: ['default/pool.a', 'default/pool.b'],
    },
  });
});

t.test('quantities', async (t) => {
  const table: [string | number, number | undefined][] = [
    ['1Ki', 1_024],
    ['1.5Gi', 1.5 * 2 ** 30],
    ['100m', 0.1],
    [2, 2],
    ['1e3', 1_000],
    ['2E', 2e18],
    ['x', undefined],
    ['1 Gi', undefined],
    ['', undefined],
  ];
  for (const [text, expected] of table) t.equal(quantityOf(text), expected, String(text));
});

import t from 'tap';
import { resolveManifest } from '../src/manifest.ts';

const apiVersion = 'simmer.dev/v1alpha1';
const base = { apiVersion, kind: 'Function', metadata: { name: 'f' }, spec: { handler: 'h.js' } };
const withSpec = (spec: object) => ({ ...base, spec: { ...base.spec, ...spec } });

function issues(input: unknown): string[] {
  const resolved = resolveManifest(input);
  return resolved.ok ? ['accepted'] : resolved.issues.map((i) => `${i.field}: ${i.reason}`);
}

t.test('a function that says only what it must has every default', async (t) => {
  const resolved = resolveManifest(base);
  t.same(resolved, {
    ok: true,
    manifest: {
      apiVersion,
      kind: 'Function',
      metadata: { name: 'f', namespace: 'default' },
      spec: {
        runtime: 'node',
        handler: 'h.js',
        env: [],
        concurrency: 1,
        minReplicas: 0,
        maxReplicas: 10,
        overflow: 4,
        overflowKind: 'Job',
        keepAliveMs: 300_000,
        scaling: { targetUtilization: 80, stableWindowMs: 60_000, scaleDownDelayMs: 60_000 },
        startupTimeoutMs: 30_000,
        timeoutMs: 30_000,
        deadlineMs: 3_600_000,
        graceMs: 1_000,
        retry: {
          ...{ maxRetries: 3, on: ['lost', 'timeout', 'error'] },
          ...{ baseDelayMs: 100, maxDelayMs: 30_000 },
        },
        queue: { maxLength: 100, maxBytes: 67_108_864 },
        maxRequestBytes: 10_485_760,
        maxResultBytes: 10_485_760,
      },
    },
  });
  t.same(base.spec, { handler: 'h.js' }, 'what was given is not changed');
});

t.test('a default within an object that is given in part is applied', async (t) => {
  const resolved = resolveManifest(withSpec({ queue: { maxLength: 5 } }));
  t.match(resolved, {
    ok: true,
    manifest: { spec: { queue: { maxLength: 5, maxBytes: 67_108_864 } } },
  });
});

t.test('a warm pool has its defaults', async (t) => {
  t.same(resolveManifest({ apiVersion, kind: 'WarmPool', metadata: { name: 'p' }, spec: {} }), {
    ok: true,
    manifest: {
      apiVersion,
      kind: 'WarmPool',
      metadata: { name: 'p', namespace: 'default' },
      spec: {
        ...{ runtime: 'node', minReplicas: 0, maxReplicas: 10 },
        ...{ tenancy: 'Shared', maxShare: 50, preload: [] },
      },
    },
  });
});

t.test('what is no manifest says so', async (t) => {
  for (const input of [undefined, null, 1, 'text', [], true]) {
    t.match(issues(input), [/must be an object with apiVersion, kind, metadata and spec/]);
  }
  t.same(issues({}), ['apiVersion: must be simmer.dev/v1alpha1']);
  t.same(issues({ ...base, apiVersion: 'v1' }), ['apiVersion: must be simmer.dev/v1alpha1']);
  t.same(issues({ ...base, kind: 'Pod' }), ['kind: must be Function or WarmPool']);
});

t.test('every field of another type is named, with a reason', async (t) => {
  const integers = [
    'concurrency',
    'minReplicas',
    'maxReplicas',
    'overflow',
    'keepAliveMs',
    'startupTimeoutMs',
    'timeoutMs',
    'graceMs',
    'maxRequestBytes',
    'maxResultBytes',
  ];
  for (const field of integers) {
    for (const value of ['5', 1.5, -1, null, [], {}, 1e18]) {
      const found = issues(withSpec({ [field]: value }));
      t.ok(
        found.some((line) => line.startsWith(`spec.${field}: `) && line.length > field.length + 8),
        `${field} = ${JSON.stringify(value)}: ${found.join('; ')}`,
      );
    }
  }
  const others: [object, string][] = [
    [{ handler: 5 }, 'spec.handler: '],
    [{ handler: '' }, 'spec.handler: '],
    [{ runtime: 'cobol' }, 'spec.runtime: must be one of node'],
    [{ env: {} }, 'spec.env: '],
    [{ env: [{ name: 'A' }] }, 'spec.env[0]: lacks value'],
    [{ env: [{ name: 'A', value: 5 }] }, 'spec.env[0].value: '],
    [{ env: [{ name: '1A', value: '' }] }, 'spec.env[0].name: '],
    [{ env: [{ name: 'SIMMER_X', value: '' }] }, 'spec.env[0].name: names that begin with SIMMER_'],
    [{ queue: 5 }, 'spec.queue: '],
    [{ queue: { maxLength: 'many' } }, 'spec.queue.maxLength: '],
    [{ backend: 'Not A Name' }, 'spec.backend: '],
    [{ concurency: 5 }, 'spec: unknown field concurency'],
    [{ minReplicas: 11 }, 'spec.minReplicas: must be at most spec.maxReplicas (10)'],
  ];
  for (const [spec, expected] of others) {
    const found = issues(withSpec(spec));
    t.ok(
      found.some((line) => line.startsWith(expected)),
      `${expected} <- ${found.join('; ')}`,
    );
  }
});

t.test('what is missing is named', async (t) => {
  t.match(issues({ ...base, spec: {} }), [/^spec: lacks handler$/]);
  t.match(issues({ apiVersion, kind: 'Function', metadata: { name: 'f' } }), [/^: lacks spec$/]);
  t.match(issues({ ...base, metadata: {} }), [/^metadata: lacks name$/]);
});

t.test('names and labels are checked', async (t) => {
  for (const name of ['Upper', 'a.b', '..', 'x'.repeat(41), '', 5]) {
    const found = issues({ ...base, metadata: { name } });
    t.ok(
      found.some((line) => line.startsWith('metadata.name: ')),
      found.join('; '),
    );
  }
  t.same(issues({ ...base, metadata: { name: 'f', labels: { a: 'b' } } }), ['accepted']);
  t.match(issues({ ...base, metadata: { name: 'f', labels: { a: 1 } } }), [
    /^metadata\.labels\.a: /,
  ]);
});

t.test('a callback goes to an http or https URL, without credentials', async (t) => {
  const callback = (value: unknown) => issues(withSpec({ callback: value }));
  for (const url of [
    'http://receiver.shop/',
    'https://a.example:8443',
    'https://a.example/x@y?z',
  ]) {
    t.same(callback({ url }), ['accepted'], url);
  }
  for (const url of [
    '',
    '/x',
    'ftp://a.example/',
    'https://',
    'https://u:p@a.example/',
    'http://a b/',
  ]) {
    t.match(callback({ url }), [/^spec\.callback\.url: /], url);
  }
  t.match(callback({ url: `https://a.example/${'x'.repeat(2_048)}` }), [/^spec\.callback\.url: /]);
  t.match(callback({}), [/^spec\.callback: lacks url$/]);
});

t.test('no input makes it throw', async (t) => {
  const hostile = JSON.parse('{"__proto__": {"x": 1}, "constructor": 5}') as object;
  const deep = JSON.parse('['.repeat(5_000) + ']'.repeat(5_000)) as unknown;
  const inputs = [
    { ...base, spec: hostile },
    { ...base, spec: deep },
    { ...base, metadata: deep },
    { ...base, spec: null },
    { ...base, metadata: null, spec: 'text' },
    { ...base, spec: { handler: () => {} } },
    { ...base, spec: { handler: Symbol('s') } },
    {
      ...base,
      spec: withSpec({ env: Array.from({ length: 501 }, () => ({ name: 'A', value: '' })) }).spec,
    },
  ];
  for (const [i, input] of inputs.entries()) {
    t.not(issues(input)[0], 'accepted', `input ${i}`);
  }
});

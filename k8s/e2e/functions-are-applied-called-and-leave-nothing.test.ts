import { fileURLToPath } from 'node:url';
import t from 'tap';
import { fn, invoke, WAITS } from './support/call.ts';
import { type Installation, install } from './support/installation.ts';
import { apply, get, kubectl, list, podsOf, until } from './support/kubectl.ts';

const EXAMPLES = fileURLToPath(new URL('../../examples', import.meta.url));

let simmer: Installation;
t.before(async () => {
  simmer = await install();
});
t.teardown(() => simmer?.remove());

t.test('the examples as they stand are applied and called', async (t) => {
  const { tenant } = simmer;
  for (const name of ['echo', 'word-stats']) {
    await kubectl('apply', '-n', tenant, '-f', `${EXAMPLES}/${name}/manifest.yaml`);
  }
  await until('echo answers', async () => {
    const { status } = await invoke(simmer, 'echo', 1);
    return status === 200;
  });
  t.match(await invoke(simmer, 'echo', { hello: 'world' }), {
    status: 200,
    body: { status: 'succeeded', output: { hello: 'world' } },
  });
  const stats = await fetch(`${simmer.address}/fn/${simmer.name('word-stats')}`, {
    method: 'POST',
    headers: { 'content-type': 'text/plain' },
    body: 'to be or not to be',
  });
  t.match(await stats.json(), { words: 6, unique: 4 });
});

t.test(
  'a function given as source runs on the stock image, and a change of it replaces its pods',
  async (t) => {
    const { tenant } = simmer;
    const source = (text: string) =>
      fn('hello', { minReplicas: 1, source: { inline: `export default () => '${text}';` } });
    await apply(tenant, source('one'));
    await until('one', async () => (await invoke(simmer, 'hello', 0)).body.output === 'one');
    await apply(tenant, source('two'));
    await until('two', async () => {
      const { status, body } = await invoke(simmer, 'hello', 0);
      t.equal(status, 200, 'it answers all the while');
      return body.output === 'two';
    });
  },
);

t.test(
  'code in a ConfigMap is followed; a Secret is read, and its change replaces pods',
  async (t) => {
    const { tenant } = simmer;
    const code = (text: string) => ({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'code' },
      data: { 'f.js': `export default () => '${text} ' + process.env.TOKEN;` },
    });
    const secret = (value: string) => ({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'token' },
      stringData: { value },
    });
    await apply(
      tenant,
      code('one'),
      secret('a'),
      fn('configured', {
        minReplicas: 1,
        source: { configMap: { name: 'code', key: 'f.js' } },
        env: [{ name: 'TOKEN', valueFrom: { secretKeyRef: { name: 'token', key: 'value' } } }],
      }),
    );
    const says = (text: string) =>
      until(text, async () => (await invoke(simmer, 'configured', 0)).body.output === text);
    await says('one a');
    await apply(tenant, secret('b'));
    await says('one b');
    await apply(tenant, code('two'));
    await says('two b');
    t.pass();
  },
);

t.test('a pod is restricted, has no volume, and knows nothing of the cluster', async (t) => {
  const [pod] = await podsOf(simmer.tenant, 'echo');
  if (pod === undefined) return t.fail('no pod');
  const { spec } = pod;
  t.same(spec.volumes ?? [], []);
  t.equal(spec.automountServiceAccountToken, false);
  t.equal(spec.enableServiceLinks, false);
  t.match(spec.securityContext, { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
  t.match(spec.containers[0].securityContext, {
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'] },
  });
  t.equal(pod.metadata.labels?.['app.kubernetes.io/managed-by'], 'simmer');
});

t.test('the status tells what runs', async (t) => {
  const { tenant } = simmer;
  const status = await until('Ready', async () => {
    const { status, metadata } = await get(tenant, 'functions.simmer.dev', 'echo');
    const ready = status?.conditions?.find((c: { type: string }) => c.type === 'Ready');
    return ready?.status === 'True' && { ...status, generation: metadata.generation };
  });
  t.match(status, { readyReplicas: 1, replicas: 1, desiredReplicas: 1, queued: 0 });
  t.equal(status.observedGeneration, status.generation);
  t.ok(String(status.selector).includes('simmer.dev/function=echo'), status.selector);
  t.match(await kubectl('get', 'fn', 'echo', '-n', tenant), /echo +1 +1 +0 +\d+/);
});

t.test('kubectl scales a function', async (t) => {
  const { tenant } = simmer;
  await kubectl('scale', '-n', tenant, 'fn/word-stats', '--replicas=2');
  await until('two pods', async () => {
    const { status } = await get(tenant, 'functions.simmer.dev', 'word-stats');
    return status?.readyReplicas === 2;
  });
  t.equal((await podsOf(tenant, 'word-stats')).length, 2);
});

t.test('an autoscaler is able to scale a function', async (t) => {
  const { tenant } = simmer;
  const target = { apiVersion: 'simmer.dev/v1alpha1', kind: 'Function', name: 'word-stats' };
  const resource = { name: 'cpu', target: { type: 'Utilization', averageUtilization: 50 } };
  await apply(tenant, {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: { name: 'word-stats' },
    spec: {
      scaleTargetRef: target,
      minReplicas: 3,
      maxReplicas: 4,
      metrics: [{ type: 'Resource', resource }],
    },
  });
  await until('AbleToScale', async () => {
    const { status } = await get(tenant, 'hpa', 'word-stats');
    const able = status?.conditions?.find((c: { type: string }) => c.type === 'AbleToScale');
    return able?.status === 'True';
  });
  // There need be no metrics: its minimum alone is more than there are.
  await until('its minimum', async () => {
    const { spec, status } = await get(tenant, 'functions.simmer.dev', 'word-stats');
    return spec.minReplicas === 3 && status?.readyReplicas === 3;
  });
  await kubectl('delete', 'hpa', 'word-stats', '-n', tenant);
  t.equal((await podsOf(tenant, 'word-stats')).length, 3);
});

t.test('kubectl explains every field', async (t) => {
  for (const field of ['fn.spec', 'fn.spec.template', 'fn.status', 'wp.spec', 'wp.status']) {
    const text = await kubectl('explain', field, '--api-version=simmer.dev/v1alpha1');
    t.match(text, /DESCRIPTION:\n +[A-Z]/, field);
    t.notMatch(text, /<no description>/, field);
  }
});

t.test('a deleted function finishes what it runs, then nothing of it is left', async (t) => {
  const { tenant } = simmer;
  await apply(tenant, fn('waits', { minReplicas: 1, source: { inline: WAITS } }));
  await until('it answers', async () => (await invoke(simmer, 'waits', { ms: 0 })).status === 200);
  const running = invoke(simmer, 'waits', { ms: 3_000 });
  await until('it runs', async () => {
    const answer = await fetch(`${simmer.address}/v1/pools/${simmer.name('waits')}`);
    const { busy } = (await answer.json()) as { busy?: number };
    return busy !== undefined && busy > 0;
  });
  await kubectl('delete', 'fn', 'waits', '-n', tenant, '--wait=true', '--timeout=60s');
  t.equal((await running).status, 200);
  t.match(await invoke(simmer, 'waits', { ms: 0 }), { status: 404 });
  for (const kind of ['pods', 'jobs']) {
    await until(`no ${kind}`, async () => {
      const left = await list(tenant, kind, 'simmer.dev/function=waits');
      return left.length === 0;
    });
  }
  const secrets = await list(tenant, 'secrets');
  const left = secrets.filter(({ metadata }) => metadata.name === 'simmer-pool-waits');
  t.equal(left.length, 0, 'the key went before the object');
});

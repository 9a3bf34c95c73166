import t from 'tap';
import { fn, invoke, WAITS } from './support/call.ts';
import { type Installation, install } from './support/installation.ts';
import { apply, command, get, kubectl, list, podsOf, until } from './support/kubectl.ts';
import { cutOff, notOnTheNode } from './support/node.ts';

let simmer: Installation;
t.before(async () => {
  simmer = await install();
});
t.teardown(() => simmer?.remove());

/** As WAITS, but only at its first attempt. */
const WAITS_ONCE = WAITS.replace('({ ms })', '({ ms }, { attempt })').replace(
  'await setTimeout(ms)',
  'if (attempt === 1) await setTimeout(ms)',
);

/** A function with one warm pod: the pod's name. */
async function warm(name: string, inline = WAITS): Promise<string> {
  const { tenant } = simmer;
  await apply(tenant, fn(name, { source: { inline }, minReplicas: 1, maxReplicas: 2 }));
  return await until(`${name} answers`, async () => {
    const { status, body } = await invoke(simmer, name, { ms: 0 });
    return status === 200 && (body.output as string);
  });
}

/** A function with one warm pod that runs a call of `ms`: the pod's name, and the call. */
async function running(
  name: string,
  ms: number,
  headers: Record<string, string> = {},
  inline = WAITS,
) {
  await warm(name, inline);
  const call = invoke(simmer, name, { ms }, headers);
  const pod = await until('it runs', async () => {
    const answer = await fetch(`${simmer.address}/v1/pools/${simmer.name(name)}`);
    const pool = (await answer.json()) as { pods: { label: string; inFlight: number }[] };
    return pool.pods.find(({ inFlight }) => inFlight === 1)?.label;
  });
  return { pod, call };
}

const replaced = (name: string, pod: string) =>
  until(`${pod} is replaced`, async () => {
    const { status, body } = await invoke(simmer, name, { ms: 0 });
    return status === 200 && body.output !== pod && (body.output as string);
  });

t.test('a pod that is deleted finishes its call; new ones go to another', async (t) => {
  const { pod, call } = await running('deleted', 3_000);
  await kubectl('delete', 'pod', pod, '-n', simmer.tenant, '--wait=false');
  const other = await replaced('deleted', pod);
  t.not(other, pod);
  t.match(await call, { status: 200, body: { output: pod } });
  await until('the pod is gone', async () => {
    const pods = await podsOf(simmer.tenant, 'deleted');
    return !pods.some(({ metadata }) => metadata.name === pod);
  });
});

t.test('an eviction does not cut a call short', async (t) => {
  const { pod, call } = await running('evicted', 3_000);
  const eviction = {
    apiVersion: 'policy/v1',
    kind: 'Eviction',
    metadata: { name: pod, namespace: simmer.tenant },
  };
  const path = `/api/v1/namespaces/${simmer.tenant}/pods/${pod}/eviction`;
  await command('kubectl', ['create', '--raw', path, '-f', '-'], JSON.stringify(eviction));
  await replaced('evicted', pod);
  t.match(await call, { status: 200, body: { output: pod } });
  const { status } = await get(simmer.tenant, 'functions.simmer.dev', 'evicted');
  const degraded = status?.conditions?.find((c: { type: string }) => c.type === 'Degraded');
  t.not(degraded?.status, 'True', 'it is no fault of its code');
});

t.test('a pod that is killed ends its call once, with pod_lost, and is replaced', async (t) => {
  const { pod, call } = await running('killed', 20_000, { 'x-max-retries': '0' });
  await kubectl('delete', 'pod', pod, '-n', simmer.tenant, '--grace-period=0', '--force');
  const { status, body } = await call;
  t.equal(status, 502, JSON.stringify(body));
  t.equal(body.code, 'pod_lost');
  await replaced('killed', pod);
});

t.test('a pod that is killed costs a call an attempt, and another pod answers', async (t) => {
  // Longer than it takes to kill their pods, on a machine however busy.
  const ms = 45_000;
  const headers = { 'x-timeout-ms': '50000' };
  const { pod, call } = await running('again', ms, headers, WAITS_ONCE);
  const enqueue = `${simmer.address}/v1/functions/${simmer.name('again')}:enqueue`;
  const body = JSON.stringify({ input: { ms } });
  const accepted = await fetch(enqueue, { method: 'POST', headers, body });
  t.equal(accepted.status, 202);
  const execution = `${simmer.address}${accepted.headers.get('location')}`;
  const follow = async (query = '') =>
    (await (await fetch(execution + query)).json()) as {
      status: string;
      output?: string;
      attempts: { pod: string; outcome?: string }[];
    };
  const its = await until('it runs', async () => (await follow()).attempts[0]?.pod);
  const pods = [...new Set([pod, its])];
  await kubectl('delete', 'pod', ...pods, '-n', simmer.tenant, '--grace-period=0', '--force');
  const sync = await call;
  t.equal(sync.status, 200, JSON.stringify(sync.body));
  t.not(sync.body.output, pod);
  const ended = await until('it has ended', async () => {
    const found = await follow('?wait=30');
    return found.status === 'succeeded' && found;
  });
  t.same(
    ended.attempts.map(({ outcome }) => outcome),
    ['pod_lost', 'ok'],
  );
  t.not(ended.output, its);
});

t.test('a drained node lets a call finish; its pods come back when it does', async (t) => {
  const { tenant } = simmer;
  const { pod, call } = await running('drained', 3_000);
  const node = (await get(tenant, 'pod', pod))['spec'].nodeName as string;
  t.teardown(() => kubectl('uncordon', node));
  // Not `--force`: the pods have a controller that replaces them.
  await kubectl(
    ...['drain', node, '--ignore-daemonsets', '--delete-emptydir-data', '--timeout=120s'],
    ...['--pod-selector', 'simmer.dev/function=drained'],
  );
  t.match(await call, { status: 200, body: { output: pod } });
  await kubectl('uncordon', node);
  await replaced('drained', pod);
});

t.test(
  'a pod whose packets are dropped: its call ends once, in its time, and it is replaced',
  { skip: notOnTheNode() },
  async (t) => {
    const { tenant } = simmer;
    const { pod, call } = await running('cut', 30_000, { 'x-timeout-ms': '6000' });
    const idle = await warm('idle');
    for (const one of [pod, idle]) cutOff(one);
    // Its handler may rightly be busy: only its deadline tells. An idle pod is found out by its heartbeat.
    const { status, body } = await call;
    t.ok(['timeout', 'pod_lost'].includes(body.code), JSON.stringify(body));
    t.equal(status, body.code === 'timeout' ? 504 : 502);
    for (const [name, one] of [
      ['cut', pod],
      ['idle', idle],
    ] as const) {
      await replaced(name, one);
      await until(`${one} is gone`, async () => {
        const pods = await list(tenant, 'pods', `simmer.dev/function=${name}`);
        return !pods.some(({ metadata }) => metadata.name === one);
      });
    }
  },
);

t.test('a changed template rolls pods, and no call fails', async (t) => {
  const { tenant } = simmer;
  const rolling = (color: string) =>
    fn('rolls', {
      source: { inline: 'export default () => process.env.COLOR;' },
      minReplicas: 2,
      concurrency: 4,
      env: [{ name: 'COLOR', value: color }],
      template: { labels: { color } },
    });
  await apply(tenant, rolling('red'));
  await until('red', async () => (await invoke(simmer, 'rolls', 0)).body.output === 'red');
  let rolled = false;
  const seen = new Map<string, number>();
  const clients = Array.from({ length: 4 }, async () => {
    while (!rolled) {
      const { status, body } = await invoke(simmer, 'rolls', 0);
      const what = status === 200 ? (body.output as string) : JSON.stringify(body);
      seen.set(what, (seen.get(what) ?? 0) + 1);
    }
  });
  await apply(tenant, rolling('blue'));
  await until('all pods are blue', async () => {
    const pods = await podsOf(tenant, 'rolls');
    // Calls that find no slot meanwhile may have grown the pool.
    return pods.length >= 2 && pods.every(({ metadata }) => metadata.labels?.['color'] === 'blue');
  });
  rolled = true;
  await Promise.all(clients);
  t.same([...seen.keys()].sort(), ['blue', 'red'], 'nothing but answers');
});

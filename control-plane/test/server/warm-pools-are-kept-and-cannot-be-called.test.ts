import t from 'tap';
import { eventually, isAlive, Simmer } from './simmer.ts';

const pool = (spec: object): string =>
  JSON.stringify({
    apiVersion: 'simmer.dev/v1alpha1',
    kind: 'WarmPool',
    metadata: { name: 'generic' },
    spec,
  });

// A function of the pool's name: neither is in the other's way.
const simmer = await Simmer.start(t, [{ name: 'generic', spec: { minReplicas: 1 } }]);
const PATH = 'generic?kind=WarmPool';

t.test('its pods are launched, counted and shown', async (t) => {
  simmer.write('pool.yaml', pool({ minReplicas: 2 }));
  await eventually('two pods', async () => (await simmer.pool(PATH)).ready === 2);
  t.match(await simmer.pool(PATH), {
    kind: 'WarmPool',
    name: 'generic',
    minReplicas: 2,
    live: 2,
    idle: 2,
  });
  t.match(await simmer.pool('generic'), { kind: 'Function', live: 1 });
  const { json } = await simmer.request('/v1/pools');
  t.same(
    json.pools.map((p: { kind: string }) => p.kind),
    ['Function', 'WarmPool'],
  );
  t.equal(
    await simmer.metric('simmer_pods', { function: 'default/pool.generic', state: 'idle' }),
    2,
  );
});

t.test('it is no function', async (t) => {
  const { json } = await simmer.request('/v1/functions');
  t.equal(json.functions.length, 1);
  for (const name of ['pool.generic', 'pool.generic.default']) {
    t.equal((await simmer.invoke(name)).status, name === 'pool.generic' ? 404 : 400);
  }
  const [pid] = await simmer.pids(PATH);
  t.not((await simmer.invoke('generic')).json.output.pid, pid);
});

t.test('a pod that dies is replaced', async (t) => {
  const before = await simmer.pids(PATH);
  process.kill(before[0] as number, 'SIGKILL');
  const after = await eventually('another', async () => {
    const now = await simmer.pids(PATH);
    return now.length === 2 && !now.includes(before[0] as number) && now;
  });
  t.ok(after.includes(before[1] as number));
});

t.test('a changed pool is rolled; a smaller one gives up pods at once', async (t) => {
  const before = await simmer.pids(PATH);
  simmer.write('pool.yaml', pool({ minReplicas: 2, image: 'other:1' }));
  await eventually('two others', async () => {
    const now = await simmer.pids(PATH);
    return now.length === 2 && !now.some((pid) => before.includes(pid));
  });
  await eventually('the old ones to end', () => !before.some(isAlive));
  const two = await simmer.pids(PATH);
  simmer.write('pool.yaml', pool({ minReplicas: 1, image: 'other:1' }));
  await eventually('one', async () => (await simmer.pool(PATH)).live === 1);
  const [left] = await simmer.pids(PATH);
  t.ok(two.includes(left as number), 'no pod was replaced');
});

t.test('without its manifest nothing of it is left', async (t) => {
  const [pid] = await simmer.pids(PATH);
  simmer.write('pool.yaml', null);
  await eventually('its pod to end', () => !isAlive(pid as number));
  t.equal((await simmer.request(`/v1/pools/${PATH}`)).status, 404);
  t.equal((await simmer.pool('generic')).live, 1);
});

import t from 'tap';
import { ACTOR, type Answer, eventually, Simmer } from './simmer.ts';

const CLIENTS = 8;

const version = (n: number) => `export default async () => {
  await new Promise((resolve) => setTimeout(resolve, 5));
  return ${n};
};`;

const simmer = await Simmer.start(t, [
  { name: 'steady', spec: { minReplicas: 1 } },
  { name: 'changing', code: version(1), spec: { minReplicas: 2, concurrency: 4 } },
  { name: 'leaving', spec: { minReplicas: 1, maxReplicas: 1, overflow: 0 } },
]);

t.test('one with an error is refused with file, field and reason; all others go on', async (t) => {
  const pids = await simmer.pids('steady');
  const good = { apiVersion: 'simmer.dev/v1alpha1', kind: 'Function', metadata: { name: 'fresh' } };
  const bad: readonly [file: string, text: string, field: string, reason: RegExp][] = [
    ['broken.yaml', 'kind: [Function', '', /./],
    [
      'wrong.yaml',
      JSON.stringify({ ...good, spec: { handler: 'steady.mjs', concurrency: 0 } }),
      'spec.concurrency',
      /1/,
    ],
    [
      'lost.yaml',
      JSON.stringify({ ...good, spec: { handler: 'none.mjs' } }),
      'spec.handler',
      /none.mjs/,
    ],
    [
      'unknown.yaml',
      JSON.stringify({ ...good, spec: { handler: 'steady.mjs', replicas: 3 } }),
      'spec',
      /replicas/,
    ],
    // The manifest of a function that runs.
    [
      'steady.yaml',
      JSON.stringify({
        ...good,
        metadata: { name: 'steady' },
        spec: { handler: 'steady.mjs', minReplicas: -1 },
      }),
      'spec.minReplicas',
      /0/,
    ],
  ];
  for (const [file, text] of bad) simmer.write(file, text);
  for (const [file, , field, reason] of bad) {
    const line = await eventually(`${file} is refused`, () =>
      simmer.logs().find((l) => String(l['source']).startsWith(file)),
    );
    t.equal(line['code'], 'invalid_manifest');
    t.equal(line['level'], 'error');
    t.equal(line['field'], field);
    t.match(line['reason'], reason);
    t.match(line.message, file);
  }
  t.equal((await simmer.invoke('steady')).status, 200);
  t.same(await simmer.pids('steady'), pids, 'the same pods serve');
  t.equal((await simmer.invoke('fresh')).json.code, 'function_not_found');
  for (const [file] of bad.slice(0, -1)) simmer.write(file, null);
  simmer.define({ name: 'steady', spec: { minReplicas: 1 } });
});

t.test('a changed handler and a changed manifest under load lose nothing', async (t) => {
  let stop = false;
  const answers: Answer[] = [];
  const clients = Array.from({ length: CLIENTS }, async () => {
    while (!stop) answers.push(await simmer.invoke('changing'));
  });
  const seen = (n: number) => answers.at(-1)?.json.output === n;
  await eventually('the first answers', () => seen(1));
  for (const n of [2, 3]) {
    simmer.write('changing.mjs', version(n));
    await eventually(`version ${n} answers`, () => seen(n));
    await eventually('no pod of the old version is left', async () => {
      const pool = (await simmer.pool('changing')) as unknown as { stale: number; ready: number };
      return pool.stale === 0 && pool.ready >= 2;
    });
  }
  simmer.define({
    name: 'changing',
    code: version(4),
    spec: { minReplicas: 1, concurrency: 8, env: [{ name: 'A', value: 'B' }] },
  });
  await eventually('version 4 answers', () => seen(4));
  stop = true;
  await Promise.all(clients);
  const failed = answers.filter((a) => a.status !== 200);
  t.same(
    failed.map((a) => a.json),
    [],
    `none of ${answers.length} failed`,
  );
  t.equal((await simmer.pool('changing')).lost, 0);
  await simmer.quiet('default/changing');
});

t.test('a deleted function serves what waits, and is 404 afterwards', async (t) => {
  const gate = simmer.gate();
  const running = simmer.invoke('leaving', { hold: gate });
  await eventually('it runs', async () => (await simmer.pool('leaving')).busy === 1);
  const waiting = [simmer.invoke('leaving'), simmer.invoke('leaving')];
  await eventually('two wait', async () => {
    return (
      (await simmer.metric('simmer_function_queue_depth', { function: 'default/leaving' })) === 2
    );
  });
  simmer.write('leaving.yaml', null);
  await eventually('it is not found', async () => {
    const { status, json } = await simmer.request('/v1/functions/leaving');
    return status === 404 && json.code === 'function_not_found';
  });
  await eventually('nor may it be called', async () => {
    const { status, json } = await simmer.invoke(
      'leaving',
      {},
      { headers: { 'x-timeout-ms': '1' } },
    );
    return status === 404 && json.code === 'function_not_found';
  });
  simmer.open(gate);
  for (const answer of await Promise.all([running, ...waiting])) t.equal(answer.status, 200);
});

t.test('a function that comes back is served anew', async (t) => {
  simmer.define({ name: 'leaving', code: ACTOR, spec: { minReplicas: 1 } });
  await eventually('it answers', async () => (await simmer.invoke('leaving')).status === 200);
  t.equal((await simmer.invoke('leaving')).status, 200);
});

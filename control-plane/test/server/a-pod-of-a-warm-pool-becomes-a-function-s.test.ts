import t from 'tap';
import { type Answer, eventually, Simmer } from './simmer.ts';

const pool = (spec: object, name = 'warm'): string =>
  JSON.stringify({
    apiVersion: 'simmer.dev/v1alpha1',
    kind: 'WarmPool',
    metadata: { name },
    spec,
  });
const WARM = 'warm?kind=WarmPool';

/** A function that says which process it is, what it sees of the environment, and under which name it runs. */
const SHOWS = `
const seen = Object.keys(process.env).filter((name) => /^(SECRET|OF_)/.test(name));
export default (input, ctx) => ({
  ...{ pid: process.pid, seen, own: process.env.OF_SELF, names: [process.env.SIMMER_FUNCTION, ctx.function] },
  ...{ token: process.env.SIMMER_TOKEN ?? null },
});
`;

async function placementOf(simmer: Simmer, { headers }: Answer): Promise<string> {
  const { json } = await simmer.request(`/v1/executions/${headers['x-execution-id']}`);
  return json.attempts.at(-1).placement;
}

async function ready(simmer: Simmer, count: number): Promise<number[]> {
  return await eventually(`${count} generic pods`, async () => {
    const pids = await simmer.pids(WARM);
    return pids.length === count && pids;
  });
}

t.test(
  'a function that has never run answers from it, with its environment and no other',
  async (t) => {
    const of = (name: string) => ({
      name,
      spec: {
        source: { inline: SHOWS },
        env: [
          { name: 'OF_SELF', value: name },
          { name: `OF_${name.toUpperCase()}`, value: 'x' },
        ],
      },
    });
    const simmer = await Simmer.start(t, [of('one'), of('two')]);
    simmer.write('pool.yaml', pool({ minReplicas: 2, maxReplicas: 5 }));
    const generic = await ready(simmer, 2);

    const first = await simmer.invoke('one');
    t.match(first, { status: 200 });
    const { output } = first.json;
    t.ok(generic.includes(output.pid), 'it is one of the pods that were there');
    t.same(output.seen, ['OF_SELF', 'OF_ONE']);
    t.same(output.names, ['default/one', 'default/one']);
    t.equal(output.token, null);
    t.equal(await placementOf(simmer, first), 'generic');

    const second = await simmer.invoke('two');
    t.not(second.json.output.pid, output.pid);
    t.same(second.json.output.seen, ['OF_SELF', 'OF_TWO'], 'nothing of the other');
    t.equal(second.json.output.own, 'two');

    t.match(await simmer.pool('one'), {
      live: 1,
      ready: 1,
      placements: { generic: 1 },
      misses: { generic: 1 },
    });
    const again = await simmer.invoke('one');
    t.equal(again.json.output.pid, output.pid, "it stays the function's");
    t.equal(await placementOf(simmer, again), 'warm');
    const refilled = await ready(simmer, 2);
    t.notOk(refilled.some((pid) => generic.includes(pid)));
    // Where starts take long, one more is launched for what may be claimed meanwhile.
    const refill = await simmer.pool(WARM);
    t.match(refill, { claimed: 2 });
    t.ok(refill.live >= 2 && refill.live <= 3, `refilled: ${refill.live}`);
    const { json } = await simmer.request('/v1/functions/one');
    t.same(json.status.warmPools, { pools: ['warm'] });
    t.equal(
      await simmer.metric('simmer_placements_total', {
        function: 'default/one',
        kind: 'generic',
      }),
      1,
    );
    t.equal(simmer.stderr, '');
  },
);

t.test(
  "it is the function's own: a new revision replaces it, and it goes after its keep-alive",
  async (t) => {
    const of = (answer: string, more: object = {}) => ({
      name: 'fn',
      spec: { source: { inline: `export default () => '${answer}';` }, ...more },
    });
    const simmer = await Simmer.start(t, [of('old')]);
    simmer.write('pool.yaml', pool({ minReplicas: 1 }));
    await ready(simmer, 1);
    t.equal((await simmer.invoke('fn')).json.output, 'old');
    const [before] = await simmer.pids('fn');
    simmer.define(of('new'));
    await eventually('the new code', async () => (await simmer.invoke('fn')).json.output === 'new');
    await eventually(
      'the old pod to leave',
      async () => !(await simmer.pids('fn')).includes(before as number),
    );
    simmer.define(of('new', { keepAliveMs: 1 }));
    await eventually('no pod', async () => (await simmer.pool('fn')).live === 0);
    await eventually('its place to be free', async () => {
      const { json } = await simmer.request(`/v1/pools/${WARM}`);
      return json.claimed === 0;
    });
  },
);

t.test('what it was told at launch it is told now: schemas, limits, concurrency', async (t) => {
  const simmer = await Simmer.start(t, [
    {
      name: 'fn',
      spec: {
        source: {
          inline:
            'export default async (input) => { if (input.wait) await new Promise((r) => setTimeout(r, 300)); return "x".repeat(input.n); };',
        },
        inputSchema: { type: 'object', required: ['n'], properties: { n: { type: 'integer' } } },
        concurrency: 3,
        maxResultBytes: 50,
      },
    },
  ]);
  simmer.write('pool.yaml', pool({ minReplicas: 1, maxReplicas: 1 }));
  await ready(simmer, 1);
  t.match((await simmer.invoke('fn', { n: 'no' })).json, { code: 'invalid_input' });
  t.match((await simmer.invoke('fn', { n: 100 })).json, { code: 'result_too_large' });
  const all = await Promise.all([1, 2, 3].map((n) => simmer.invoke('fn', { n, wait: true })));
  t.same(
    all.map(({ json }) => json.output),
    ['x', 'xx', 'xxx'],
  );
  t.match(await simmer.pool('fn'), { live: 1 });
});

t.test('code that does not load says why, and the pool serves the others', async (t) => {
  const simmer = await Simmer.start(t, [
    { name: 'broken', spec: { source: { inline: 'throw new Error("a good reason");' } } },
    { name: 'fine', spec: { source: { inline: 'export default () => process.pid;' } } },
  ]);
  simmer.write('pool.yaml', pool({ minReplicas: 2, maxReplicas: 4 }));
  await ready(simmer, 2);
  const answer = await simmer.invoke('broken');
  t.match(answer.json, { code: 'no_capacity', detail: /handler_not_loaded.*a good reason/ });
  const pids = await eventually('the pool is whole', async () => {
    const now = await simmer.pids(WARM);
    return now.length === 2 && now;
  });
  t.ok(pids.includes((await simmer.invoke('fine')).json.output));
  t.match(await simmer.pool('broken'), { live: 0, lastFailure: { code: 'handler_not_loaded' } });
  t.match((await simmer.request(`/v1/pools/${WARM}`)).json.lastFailure, undefined);
});

t.test('more than its memory ends it, and says so', async (t) => {
  const simmer = await Simmer.start(t, [
    {
      name: 'greedy',
      spec: {
        source: {
          inline: `const held = [];
export default async () => {
  for (;;) {
    held.push(Buffer.alloc(8_000_000, 1));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};`,
        },
        template: { resources: { limits: { memory: '200Mi' } } },
      },
    },
  ]);
  simmer.write('pool.yaml', pool({ minReplicas: 1 }));
  await ready(simmer, 1);
  const { status, json } = await simmer.invoke('greedy');
  t.equal(status, 500);
  t.match(json, { code: 'memory_exceeded', detail: /limit of 200 MiB/ });
});

t.test(
  'a burst of functions on a small pool is answered, all of it, and nothing twice',
  async (t) => {
    const COUNT = 12;
    const names = Array.from({ length: COUNT }, (_, i) => `f${i}`);
    const inline = 'export default () => process.pid;';
    const simmer = await Simmer.start(
      t,
      names.map((name) => ({ name, spec: { source: { inline }, overflow: 0 } })),
    );
    simmer.write('pool.yaml', pool({ minReplicas: 2, maxReplicas: 5 }));
    await ready(simmer, 2);
    const answers = await Promise.all(names.map((name) => simmer.invoke(name)));
    t.same(
      answers.map(({ status }) => status),
      names.map(() => 200),
    );
    t.equal(new Set(answers.map(({ json }) => json.output)).size, COUNT, 'a process each');
    for (const answer of answers) t.equal(await placementOf(simmer, answer), 'generic');
    const { json } = await simmer.request(`/v1/pools/${WARM}`);
    t.ok(json.claimed + json.live - json.draining <= 5, 'never more than its maximum');
  },
);

t.test('modules are loaded beforehand; one that is not there is named', async (t) => {
  const simmer = await Simmer.start(t, [
    {
      name: 'fn',
      spec: { source: { inline: 'export default () => globalThis.loadedBefore ?? null;' } },
    },
  ]);
  simmer.write('node_modules/early/index.js', 'globalThis.loadedBefore = "early";');
  simmer.write('pool.yaml', pool({ minReplicas: 1, preload: ['early'] }));
  await ready(simmer, 1);
  t.equal((await simmer.invoke('fn')).json.output, 'early');
  simmer.write('pool.yaml', pool({ minReplicas: 1, preload: ['early', 'absent'] }));
  await eventually('the reason', async () =>
    /module absent \(spec.preload\) does not load/.test(
      (await simmer.pool(WARM)).lastFailure?.message ?? '',
    ),
  );
});

t.test('whom it does not fit is told', async (t) => {
  const inline = 'export default () => 1;';
  const simmer = await Simmer.start(t, [
    { name: 'file' },
    { name: 'named', spec: { source: { inline }, pool: 'other' } },
    { name: 'other-image', spec: { source: { inline }, image: 'mine:1' } },
    { name: 'fits', spec: { source: { inline } } },
  ]);
  simmer.write('pool.yaml', pool({ minReplicas: 0 }));
  simmer.write('private.yaml', pool({ minReplicas: 0, tenancy: 'Named' }, 'private'));
  const told = async (name: string) =>
    (await simmer.request(`/v1/functions/${name}`)).json.status.warmPools;
  await eventually('the pools', async () => (await told('fits')).pools.length > 0);
  t.same(await told('fits'), { pools: ['warm'] });
  t.match(await told('file'), { pools: [], reason: /spec\.source/ });
  t.match(await told('named'), { pools: [], reason: /no WarmPool other/ });
  t.match(await told('other-image'), { pools: [], reason: /another image/ });
  simmer.write('private.yaml', pool({ minReplicas: 0, tenancy: 'Named' }, 'other'));
  await eventually('the pool of that name', async () => (await told('named')).pools[0] === 'other');
  t.same(await told('fits'), { pools: ['warm'] });
});

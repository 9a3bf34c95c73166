import t from 'tap';
import { eventually, Simmer } from './simmer.ts';

const QUEUE = 5;

const simmer = await Simmer.start(t, [
  {
    name: 'one',
    spec: { minReplicas: 1, maxReplicas: 1, overflow: 0, queue: { maxLength: QUEUE } },
  },
  {
    name: 'bytes',
    spec: {
      minReplicas: 1,
      maxReplicas: 1,
      overflow: 0,
      queue: { maxLength: 50, maxBytes: 10_000 },
    },
  },
]);

const depth = (name: string) =>
  simmer.metric('simmer_function_queue_depth', { function: `default/${name}` });

/** Keeps the only slot until the gate is opened. */
async function occupy(name: string) {
  const gate = simmer.gate();
  const runs = simmer.gate();
  const call = simmer.invoke(name, { hold: gate, runs });
  await eventually('it runs', () => simmer.runs(runs).length === 1);
  return { gate, call };
}

t.test(
  'the wait counts: a call that got no slot in its time is 504 and is never run',
  async (t) => {
    const { gate, call } = await occupy('one');
    const runs = simmer.gate();
    const started = performance.now();
    const answer = await simmer.invoke('one', { runs }, { headers: { 'x-timeout-ms': '300' } });
    const took = performance.now() - started;
    t.match([answer.status, answer.json.code], [504, 'timeout']);
    t.match(answer.json.detail, /waited \d+ ms for a pod/);
    t.notOk('attempts' in answer.json, 'no attempt was made');
    t.ok(took >= 300, 'not before its deadline');
    simmer.open(gate);
    t.equal((await call).status, 200);
    t.equal((await simmer.invoke('one')).status, 200);
    t.same(simmer.runs(runs), []);
  },
);

t.test('one that waited has only what is left of its time to run', async (t) => {
  const { gate, call } = await occupy('one');
  const started = performance.now();
  const own = simmer.gate();
  const waiting = simmer.invoke('one', { hold: own }, { headers: { 'x-timeout-ms': '3000' } });
  await eventually('it waits', async () => (await depth('one')) === 1);
  simmer.open(gate);
  const answer = await waiting;
  const took = performance.now() - started;
  t.match([answer.status, answer.json.code], [504, 'timeout']);
  t.match(answer.json.detail, /running/);
  t.equal(answer.json.attempts, 1);
  // Had each stage a timeout of its own, it would have run for all of its time after the wait.
  const ran = Number(/after (\d+) ms/.exec(answer.json.detail)?.[1]);
  t.ok(ran < 3_000, `it ran for ${ran} ms`);
  t.ok(took >= 3_000);
  simmer.open(own);
  t.equal((await call).status, 200);
});

t.test(
  'a full queue is 429 with Retry-After, never 502 or 503; then it serves again',
  async (t) => {
    const { gate, call } = await occupy('one');
    const waiting = Array.from({ length: QUEUE }, () => simmer.invoke('one'));
    await eventually('the queue is full', async () => (await depth('one')) === QUEUE);
    for (let i = 0; i < 20; i++) {
      const answer = await simmer.invoke('one');
      t.match([answer.status, answer.json.code], [429, 'queue_full']);
      t.match(answer.headers['retry-after'], /^[1-9]\d*$/);
      t.ok(answer.headers['x-execution-id']);
    }
    simmer.open(gate);
    for (const answer of await Promise.all([call, ...waiting])) t.equal(answer.status, 200);
    // No function is stuck in 429 once its load is gone.
    for (let i = 0; i < 5; i++) t.equal((await simmer.invoke('one')).status, 200);
    await simmer.quiet('default/one');
  },
);

t.test('a wait that would outlast the deadline is refused at once, and only then', async (t) => {
  // The longer a call took, the longer the next is expected to take.
  const begun = performance.now();
  const slow = simmer.gate();
  const first = simmer.invoke('one', { wait: slow });
  await eventually('it runs', async () => (await simmer.pool('one')).busy === 1);
  await eventually('half a second has passed', () => performance.now() - begun > 500);
  simmer.open(slow);
  t.equal((await first).status, 200);
  const { gate, call } = await occupy('one');
  const waiting = [simmer.invoke('one'), simmer.invoke('one')];
  await eventually('two wait', async () => (await depth('one')) === 2);
  const answer = await simmer.invoke('one', {}, { headers: { 'x-timeout-ms': '20' } });
  t.match([answer.status, answer.json.code], [429, 'deadline_unreachable']);
  t.match(answer.headers['retry-after'], /^[1-9]\d*$/);
  simmer.open(gate);
  for (const each of await Promise.all([call, ...waiting])) t.equal(each.status, 200);
  t.equal((await simmer.invoke('one', {}, { headers: { 'x-timeout-ms': '5000' } })).status, 200);
});

t.test('bytes fill a queue as well, and are given back', async (t) => {
  const { gate, call } = await occupy('bytes');
  const echo = 'x'.repeat(4_000);
  const waiting = [simmer.invoke('bytes', { echo }), simmer.invoke('bytes', { echo })];
  await eventually('two wait', async () => (await depth('bytes')) === 2);
  const answer = await simmer.invoke('bytes', { echo });
  t.match([answer.status, answer.json.code], [429, 'queue_full']);
  t.match(answer.headers['retry-after'], /^[1-9]\d*$/);
  t.match(answer.json.detail, /of at most 10000 bytes/);
  simmer.open(gate);
  for (const each of await Promise.all([call, ...waiting])) t.equal(each.status, 200);
  t.equal((await simmer.invoke('bytes', { echo })).status, 200);
  await simmer.quiet('default/bytes');
});

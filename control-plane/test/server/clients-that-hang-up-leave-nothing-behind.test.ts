import t from 'tap';
import { head, RawSocket } from './raw-socket.ts';
import { eventually, Simmer } from './simmer.ts';

const BATCH = 100;
const BATCHES = 5;
const BODY = JSON.stringify({ input: { echo: 'x'.repeat(1_000) } });

const ENDLESS = `
import { setImmediate as turn } from 'node:timers/promises';
const piece = Buffer.alloc(1000, 'x');
export const fetch = async () =>
  new Response(ReadableStream.from((async function* () { for (;;) { await turn(); yield piece; } })()));
`;

const simmer = await Simmer.start(t, [
  {
    name: 'many',
    spec: {
      minReplicas: 1,
      maxReplicas: 1,
      overflow: 0,
      concurrency: BATCH,
      queue: { maxLength: 1_000 },
    },
  },
  {
    name: 'single',
    spec: { minReplicas: 1, maxReplicas: 1, overflow: 0, queue: { maxLength: 1_000 } },
  },
  { name: 'endless', code: ENDLESS, spec: { minReplicas: 1, maxReplicas: 1, concurrency: BATCH } },
]);
const before = new Map<string, number[]>();
for (const name of ['many', 'single', 'endless']) before.set(name, await simmer.pids(name));

const metric = (name: string, fn: string) => simmer.metric(name, { function: `default/${fn}` });

/**
 * Opens a batch of clients that send this, waits until the server is where it should be, cuts them all off, and waits
 * until the server has seen that: none of one batch is taken for one of the next.
 */
async function hangUp(
  send: string,
  stage: (clients: readonly RawSocket[]) => Promise<unknown>,
  settled: () => Promise<unknown>,
) {
  for (let i = 0; i < BATCHES; i++) {
    const clients = await Promise.all(
      Array.from({ length: BATCH }, () => RawSocket.open(simmer.port)),
    );
    for (const client of clients) client.write(send);
    await stage(clients);
    for (const client of clients) client.reset();
    await settled();
  }
}

const post = (name: string, body: string, length = body.length) =>
  `${head('POST', `/v1/functions/${name}:invoke`, { 'Content-Length': length })}${body}`;

t.test('before the body, and in the middle of it', async (t) => {
  const held = (bytes: number) =>
    eventually('the bytes are held', async () => {
      return (await metric('simmer_function_held_bytes', 'many')) >= bytes;
    });
  const settled = () => simmer.quiet('default/many');
  await hangUp(post('many', '', 1_000), () => held(BATCH * 1_000), settled);
  const half = post('many', BODY.slice(0, 500), BODY.length);
  await hangUp(half, () => held(BATCH * BODY.length), settled);
  t.equal(await metric('simmer_accepted_total', 'many'), 0, 'none of these was run');
});

t.test('while queued: none of them is run', async (t) => {
  const gate = simmer.gate();
  const runs = simmer.gate();
  const holder = simmer.invoke('single', { hold: gate });
  const depth = () => metric('simmer_function_queue_depth', 'single');
  await hangUp(
    post('single', JSON.stringify({ input: { runs } })),
    () => eventually('all wait', async () => (await depth()) === BATCH),
    () => eventually('none waits', async () => (await depth()) === 0),
  );
  simmer.open(gate);
  t.equal((await holder).status, 200);
  await simmer.quiet('default/single');
  t.same(simmer.runs(runs), []);
});

t.test('while running: each is told, and gives its slot back', async (t) => {
  const never = simmer.gate();
  const running = () => metric('simmer_function_running', 'many');
  await hangUp(
    post('many', JSON.stringify({ input: { wait: never } })),
    () => eventually('all run', async () => (await running()) === BATCH),
    () => simmer.quiet('default/many'),
  );
  t.pass('all slots are free');
});

t.test('in the middle of a stream', async (t) => {
  await hangUp(
    head('GET', '/fn/endless'),
    (clients) => Promise.all(clients.map((c) => c.until('the stream has begun', /xxxx/))),
    () => simmer.quiet('default/endless'),
  );
  t.pass('all slots are free');
});

t.test('each was counted once, and the same pods serve on', async (t) => {
  const cancelled = (name: string) =>
    simmer.metric('simmer_invocations_total', { function: `default/${name}`, code: 'cancelled' });
  t.equal(await cancelled('many'), 3 * BATCH * BATCHES);
  t.equal(await cancelled('single'), BATCH * BATCHES);
  t.equal(await cancelled('endless'), BATCH * BATCHES);
  for (const name of ['many', 'single']) t.equal((await simmer.invoke(name)).status, 200);
  for (const [name, pids] of before) t.same(await simmer.pids(name), pids, `${name} kept its pod`);
});

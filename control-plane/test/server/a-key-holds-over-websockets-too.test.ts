import t from 'tap';
import { eventually, Simmer } from './simmer.ts';
import { StreamPeer } from './stream-peer.ts';

const spec = { minReplicas: 1, maxReplicas: 1, overflow: 0, concurrency: 50 };
const simmer = await Simmer.start(t, [{ name: 'fn', spec }]);
const attached = () => simmer.metric('simmer_idempotent_requests_total', { result: 'attached' });

t.test('calls of one key on several sockets run once, whoever cancels or leaves', async (t) => {
  const [gate, runs] = [simmer.gate(), simmer.gate()];
  const input = JSON.stringify({ wait: gate, runs, echo: 'é' });
  const [one, two, leaver] = await Promise.all([
    StreamPeer.open(t, simmer.port, 'json'),
    StreamPeer.open(t, simmer.port, 'json'),
    StreamPeer.open(t, simmer.port, 'json'),
  ]);
  const invoke = (peer: StreamPeer, id: number) =>
    peer.send({ type: 'invoke', id, function: 'fn', input, idempotencyKey: 'k' });
  invoke(one, 1);
  await eventually('it runs', () => simmer.runs(runs).length === 1);
  for (const id of [2, 3]) invoke(one, id);
  invoke(two, 1);
  invoke(leaver, 1);
  await eventually('all have attached', async () => (await attached()) === 4);
  // The first, one that waits, and one whose socket goes.
  for (const id of [1, 3]) one.send({ type: 'cancel', id });
  leaver.ws.close();
  t.match(await one.problem(1), { code: 'cancelled' });
  t.match(await one.problem(3), { code: 'cancelled' });
  simmer.open(gate);
  const results = [await one.next('result', 2), await two.next('result', 1)];
  for (const result of results) {
    t.equal(result.replayed, true);
    t.match(JSON.parse(Buffer.from(result.output).toString()), {
      echo: 'é',
      executionId: result.executionId,
    });
  }
  invoke(two, 2);
  const again = await two.next('result', 2);
  t.same([again.replayed, again.executionId], [true, results[0]?.executionId]);
  two.send({ type: 'invoke', id: 3, function: 'fn', input: '{}', idempotencyKey: 'k' });
  t.match(await two.problem(3), { status: 422, code: 'idempotency_key_reused' });
  two.send({ type: 'invoke', id: 4, function: 'fn', input, idempotencyKey: 'gr\u00fcn' });
  t.match(await two.problem(4), { status: 400, code: 'invalid_idempotency_key' });
  t.equal(simmer.runs(runs).length, 1);
  t.equal(one.count('result') + one.count('error'), 3, 'each got one answer');
  await simmer.quiet('default/fn');
});

t.test(
  'an enqueue that is cancelled before it is accepted is told so, and its id is free',
  async (t) => {
    const peer = await StreamPeer.open(t, simmer.port, 'msgpack');
    const call = { type: 'enqueue', function: 'fn' } as const;
    for (const [id, key] of [
      [1, { idempotencyKey: 'c' }],
      [2, {}],
    ] as const) {
      peer.send({ ...call, id, ...key, input: '{', more: true });
      peer.send({ type: 'cancel', id });
      t.match(await peer.problem(id), { code: 'cancelled', detail: /by request/ });
      peer.send({ ...call, id, ...key });
      await peer.next('accepted', id);
    }
    t.equal(peer.count('error'), 2, 'each was told once');
    await simmer.quiet('default/fn');
  },
);

t.test('enqueued twice it is one execution', async (t) => {
  const runs = simmer.gate();
  const peer = await StreamPeer.open(t, simmer.port, 'msgpack');
  const input = JSON.stringify({ runs });
  for (const id of [1, 2]) {
    peer.send({ type: 'enqueue', id, function: 'fn', input, idempotencyKey: 'e' });
  }
  const [first, second] = [await peer.next('accepted', 1), await peer.next('accepted', 2)];
  t.equal(second.executionId, first.executionId);
  t.same([first.replayed, second.replayed], [undefined, true]);
  const { json } = await simmer.request(`/v1/executions/${first.executionId}?wait=30`);
  t.equal(json.status, 'succeeded');
  t.equal(simmer.runs(runs).length, 1);
});

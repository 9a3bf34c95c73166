import t from 'tap';
import { arrival, hang, Receiver } from './receiver.ts';
import { eventually, Simmer } from './simmer.ts';

t.test('a receiver that hangs stops nobody else: neither its function nor others', async (t) => {
  const hanging = await Receiver.start(t, hang);
  const good = await Receiver.start(t);
  const slow = await Receiver.start(t, (response) => {
    // A body that never ends, whose status has said all.
    response.writeHead(200);
    response.write('x');
  });
  const patient = await Simmer.start(
    t,
    ['actor', 'other'].map((name) => ({ name, spec: { minReplicas: 1 } })),
    { flags: ['--callback-allow', '127.0.0.1', '--callback-timeout-ms', '300000'] },
  );
  const post = async (callbackUrl: string, name = 'actor'): Promise<string> => {
    const body = JSON.stringify({ callbackUrl });
    return (await patient.request(`/v1/functions/${name}:enqueue`, { body })).json.executionId;
  };
  const stuck: string[] = [];
  for (let i = 0; i < 40; i++) stuck.push(await post(hanging.url()));
  await eventually('they hang', () => hanging.received.length >= 8);
  for (const name of ['actor', 'other']) await arrival(good, await post(good.url(), name));
  const endless = await post(slow.url());
  await arrival(slow, endless);
  await eventually('the others are taken', async () => {
    return (await patient.metric('simmer_callbacks_pending')) === 40;
  });
  t.equal(hanging.received.length, 8, 'and those still hang');
  t.equal(slow.of(endless).length, 1, 'taken with its status');
  const sentAgain = hanging.received.map(({ headers }) => headers['x-execution-id'] as string);
  hanging.answering = (response) => void response.end();
  hanging.hangUp();
  for (const id of sentAgain) await arrival(hanging, id, 2);
  for (const id of stuck) await arrival(hanging, id);
  await eventually('all are taken', async () => {
    return (await patient.metric('simmer_callbacks_pending')) === 0;
  });
  t.equal(await patient.metric('simmer_callbacks_delivered_total'), 43);
  t.equal(await patient.metric('simmer_callback_attempts_failed_total'), 8);
  t.equal(await patient.metric('simmer_callback_delivery_seconds_count'), 43);
});

t.test('calls that are slow run once each, and each is told once', async (t) => {
  const receiver = await Receiver.start(t);
  const brisk = await Simmer.start(t, [{ name: 'actor', spec: { maxReplicas: 8, overflow: 0 } }], {
    flags: ['--callback-allow', '127.0.0.1', '--heartbeat-ms', '100'],
  });
  const hold = brisk.gate();
  const runs = brisk.gate();
  const ids: string[] = [];
  for (let i = 0; i < 8; i++) {
    const body = JSON.stringify({ input: { hold, runs }, callbackUrl: receiver.url() });
    const { json } = await brisk.request('/v1/functions/actor:enqueue', { body });
    ids.push(json.executionId);
  }
  await eventually('all run', () => brisk.runs(runs).length === 8);
  const began = performance.now();
  await eventually('many heartbeats have passed', () => performance.now() - began > 1_000);
  brisk.open(hold);
  for (const id of ids) await arrival(receiver, id);
  await eventually('all is quiet', async () => {
    return (await brisk.metric('simmer_callbacks_pending')) === 0;
  });
  t.same([brisk.runs(runs).length, receiver.received.length], [8, 8]);
});

t.test('where there is no room, who holds the most gives way, and is told', async (t) => {
  const hanging = await Receiver.start(t, hang);
  const good = await Receiver.start(t);
  const small = await Simmer.start(
    t,
    ['actor', 'other'].map((name) => ({ name, spec: { minReplicas: 1 } })),
    { flags: ['--callback-allow', '127.0.0.0/8', '--callbacks-max', '9'] },
  );
  const post = async (callbackUrl: string, name = 'actor'): Promise<string> => {
    const body = JSON.stringify({ callbackUrl });
    return (await small.request(`/v1/functions/${name}:enqueue`, { body })).json.executionId;
  };
  const dead = () => small.logs().filter((l) => l.message === 'callback dead-lettered');
  const ids: string[] = [];
  for (let i = 0; i < 9; i++) ids.push(await post(hanging.url()));
  await eventually('eight are under way, and one waits', () => hanging.received.length === 8);
  const tenth = await post(hanging.url());
  await eventually('it is told', () => dead().length === 1);
  t.match(dead(), [{ executionId: tenth, attempts: 0, reason: /no room/ }]);
  await arrival(good, await post(good.url(), 'other'));
  await eventually('it is told', () => dead().length === 2);
  t.match(dead()[1], { executionId: ids[8], function: 'default/actor', reason: /no room/ });
  for (const id of [tenth, ids[8]]) {
    const { status: code, json } = await small.request(`/v1/dead-letters/${id}-callback`);
    t.match([code, json.error.code, json.attempts], [200, 'callback_failed', []]);
  }
});

t.test('a shutdown tells what it can, and the log of the rest', async (t) => {
  const hanging = await Receiver.start(t, hang);
  const good = await Receiver.start(t);
  const ending = await Simmer.start(t, [{ name: 'actor', spec: { minReplicas: 1 } }], {
    flags: ['--callback-allow', '127.0.0.1', '--shutdown-grace-ms', '200'],
  });
  const post = async (input: unknown, callbackUrl: string): Promise<string> => {
    const body = JSON.stringify({ input, callbackUrl });
    return (await ending.request('/v1/functions/actor:enqueue', { body })).json.executionId;
  };
  const stuck = await post({}, hanging.url('/?token=secret'));
  await arrival(hanging, stuck);
  const cut = await post({ wait: ending.gate() }, good.url());
  await eventually('it runs', async () => (await ending.pool('actor')).busy === 1);
  ending.child.kill('SIGTERM');
  t.equal(await ending.exited, 0);
  t.match((await arrival(good, cut)).json, { status: 'failed', error: { code: 'draining' } });
  const lines = ending.logs().filter((l) => l.message === 'callback not delivered');
  t.match(lines, [{ level: 'warn', executionId: stuck, function: 'default/actor' }]);
  t.equal(lines[0]?.['host'], `127.0.0.1:${hanging.port}`);
  t.notOk(JSON.stringify(lines).includes('secret'));
});

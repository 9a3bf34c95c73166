/** Faults that users of other platforms met: a call that takes long is run again while it runs, or is not found before it has ended. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { eventually, Simmer } from './simmer.ts';

const CALLS = 8;

t.test('eight slow calls: eight runs, eight callbacks, found at any time', async (t) => {
  const called: string[] = [];
  const receiver = createServer((req, res) => {
    called.push(req.headers['x-execution-id'] as string);
    res.writeHead(204).end();
  });
  receiver.listen(0, '127.0.0.1');
  t.teardown(() => receiver.close());
  await new Promise((resolve) => receiver.once('listening', resolve));
  const simmer = await Simmer.start(
    t,
    [{ name: 'slow', spec: { minReplicas: 1, maxReplicas: 2, overflow: 0 } }],
    { flags: ['--callback-allow', '127.0.0.1'] },
  );
  const gate = simmer.gate();
  const runs = simmer.gate();
  const callbackUrl = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`;
  const ids: string[] = [];
  for (let i = 0; i < CALLS; i++) {
    const body = JSON.stringify({ input: { hold: gate, runs }, callbackUrl });
    const answer = await simmer.request('/v1/functions/slow:enqueue', { method: 'POST', body });
    t.equal(answer.status, 202);
    ids.push(answer.json.executionId);
  }
  await eventually('two run', () => simmer.runs(runs).length === 2);
  // Whoever asks, however often, and waits in vain: it is found, and nothing begins again.
  for (let round = 0; round < 2; round++) {
    const answers = await Promise.all(
      ids.map((id) => simmer.request(`/v1/executions/${id}?wait=1`)),
    );
    t.ok(answers.every((a) => a.status === 200 && /queued|running/.test(a.json.status)));
  }
  t.equal(simmer.runs(runs).length, 2);
  simmer.open(gate);
  const ends = await Promise.all(ids.map((id) => simmer.request(`/v1/executions/${id}?wait=30`)));
  t.ok(ends.every(({ json }) => json.status === 'succeeded' && json.attempts.length === 1));
  await eventually('all receivers were called', () => called.length >= CALLS);
  await simmer.quiet('default/slow');
  await eventually('no callback is pending', async () => {
    return (await simmer.metric('simmer_callbacks_pending')) === 0;
  });
  t.same([...called].sort(), [...ids].sort(), 'each once');
  t.same(simmer.runs(runs).sort(), [...ids].sort(), 'each once');
});

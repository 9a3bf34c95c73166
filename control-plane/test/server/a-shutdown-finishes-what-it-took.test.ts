import t, { type Test } from 'tap';
import { head, RawSocket } from './raw-socket.ts';
import { eventually, isAlive, request, Simmer } from './simmer.ts';

const FUNCTIONS = [
  { name: 'one', spec: { minReplicas: 1, maxReplicas: 1, overflow: 0 } },
  { name: 'idle', spec: { minReplicas: 2 } },
];
const GRACE = ['--shutdown-grace-ms', '60000'];

/** A server with one call running and two waiting. */
async function loaded(t: Test, flags: readonly string[] = GRACE) {
  const simmer = await Simmer.start(t, FUNCTIONS, { flags });
  const gate = simmer.gate();
  const calls = [simmer.invoke('one', { hold: gate })];
  await eventually('it runs', async () => (await simmer.pool('one')).busy === 1);
  calls.push(simmer.invoke('one'), simmer.invoke('one'));
  await eventually('two wait', async () => {
    return (await simmer.metric('simmer_function_queue_depth', { function: 'default/one' })) === 2;
  });
  const below = simmer.descendants();
  t.ok(process.platform !== 'linux' || below.length >= 4, 'a spawner and three pods');
  return { simmer, gate, calls, below };
}

async function noneLeft(below: readonly number[]): Promise<void> {
  await eventually('no child is left', () => below.every((pid) => !isAlive(pid)));
}

t.test(
  'SIGTERM: what runs and what waits is finished, the new is refused, exit code 0',
  async (t) => {
    const { simmer, gate, calls, below } = await loaded(t);
    const kept = await RawSocket.open(simmer.port);
    kept.write(head('GET', '/nothing'));
    await kept.until('an answer', /route_not_found/);
    simmer.child.kill('SIGTERM');
    await eventually('it is not ready any more', async () => {
      return (await request(simmer.managementPort, '/readyz')).status === 503;
    });
    const refused = await simmer.invoke('one');
    t.match([refused.status, refused.json.code], [503, 'draining']);
    t.match(refused.headers['retry-after'], /^\d+$/);
    t.equal((await simmer.invoke('idle')).json.code, 'draining');
    kept.received = '';
    kept.write(`${head('POST', '/v1/functions/one:invoke', { 'Content-Length': 2 })}{}`);
    t.match(await kept.until('an answer', /"draining"/), /^HTTP\/1.1 503 /);
    simmer.open(gate);
    for (const answer of await Promise.all(calls)) t.equal(answer.status, 200);
    t.equal(await simmer.exited, 0);
    kept.end();
    await noneLeft(below);
    t.equal(simmer.stderr, '');
  },
);

t.test('what has not ended within the grace is told so', async (t) => {
  const { simmer, calls, below } = await loaded(t, ['--shutdown-grace-ms', '100']);
  simmer.child.kill('SIGTERM');
  for (const answer of await Promise.all(calls)) {
    t.match([answer.status, answer.json.code], [503, 'draining']);
  }
  t.equal(await simmer.exited, 0);
  await noneLeft(below);
});

t.test('a second signal ends it at once', async (t) => {
  const { simmer, calls, below } = await loaded(t);
  const ended = Promise.allSettled(calls);
  simmer.child.kill('SIGTERM');
  await eventually('it drains', () => simmer.logs().some((l) => l.message === 'draining'));
  simmer.child.kill('SIGTERM');
  t.equal(await simmer.exited, 1);
  t.match(simmer.stderr, /^simmer: ended by a second SIGTERM\n$/);
  for (const { status } of await ended) t.equal(status, 'rejected');
  await noneLeft(below);
});

t.test('kill -9 leaves no child behind', async (t) => {
  const { simmer, calls, below } = await loaded(t);
  const ended = Promise.allSettled(calls);
  simmer.child.kill('SIGKILL');
  t.equal(await simmer.exited, 'SIGKILL');
  await ended;
  await noneLeft(below);
});

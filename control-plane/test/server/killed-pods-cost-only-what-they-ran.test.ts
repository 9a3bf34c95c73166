import t from 'tap';
import { eventually, isAlive, Simmer } from './simmer.ts';

const IN_FLIGHT = 20;

const simmer = await Simmer.start(
  t,
  [
    {
      name: 'busy',
      spec: {
        ...{ minReplicas: 2, maxReplicas: 2, overflow: 0, concurrency: IN_FLIGHT },
        retry: { maxRetries: 0 },
      },
    },
    { name: 'idle', spec: { minReplicas: 1, maxReplicas: 1 } },
  ],
  { flags: ['--heartbeat-ms', '250'] },
);

t.test(
  'kill -9 of a pod: what ran on it ends as pod_lost, once each; the rest succeeds',
  async (t) => {
    const gate = simmer.gate();
    const runs = simmer.gate();
    const calls = Array.from({ length: 2 * IN_FLIGHT }, () =>
      simmer.invoke('busy', { hold: gate, runs }),
    );
    await eventually('all run', () => simmer.runs(runs).length === calls.length);
    const [victim, other] = (await simmer.pids('busy')) as [number, number];
    const { pods } = await simmer.pool('busy');
    const inFlight = pods.find((p) => p.label === String(victim))?.inFlight;
    t.equal(inFlight, IN_FLIGHT);
    process.kill(victim, 'SIGKILL');
    await eventually('the lost are told', async () => {
      return (await simmer.metric('simmer_invocations_total', { code: 'pod_lost' })) === IN_FLIGHT;
    });
    simmer.open(gate);
    const answers = await Promise.all(calls);
    const lost = answers.filter((a) => a.status !== 200);
    t.equal(lost.length, IN_FLIGHT);
    for (const { status, json } of lost) {
      t.equal(status, 502);
      t.match(json, { code: 'pod_lost', attempts: 1, detail: /SIGKILL|socket/ });
    }
    for (const { status, json } of answers.filter((a) => !lost.includes(a))) {
      t.equal(status, 200);
      t.equal(json.output.pid, other);
    }
    const lostLines = () => simmer.logs().filter((l) => l['code'] === 'pod_lost');
    await eventually('they are logged', () => lostLines().length >= IN_FLIGHT);
    const lines = lostLines();
    const ids = new Set(lines.map((l) => l['executionId']));
    t.equal(lines.length, IN_FLIGHT, 'one line each');
    t.same(ids, new Set(lost.map((a) => a.headers['x-execution-id'])));
    await eventually('the pool is at its minimum again', async () => {
      return (await simmer.pool('busy')).ready === 2;
    });
    t.equal((await simmer.pool('busy')).lost, 1);
    await simmer.quiet('default/busy');
  },
);

t.test('a pod that freezes while it idles is found out, killed and replaced', async (t) => {
  const [frozen] = (await eventually('one idles', async () => {
    const pids = await simmer.pids('idle');
    return pids.length === 1 && pids;
  })) as [number];
  // A machine that is busy elsewhere may have kept one from answering before.
  const { lost } = await simmer.pool('idle');
  process.kill(frozen, 'SIGSTOP');
  await eventually('another took its place', async () => {
    const pids = await simmer.pids('idle');
    return pids.length === 1 && pids[0] !== frozen;
  });
  await eventually('it is gone', () => !isAlive(frozen));
  for (let i = 0; i < 10; i++) {
    const answer = await simmer.invoke('idle');
    t.equal(answer.status, 200);
    t.not(answer.json.output.pid, frozen);
  }
  t.equal((await simmer.pool('idle')).lost, lost + 1);
});

t.test('a pod that keeps its event loop busy is left alone', async (t) => {
  const code = `
    export default (ms) => { const until = performance.now() + ms; while (performance.now() < until); return process.pid; };
  `;
  simmer.define({ name: 'blocks', code, spec: { minReplicas: 1, maxReplicas: 1 } });
  const [pid] = await eventually('it is ready', async () => {
    const pids = await simmer.pids('blocks').catch(() => []);
    return pids.length === 1 && pids;
  });
  // Ten heartbeats without an answer.
  const answer = await simmer.invoke('blocks', 2_500);
  t.equal(answer.status, 200);
  t.equal(answer.json.output, pid);
  t.equal((await simmer.pool('blocks')).lost, 0);
});

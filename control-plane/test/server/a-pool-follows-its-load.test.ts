import t from 'tap';
import { eventually, isAlive, Simmer } from './simmer.ts';

const simmer = await Simmer.start(t, [
  {
    name: 'sized',
    spec: {
      maxReplicas: 8,
      keepAliveMs: 3_000,
      scaling: { scaleDownDelayMs: 1_000, stableWindowMs: 6_000 },
    },
  },
]);

t.test(
  'it grows by misses, says why, shrinks to one pod, then to none, and starts anew',
  async (t) => {
    const gate = simmer.gate();
    const runs = simmer.gate();
    const calls = Array.from({ length: 4 }, () => simmer.invoke('sized', { hold: gate, runs }));
    await eventually('all run', () => simmer.runs(runs).length === 4);
    const grown = await simmer.pool('sized');
    t.match(grown, { ready: 4, desired: 4 });
    const pids = grown.pods.map((p) => Number(p.label));
    await eventually('who decided is told', async () => {
      const { decidedBy, decision } = await simmer.pool('sized');
      return decidedBy !== undefined && decision !== undefined;
    });
    t.equal((await simmer.pool('sized')).busy, 4, 'no pod with work is retired');
    simmer.open(gate);
    for (const answer of await Promise.all(calls)) t.equal(answer.status, 200);
    await eventually('it keeps none', async () => {
      const { live, desired, decidedBy } = await simmer.pool('sized');
      return live === 0 && desired === 0 && decidedBy === 'keep-alive';
    });
    t.notOk(pids.some(isAlive), 'nothing runs');
    t.equal((await simmer.invoke('sized')).status, 200, 'the next call starts one');
    t.equal((await simmer.pool('sized')).lost, 0);
  },
);

import t, { type Test } from 'tap';
import { eventually, isAlive, type PoolView, Simmer } from './simmer.ts';

const sum = (counts: Readonly<Record<string, number>>) =>
  Object.values(counts).reduce((a, b) => a + b, 0);

const simmer = await Simmer.start(t, [
  { name: 'ten', spec: { concurrency: 10, maxReplicas: 10 } },
  { name: 'capped', spec: { maxReplicas: 2, overflow: 3, queue: { maxLength: 50 } } },
  { name: 'gone', spec: { keepAliveMs: 50 } },
]);

/** Calls that all hold until the gate opens. */
function burst(name: string, count: number) {
  const gate = simmer.gate();
  const runs = simmer.gate();
  const calls = Array.from({ length: count }, () => simmer.invoke(name, { hold: gate, runs }));
  return { gate, runs, calls };
}

async function launched(name: string): Promise<number> {
  return simmer.metric('simmer_cold_start_seconds_count', {
    function: `default/${name}`,
    phase: 'launch',
  });
}

/**
 * So many that the burst's misses needed, and beyond them only what the load asks for, which is looked at once a second: on a
 * machine that is busy the burst lasts that long.
 */
async function launchedNoMoreThan(t: Test, name: string, needed: number): Promise<void> {
  const count = await launched(name);
  const { pods, desired, decidedBy, decision } = await simmer.pool(name);
  const most = decidedBy === 'load' ? Math.max(needed, desired) : needed;
  t.ok(count >= needed && count <= most, `${count} launched, ${desired} wanted: ${decision}`);
  t.ok(pods.length >= needed && pods.length <= most, `${pods.length} are there`);
}

t.test('twenty calls at once of which one pod takes ten: two pods', async (t) => {
  const { gate, runs, calls } = burst('ten', 20);
  await eventually('all run', () => simmer.runs(runs).length === 20);
  await launchedNoMoreThan(t, 'ten', 2);
  const pool = await simmer.pool('ten');
  t.equal(pool.jobs, 0);
  t.equal(pool.placements['grown'], 20);
  t.equal(sum(pool.misses), 20, 'each miss is counted');
  t.equal((pool.misses['grow'] ?? 0) + (pool.misses['wait'] ?? 0), 20);
  simmer.open(gate);
  for (const answer of await Promise.all(calls)) t.equal(answer.status, 200);
  await simmer.invoke('ten');
  t.equal((await simmer.pool('ten')).placements['warm'], 1);
  await launchedNoMoreThan(t, 'ten', 2);
});

t.test('beyond the maximum, Jobs within overflow, which leave when nothing waits', async (t) => {
  const { gate, runs, calls } = burst('capped', 12);
  await eventually('all slots are taken', () => simmer.runs(runs).length === 5);
  const pool: PoolView = await simmer.pool('capped');
  t.equal(pool.pods.filter((p) => p.kind === 'pool').length, 2);
  t.equal(pool.jobs, 3);
  t.equal(pool.placements['job'], 3);
  t.equal(pool.placements['grown'], 2);
  t.ok((pool.misses['exhausted'] ?? 0) > 0);
  t.equal(sum(pool.misses), 12);
  const jobs = pool.pods.filter((p) => p.kind === 'job').map((p) => Number(p.label));
  simmer.open(gate);
  for (const answer of await Promise.all(calls)) t.equal(answer.status, 200);
  t.equal(simmer.runs(runs).length, 12, 'each was run once');
  await eventually('the Jobs are gone', async () => {
    return jobs.every((pid) => !isAlive(pid)) && (await simmer.pool('capped')).jobs === 0;
  });
  const after = await simmer.pool('capped');
  t.equal(after.ready, 2);
  t.equal(sum(after.placements), 12);
  t.equal(after.lost, 0, 'a Job that leaves is no loss');
});

t.test('the first call after idling to zero succeeds', async (t) => {
  for (let i = 0; i < 2; i++) {
    t.equal((await simmer.invoke('gone')).status, 200);
    await eventually('the pool is empty', async () => (await simmer.pool('gone')).live === 0);
  }
  t.equal((await simmer.invoke('gone')).status, 200);
  t.equal((await simmer.pool('gone')).placements['grown'], 3);
  await simmer.quiet('default/gone');
});

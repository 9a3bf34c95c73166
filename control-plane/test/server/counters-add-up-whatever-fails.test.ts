/** accepted = queued + running - lingering + waiting + ended, read from the page that Prometheus reads, after all that can go wrong. */
import t from 'tap';
import { eventually, Simmer } from './simmer.ts';

const FLAKY = `
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
export default async ({ mode, hold }, ctx) => {
  while (hold && !existsSync(hold)) await delay(5);
  if (mode === 'die') process.kill(process.pid, 'SIGKILL');
  if (mode === 'exit') process.exit(1);
  if (mode === 'hang') await delay(60_000, undefined, { signal: ctx.signal });
  if (mode === 'bad input') throw ctx.badInput('no');
  if (mode === 'error') throw new Error('on purpose');
  return mode;
};
`;
const MODES = ['fine', 'error', 'die', 'exit', 'hang', 'bad input'];
const LABELS = { function: 'default/flaky' };
const simmer = await Simmer.start(t, [
  {
    ...{ name: 'flaky', code: FLAKY },
    spec: {
      ...{ maxReplicas: 2, overflow: 0, graceMs: 1_000, queue: { maxLength: 10 } },
      retry: { maxRetries: 1, baseDelayMs: 10 },
    },
  },
  {
    ...{ name: 'patient', code: FLAKY },
    spec: {
      ...{ minReplicas: 1, deadlineMs: 604_800_000 },
      retry: { baseDelayMs: 86_400_000, maxDelayMs: 86_400_000 },
    },
  },
]);

async function balance(functionKey: string) {
  const page = await simmer.metrics();
  const sum = (name: string) => {
    let total = 0;
    for (const line of page.split('\n')) {
      if (!line.startsWith(`${name}{function="${functionKey}"`)) continue;
      total += Number(line.slice(line.lastIndexOf(' ') + 1));
    }
    return total;
  };
  return {
    accepted: sum('simmer_accepted_total'),
    ended: sum('simmer_ended_total'),
    alive:
      sum('simmer_function_queue_depth') +
      sum('simmer_function_running') -
      sum('simmer_function_lingering') +
      sum('simmer_function_waiting'),
  };
}

function enqueue(name: string, input: object, headers: Record<string, string> = {}) {
  const body = JSON.stringify({ input });
  return simmer.request(`/v1/functions/${name}:enqueue`, { method: 'POST', headers, body });
}

t.test('after failures, losses, timeouts, hang-ups, refusals and cancels', async (t) => {
  const hang = { 'x-timeout-ms': '150' };
  for (const mode of MODES) {
    const sync = simmer.invoke('flaky', { mode }, { headers: mode === 'hang' ? hang : {} });
    const async = await enqueue('flaky', { mode }, mode === 'hang' ? hang : {});
    await sync;
    await simmer.request(`/v1/executions/${async.json.executionId}?wait=30`);
  }
  const gone = new AbortController();
  const gate = simmer.gate();
  const hungUp = simmer.invoke('flaky', { hold: gate }, { signal: gone.signal });
  const kept = await Promise.all(
    Array.from({ length: 16 }, () => enqueue('flaky', { hold: gate })),
  );
  t.ok(
    kept.some((answer) => answer.status === 429),
    'some were refused',
  );
  const accepted = kept.filter((answer) => answer.status === 202);
  gone.abort();
  await hungUp.catch(() => {});
  const cancelled = accepted.at(-1)?.json.executionId;
  await simmer.request(`/v1/executions/${cancelled}`, { method: 'DELETE' });
  // In the middle of it all, with work that waits and runs.
  await eventually('it adds up while calls wait and run', async () => {
    const { accepted: all, ended, alive } = await balance('default/flaky');
    return alive > 0 && all === ended + alive;
  });
  simmer.open(gate);
  await simmer.quiet('default/flaky');
  const end = await balance('default/flaky');
  t.same(end, { accepted: 2 * MODES.length + 1 + accepted.length, ended: end.accepted, alive: 0 });
  t.equal(await simmer.metric('simmer_function_lingering', LABELS), 0);
  for (const [status, least] of Object.entries({
    ...{ succeeded: 2, failed: 4, timed_out: 1, cancelled: 2, dead_lettered: 4 },
  })) {
    const count = await simmer.metric('simmer_ended_total', { ...LABELS, status });
    t.ok(count >= least, `${status}: ${count}`);
  }
});

t.test('with one that waits for its retry, and after its function was deleted', async (t) => {
  const { json } = await enqueue('patient', { mode: 'error' });
  const path = `/v1/executions/${json.executionId}`;
  await eventually('it waits', async () => (await simmer.request(path)).json.status === 'waiting');
  t.same(await balance('default/patient'), { accepted: 1, ended: 0, alive: 1 });
  simmer.write('patient.yaml', null);
  await eventually('its function is gone', async () => {
    return (await simmer.request('/v1/functions/patient')).status === 404;
  });
  t.equal((await simmer.request(path)).json.status, 'waiting', 'it is found all the same');
  simmer.define({ name: 'patient', code: FLAKY, spec: { minReplicas: 1 } });
  await eventually('it is there again', async () => {
    return (await simmer.request('/v1/functions/patient')).status === 200;
  });
  t.same(await balance('default/patient'), { accepted: 0, ended: 0, alive: 0 }, 'another function');
  await simmer.request(path, { method: 'DELETE' });
  t.match((await simmer.invoke('patient', { mode: 'fine' })).json, { output: 'fine' });
  t.same(await balance('default/patient'), { accepted: 1, ended: 1, alive: 0 });
});

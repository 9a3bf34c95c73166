import t from 'tap';
import { applyFunction, send } from './support/call.ts';
import { type Installation, install } from './support/installation.ts';
import { kubectl, list, tryCommand, until } from './support/kubectl.ts';

let simmer: Installation;
t.before(async () => {
  simmer = await install();
});
t.teardown(() => simmer?.remove());

/** Waits at its first attempt, and tells in its pod's log when it has done its work. */
const TELLS = `
import { setTimeout } from 'node:timers/promises';
export default async ({ ms }, ctx) => {
  if (ctx.attempt === 1) await setTimeout(ms);
  console.log('done ' + ctx.executionId);
  return process.env.HOSTNAME;
};
`;

async function enqueue(name: string, ms: number): Promise<string> {
  const path = `/v1/functions/${simmer.name(name)}:enqueue`;
  const { status, body, headers } = await send(simmer, 'POST', path, { input: { ms } });
  if (status !== 202) throw new Error(JSON.stringify(body));
  return headers.get('location') ?? '';
}

t.test('an execution whose pod is deleted ends by another pod, once', async (t) => {
  const { tenant } = simmer;
  await applyFunction(simmer, 'tells', { source: { inline: TELLS }, minReplicas: 1 });
  // Longer than it takes to kill its pod, on a machine however busy; shorter than `timeoutMs`.
  const execution = await enqueue('tells', 25_000);
  const first = await until('it runs', async () => {
    const { body } = await send(simmer, 'GET', execution);
    return body.attempts[0]?.pod as string | undefined;
  });
  // It is killed a second after it was told to end.
  await kubectl('delete', 'pod', first, '-n', tenant, '--grace-period=1', '--wait=false');
  const { body } = await until('it has ended', async () => {
    const answer = await send(simmer, 'GET', `${execution}?wait=30`);
    return answer.body.endedAt !== undefined && answer;
  });
  t.equal(body.status, 'succeeded', JSON.stringify(body));
  t.strictSame(
    body.attempts.map(({ outcome }: { outcome: string }) => outcome),
    ['pod_lost', 'ok'],
  );
  t.not(body.output, first);
  t.equal(body.output, body.attempts[1].pod);
  // The log of the first pod goes with it; it had not come to tell.
  const logs = await Promise.all(
    (await list(tenant, 'pods', 'simmer.dev/function=tells')).map(({ metadata }) =>
      tryCommand('kubectl', ['logs', '-n', tenant, metadata.name]),
    ),
  );
  const text = logs.map(({ stdout }) => stdout).join('\n');
  const done = text.split(`done ${body.executionId}`).length - 1;
  t.equal(done, 1, 'its work was done once');
  t.strictSame((await send(simmer, 'GET', execution)).body, body, 'and it ended once');
});

t.test('one of before a restart answers 410: its result is lost, and it says so', async (t) => {
  const { system } = simmer;
  await applyFunction(simmer, 'lost', { source: { inline: TELLS }, minReplicas: 1 });
  const ended = await enqueue('lost', 0);
  await until('it has ended', async () => {
    const { body } = await send(simmer, 'GET', `${ended}?wait=30`);
    return body.status === 'succeeded';
  });
  const now = ['--grace-period=0', '--force', '--wait=false'];
  await kubectl('delete', 'pod', '--all', '-n', system, ...now);
  await until('another serves', async () => {
    const answer = await send(simmer, 'GET', ended).catch(() => undefined);
    return answer?.status === 410;
  });
  // The one that was killed may have passed that on with its last breath, and the Service leads to nobody for a moment.
  const asked = <T>(what: string, ask: () => Promise<T>) =>
    until(what, () => ask().catch(() => undefined));
  for (const method of ['GET', 'DELETE'] as const) {
    const answer = await asked(`${method} is answered`, () => send(simmer, method, ended));
    t.match(answer, { status: 410, body: { code: 'lost_in_restart' } }, method);
  }
  const next = await asked('new ones are taken', () => enqueue('lost', 0));
  const { body: fresh } = await send(simmer, 'GET', `${next}?wait=30`);
  t.equal(fresh.status, 'succeeded', 'new ones are taken');
});

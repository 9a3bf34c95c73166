import t, { type Test } from 'tap';
import { type Answer, fn, invoke, send, WAITS } from './support/call.ts';
import { type Installation, install } from './support/installation.ts';
import { apply, list, podsOf, until } from './support/kubectl.ts';

let simmer: Installation;
t.before(async () => {
  simmer = await install();
});
t.teardown(() => simmer?.remove());

/** Longer than a pod takes to start, on a machine however busy: for a slot that is free before that a call waits. */
const LONG_MS = 12_000;
/** A start on a busy machine, and two of the long ones behind each other. */
const TIMEOUT_MS = 55_000;

/** One warm pod with one slot: whatever comes while it is busy is a miss. */
const single = (name: string, more: object) =>
  fn(name, {
    source: { inline: WAITS },
    minReplicas: 1,
    maxReplicas: 1,
    timeoutMs: TIMEOUT_MS,
    ...more,
  });

/** Each was answered by its first attempt: nothing that is launched or sent away beside it cuts it. */
async function answeredAtOnce(t: Test, answers: readonly Answer[]): Promise<void> {
  for (const { status, body } of answers) {
    const execution = await send(simmer, 'GET', `/v1/executions/${body.executionId}`);
    const { attempts } = execution.body;
    t.equal(status, 200, JSON.stringify(body));
    t.equal(attempts.length, 1, JSON.stringify(attempts));
  }
}

async function ready(name: string): Promise<void> {
  await until(
    `${name} answers`,
    async () => (await invoke(simmer, name, { ms: 0 })).status === 200,
  );
}

t.test('calls beyond the pool run in Jobs of the function, which end by themselves', async (t) => {
  const { tenant } = simmer;
  await apply(tenant, single('jobs', { overflow: 2, template: { labels: { team: 'a' } } }));
  await ready('jobs');
  const [warm] = await podsOf(tenant, 'jobs');
  const running = [LONG_MS, LONG_MS, LONG_MS].map((ms) => invoke(simmer, 'jobs', { ms }));
  const jobs = await until('two Jobs', async () => {
    const found = await list(tenant, 'jobs', 'simmer.dev/function=jobs');
    return found.length === 2 && found;
  });
  for (const { spec, metadata } of jobs) {
    t.match(spec, { backoffLimit: 0, template: { spec: { restartPolicy: 'Never' } } });
    t.ok(spec.activeDeadlineSeconds > 0, 'a deadline');
    t.type(spec.ttlSecondsAfterFinished, 'number');
    t.match(metadata.labels, { team: 'a', 'simmer.dev/kind': 'job' });
  }
  const answers = await Promise.all(running);
  await answeredAtOnce(t, answers);
  const places = new Set(answers.map(({ body }) => body.output));
  t.ok(places.has(warm?.metadata.name), 'one of them ran on the warm pod');
  t.equal(places.size, 3, 'each on a pod of its own');
  await until('no Job and no pod of one is left', async () => {
    const left = await list(tenant, 'jobs', 'simmer.dev/function=jobs');
    return left.length === 0 && (await podsOf(tenant, 'jobs')).length === 1;
  });
});

t.test('no more Jobs than overflow allows; the others wait for a slot', async (t) => {
  const { tenant } = simmer;
  await apply(tenant, single('bounded', { overflow: 1 }));
  await ready('bounded');
  const running = Array.from({ length: 4 }, () => invoke(simmer, 'bounded', { ms: LONG_MS }));
  let most = 0;
  let done = false;
  const answers = Promise.all(running).finally(() => {
    done = true;
  });
  await until('all have ended', async () => {
    const jobs = await list(tenant, 'jobs', 'simmer.dev/function=bounded');
    most = Math.max(most, jobs.filter(({ status }) => status.active > 0).length);
    return done;
  });
  await answeredAtOnce(t, await answers);
  t.equal(most, 1);
});

t.test('a function may ask for bare pods instead', async (t) => {
  const { tenant } = simmer;
  await apply(tenant, single('bare', { overflowKind: 'Pod' }));
  await ready('bare');
  const running = [LONG_MS, LONG_MS].map((ms) => invoke(simmer, 'bare', { ms }));
  const pods = await until('a second pod', async () => {
    const found = await podsOf(tenant, 'bare');
    return found.length === 2 && found;
  });
  t.same(await list(tenant, 'jobs', 'simmer.dev/function=bare'), []);
  t.same(
    pods.map(({ spec }) => spec.restartPolicy),
    ['Never', 'Never'],
  );
  await answeredAtOnce(t, await Promise.all(running));
  await until('it has gone', async () => (await podsOf(tenant, 'bare')).length === 1);
});

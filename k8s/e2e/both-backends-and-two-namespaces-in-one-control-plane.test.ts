import t from 'tap';
import { fn, invoke, WAITS } from './support/call.ts';
import { type Installation, install } from './support/installation.ts';
import { apply, get, list, podsOf, until } from './support/kubectl.ts';

let simmer: Installation;
t.before(async () => {
  simmer = await install({ second: true, env: { SIMMER_BACKENDS: 'kubernetes,process' } });
});
t.teardown(() => simmer?.remove());

/** Its one answer: where it ran. */
const ranOn = (name: string, at: Omit<Installation, 'remove'> = simmer) =>
  until(`${name} answers`, async () => {
    const { status, body } = await invoke(at, name, { ms: 0 });
    return status === 200 && (body.output as string);
  });

/** A process has the control plane's host name, and not its environment. */
const TELLS_HOST = "import { hostname } from 'node:os';\nexport default () => hostname();\n";

t.test('a function names its backend', async (t) => {
  const { system, tenant } = simmer;
  const few = { source: { inline: TELLS_HOST }, minReplicas: 1 };
  await apply(
    tenant,
    fn('there', few),
    fn('there-too', { ...few, backend: 'kubernetes' }),
    fn('here', { ...few, backend: 'process' }),
  );
  for (const name of ['there', 'there-too']) {
    const pod = await ranOn(name);
    t.ok(
      (await podsOf(tenant, name)).some(({ metadata }) => metadata.name === pod),
      name,
    );
  }
  const [controlPlane] = await list(system, 'pods');
  t.equal(await ranOn('here'), controlPlane?.metadata.name, 'a process beside the control plane');
  t.equal((await podsOf(tenant, 'here')).length, 0);
  await until('the status of both', async () => {
    const statuses = await Promise.all(
      ['there', 'here'].map(
        async (name) => (await get(tenant, 'functions.simmer.dev', name))['status'],
      ),
    );
    return statuses.every((status) => status?.readyReplicas >= 1);
  });
});

t.test('a second namespace is served, by its own role', async (t) => {
  const { second, tenant } = simmer;
  // The same name as in the first: two functions.
  await apply(second, fn('there', { source: { inline: WAITS }, minReplicas: 1 }));
  const pod = await ranOn('there', { ...simmer, name: (name) => `${name}.${second}` });
  t.ok((await podsOf(second, 'there')).some(({ metadata }) => metadata.name === pod));
  t.notOk((await podsOf(tenant, 'there')).some(({ metadata }) => metadata.name === pod));
});

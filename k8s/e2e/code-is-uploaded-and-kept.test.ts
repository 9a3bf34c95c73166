/** Without a volume: what callers upload is in ConfigMaps of the control plane's namespace, and outlives it. */
import { createHash, randomBytes } from 'node:crypto';
import t from 'tap';
import { invoke, send } from './support/call.ts';
import { type Installation, install } from './support/installation.ts';
import { get, kubectl, until } from './support/kubectl.ts';

let simmer: Installation;
t.before(async () => {
  simmer = await install();
});
t.teardown(() => simmer.remove());

const MODULE = { 'content-type': 'text/javascript' };
const codeOf = (answer: string) =>
  `export default () => '${answer}';\n//${randomBytes(600_000).toString('hex')}`;
const output = async () => (await invoke(simmer, 'uploaded', {})).body?.output;

t.test('a manifest that is applied may name code that is to come', async (t) => {
  const code = codeOf('later');
  const bundle = `sha256:${createHash('sha256').update(code).digest('hex')}`;
  const path = `/v1/functions/${simmer.name('late')}`;
  const first = await send(simmer, 'PUT', `${path}?wait=5`, { spec: { source: { bundle } } });
  t.equal(first.status, 422);
  t.match(first.body, { code: 'function_not_ready', detail: /not in the store of code/ });
  await until('its status says so', async () => {
    const object = await get(simmer.tenant, 'function.simmer.dev', 'late');
    return JSON.stringify(object['status'] ?? {}).includes('not in the store of code');
  });
  const answer = await send(simmer, 'PUT', `${path}/code?wait=30`, code, MODULE);
  t.equal(answer.status, 200, JSON.stringify(answer.body));
  t.match((await invoke(simmer, 'late', {})).body, { output: 'later' });
});

t.test('it serves when it is answered, and after the control plane was lost', async (t) => {
  const path = `/v1/functions/${simmer.name('uploaded')}`;
  const spec = { minReplicas: 1, source: { inline: "export default () => 'inline';" } };
  t.equal((await send(simmer, 'PUT', path, { spec })).status, 201);
  const code = codeOf('one');
  const answer = await send(simmer, 'PUT', `${path}/code?wait=60`, code, MODULE);
  t.equal(answer.status, 200, JSON.stringify(answer.body));
  t.equal(await output(), 'one');
  const digest = `sha256:${createHash('sha256').update(code).digest('hex')}`;
  const object = await get(simmer.tenant, 'function.simmer.dev', 'uploaded');
  t.strictSame(object['spec'].source, { bundle: digest });
  const maps = await kubectl('get', 'configmaps', '-n', simmer.system, '-l', 'simmer.dev/code');
  t.match(maps, `simmer-code-${digest.slice(7)}-1`);

  const gone = ['--grace-period=0', '--force', '--wait=true'];
  await kubectl(
    'delete',
    'pods',
    '-l',
    'app.kubernetes.io/name=simmer',
    '-n',
    simmer.system,
    ...gone,
  );
  await kubectl('rollout', 'status', '-n', simmer.system, 'deployment/simmer', '--timeout=120s');
  await until('it serves again', async () => (await output().catch(() => undefined)) === 'one');
  const back = await until('its code is shown', async () => {
    // The one that was killed may have passed on what came before, and the Service leads to nobody for a moment.
    const answer = await send(simmer, 'GET', `${path}/code`).catch(() => undefined);
    return answer?.status === 200 ? answer.body : undefined;
  });
  t.equal(back, code);
  // Its pods as well: a new one gets the code from what was kept.
  await kubectl(
    'delete',
    'pods',
    '-l',
    'simmer.dev/function=uploaded',
    '-n',
    simmer.tenant,
    ...gone,
  );
  await until('a new pod serves it', async () => (await output().catch(() => undefined)) === 'one');
});

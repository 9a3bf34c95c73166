import { addApiKey, newApiKeyFile, textOfApiKeyFile } from '@simmer/protocol/api-keys';
import t from 'tap';
import { applyFunction, invoke, WAITS } from './support/call.ts';
import { type Installation, install } from './support/installation.ts';
import { kubectl, until } from './support/kubectl.ts';

let simmer: Installation;
t.before(async () => {
  simmer = await install({ keys: true, replicas: 2 });
});
t.teardown(() => simmer.remove());

/** Of the management port of one control plane, as its own pod sees it. */
async function metricsStatus(pod: string): Promise<string> {
  const script = "fetch('http://127.0.0.1:8081/metrics').then((r) => console.log(r.status))";
  return (await kubectl('exec', pod, '-n', simmer.system, '--', 'node', '-e', script)).trim();
}

t.test('without the key nothing is answered, with it everything', async (t) => {
  const { address, system } = simmer;
  const plain = await fetch(`${address}/v1/functions`);
  t.equal(plain.status, 401);
  t.equal(plain.headers.get('www-authenticate'), 'Bearer realm="simmer"');
  await applyFunction(simmer, 'keyed', { source: { inline: WAITS } });
  t.match(await invoke(simmer, 'keyed', { ms: 0 }), { status: 200 });
  t.match(await invoke(simmer, 'keyed', { ms: 0 }, { 'x-api-key': 'smr_a_b' }), { status: 401 });
  const pods = await kubectl(
    'get',
    'pods',
    '-n',
    system,
    '-o',
    'jsonpath={.items[*].metadata.name}',
  );
  for (const pod of pods.split(' ')) t.equal(await metricsStatus(pod), '401', pod);
  const { 'x-api-key': key = '' } = await simmer.credentials();
  const logs = await kubectl(
    'logs',
    '-n',
    system,
    '-l',
    'app.kubernetes.io/name=simmer',
    '--tail=-1',
  );
  t.match(logs, 'API keys made');
  t.notOk(logs.includes(key.slice(-43)));
  const stored = await kubectl('get', 'secret', 'simmer-api-keys', '-n', system, '-o', 'json');
  t.notOk(stored.includes(Buffer.from(key).toString('base64').slice(0, 20)));
});

t.test(
  'it outlives its control planes; the operator may delete its text, and write others',
  async (t) => {
    const { system, address } = simmer;
    const headers = await simmer.credentials();
    const status = async (key: Record<string, string>) =>
      (await fetch(`${address}/v1/functions`, { headers: key }).catch(() => undefined))?.status;
    await kubectl('delete', 'secret', 'simmer-api-keys-first-key', '-n', system);
    await kubectl('delete', 'pod', '--all', '-n', system, '--wait=false');
    await kubectl('rollout', 'status', '-n', system, 'deployment/simmer', '--timeout=120s');
    await until('the key still holds', async () => (await status(headers)) === 200);
    t.same(await simmer.credentials(), {}, 'no other was made');

    const { file, key } = addApiKey(newApiKeyFile(), { scopes: ['read'] });
    const stringData = { 'api-keys.json': textOfApiKeyFile(file) };
    await kubectl(
      'patch',
      'secret',
      'simmer-api-keys',
      '-n',
      system,
      '-p',
      JSON.stringify({ stringData }),
    );
    await until('the new key holds', async () => (await status({ 'x-api-key': key })) === 200);
    t.equal(await status(headers), 401, 'the first is revoked');
  },
);

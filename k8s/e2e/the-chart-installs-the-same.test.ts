/** Left out where there is no Helm (`go install helm.sh/helm/v3/cmd/helm@v3.22.0`). */
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { applyFunction, invoke, WAITS } from './support/call.ts';
import { firstKeyOf, type Installation, image, newNames } from './support/installation.ts';
import { command, get, kubectl, tryCommand, until } from './support/kubectl.ts';

const CHART = fileURLToPath(new URL('../chart', import.meta.url));
const MANIFESTS = fileURLToPath(new URL('../manifests', import.meta.url));
const NODE = process.env['SIMMER_TEST_NODE'] ?? '127.0.0.1';

/** A Helm that was made by `go install` believes in an old cluster when it asks none. */
const TEMPLATE = ['template', CHART, '--kube-version', '1.31.0'];

const hasHelm = (await tryCommand('helm', ['version'])).code === 0;
const { system, tenant } = newNames();
const [repository = '', tag = ''] = image('control-plane').split(/:(?=[^:/]*$)/);

const VALUES = {
  image: { repository, tag },
  runtimeImage: image('runtime'),
  replicas: 1,
  namespaces: [tenant],
  service: { type: 'NodePort' },
  options: { 'log-level': 'debug' },
};

const helm = (...args: string[]) => command('helm', args, JSON.stringify(VALUES));

t.teardown(async () => {
  if (!hasHelm) return;
  await tryCommand('kubectl', [
    'delete',
    'functions.simmer.dev',
    '--all',
    '-n',
    tenant,
    '--timeout=60s',
  ]);
  await tryCommand('helm', ['uninstall', 'simmer', '--namespace', system]);
  await tryCommand('kubectl', [
    'delete',
    'namespace',
    system,
    tenant,
    '--ignore-not-found',
    '--wait=false',
  ]);
});

t.test(
  'the chart installs Simmer, and removes it',
  { skip: !hasHelm && 'needs helm' },
  async (t) => {
    await kubectl('create', 'namespace', tenant);
    await helm('lint', CHART, '--values', '-');
    // The CRDs are the cluster's already.
    await helm(
      'install',
      'simmer',
      CHART,
      '--namespace',
      system,
      '--create-namespace',
      '--skip-crds',
      '--values',
      '-',
      '--wait',
      '--timeout',
      '120s',
    );
    const service = await get(system, 'service', 'simmer');
    const simmer: Installation = {
      second: '',
      system,
      tenant,
      address: `http://${NODE}:${service['spec'].ports[0].nodePort}`,
      name: (name) => `${name}.${tenant}`,
      credentials: () => firstKeyOf(system),
      remove: async () => {},
    };
    await until('it answers', async () => {
      const headers = await simmer.credentials();
      const answer = await fetch(`${simmer.address}/v1/functions`, { headers }).catch(
        () => undefined,
      );
      return answer?.ok;
    });
    t.equal((await fetch(`${simmer.address}/v1/functions`)).status, 401, 'only with a key');
    await applyFunction(simmer, 'hello', { source: { inline: WAITS } });
    t.match(await invoke(simmer, 'hello', { ms: 0 }), { status: 200 });
  },
);

t.test(
  'what is no value of the chart is refused by name',
  { skip: !hasHelm && 'needs helm' },
  async (t) => {
    for (const [set, expected] of [
      ['replica=2', /replica/],
      ['namespaces={Not A Name}', /namespaces/],
      ['options.port=9000', /options\.port: the chart sets it itself/],
      ['allowAnonymous=maybe', /allowAnonymous/],
      ['options.api-keys-secret=x', /options\.api-keys-secret: the chart sets it itself/],
    ] as const) {
      const { code, stderr } = await tryCommand('helm', [...TEMPLATE, '--set', set]);
      t.not(code, 0, set);
      t.match(stderr, expected);
    }
  },
);

t.test('chart and kustomize hold the same parts', { skip: !hasHelm && 'needs helm' }, async (t) => {
  const kinds = (text: string) =>
    [...text.matchAll(/^kind: (\w+)\n(?:.*\n)*?metadata:\n(?: {2}.*\n)*? {2}name: (\S+)/gm)]
      .map(([, kind, name]) => `${kind} ${name}`)
      .filter((line) => !/^(Namespace|CustomResourceDefinition|Kustomization) /.test(line))
      .sort();
  const chart = kinds(await command('helm', [...TEMPLATE, '--namespace', 'simmer-system']));
  t.same(chart, kinds(await kubectl('kustomize', MANIFESTS)));
  t.ok(chart.length > 10, chart.join(', '));
});

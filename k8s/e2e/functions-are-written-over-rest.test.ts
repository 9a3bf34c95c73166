import t from 'tap';
import { fn, invoke, send, WAITS } from './support/call.ts';
import { type Installation, install } from './support/installation.ts';
import { get, kubectl, podsOf, tryCommand, until } from './support/kubectl.ts';

let simmer: Installation;
t.before(async () => {
  simmer = await install();
});
t.teardown(() => simmer?.remove());

const says = (text: string) => ({
  minReplicas: 1,
  source: { inline: `export default () => '${text}';` },
});
const manifest = (name: string, spec: object) => ({
  ...fn(name, spec),
  metadata: { name, namespace: simmer.tenant },
});
const path = (name: string) => `/v1/functions/${simmer.name(name)}`;
const find = (name: string) =>
  tryCommand('kubectl', ['get', 'functions.simmer.dev', name, '-n', simmer.tenant]);

t.test('made, replaced and deleted; kubectl sees it, and is seen', async (t) => {
  const { tenant } = simmer;
  const made = await send(simmer, 'POST', '/v1/functions', manifest('greet', says('one')));
  t.equal(made.status, 201, JSON.stringify(made.body));
  t.equal(made.headers.get('location'), path('greet'));
  t.match(await invoke(simmer, 'greet', 0), { status: 200, body: { output: 'one' } });
  const object = await get(tenant, 'functions.simmer.dev', 'greet');
  t.match(object['spec'], says('one'));
  const again = await send(simmer, 'POST', '/v1/functions', manifest('greet', says('two')));
  t.match(again, { status: 409, body: { code: 'function_exists' } });

  // Others write the object as well: a PUT upon what was seen before is refused, one without a condition is not.
  await kubectl(
    'patch',
    'functions.simmer.dev',
    'greet',
    '-n',
    tenant,
    '--type=merge',
    '-p',
    JSON.stringify({ spec: { maxReplicas: 7 } }),
  );
  const shown = await until('what kubectl wrote', async () => {
    const answer = await send(simmer, 'GET', path('greet'));
    return answer.body.spec.maxReplicas === 7 && answer;
  });
  const stale = { 'if-match': made.headers.get('etag') ?? '' };
  const late = await send(simmer, 'PUT', path('greet'), { spec: says('late') }, stale);
  t.match(late, { status: 412, body: { code: 'precondition_failed' } });
  const round = await send(simmer, 'PUT', path('greet'), shown.body);
  t.equal(round.status, 200, JSON.stringify(round.body));
  t.equal(round.headers.get('etag'), shown.headers.get('etag'));

  let rolled = false;
  const seen = new Set<string>();
  const client = (async () => {
    while (!rolled) {
      const { status, body } = await invoke(simmer, 'greet', 0);
      seen.add(status === 200 ? body.output : JSON.stringify(body));
    }
  })();
  const replaced = await send(simmer, 'PUT', path('greet'), { spec: says('two') });
  t.equal(replaced.status, 200, JSON.stringify(replaced.body));
  await until('the new pod answers', async () => seen.has('two'));
  rolled = true;
  await client;
  t.strictSame([...seen].sort(), ['one', 'two'], 'no call failed');
  t.match((await get(tenant, 'functions.simmer.dev', 'greet'))['spec'], says('two'));

  const gone = await send(simmer, 'DELETE', path('greet'));
  t.equal(gone.status, 204);
  t.equal((await invoke(simmer, 'greet', 0)).status, 404);
  await until('the object and its pods are gone', async () => {
    return (await find('greet')).code !== 0 && (await podsOf(tenant, 'greet')).length === 0;
  });
  t.match(await send(simmer, 'DELETE', path('greet')), { body: { code: 'function_not_found' } });
});

t.test('what is deleted while it runs is in the way until it has drained', async (t) => {
  const spec = { minReplicas: 1, source: { inline: WAITS } };
  t.equal((await send(simmer, 'PUT', path('slow'), { spec })).status, 201);
  const call = invoke(simmer, 'slow', { ms: 6_000 });
  await until('it runs', async () => {
    const pool = await send(simmer, 'GET', `/v1/pools/${simmer.name('slow')}`);
    return pool.body.busy === 1;
  });
  t.equal((await send(simmer, 'DELETE', path('slow'))).status, 204);
  const early = await send(simmer, 'PUT', path('slow'), { spec });
  t.match(early, { status: 409, body: { code: 'write_conflict' } });
  t.equal((await call).status, 200, 'what ran was finished');
  const made = await until('it can be made again', async () => {
    const answer = await send(simmer, 'PUT', path('slow'), { spec });
    return answer.status !== 409 && answer;
  });
  t.equal(made.status, 201, JSON.stringify(made.body));
});

t.test('what does not serve is answered with the reason', async (t) => {
  const crash = { minReplicas: 1, source: { inline: "throw new Error('no database');" } };
  const bad = await send(simmer, 'POST', '/v1/functions', manifest('bad', crash));
  t.match(bad, { status: 422, body: { code: 'function_not_ready', detail: /no database/ } });
  t.equal((await find('bad')).code, 0, 'and stays');
  const image = { minReplicas: 1, image: 'localhost/nowhere:1', handler: 'a.js' };
  const pulled = await send(simmer, 'POST', '/v1/functions?wait=10', manifest('image', image));
  t.match(pulled, { status: 202, body: { waitsFor: /ImagePullFailed: .*nowhere/s } });
  const wrong = manifest('wrong', says('x'));
  const labels = { team: 'no label has spaces' };
  const invalid = await send(simmer, 'POST', '/v1/functions', {
    ...wrong,
    metadata: { ...wrong.metadata, labels },
  });
  t.match(invalid, {
    status: 400,
    body: { code: 'invalid_manifest', issues: [{ field: 'metadata.labels' }] },
  });
  const elsewhere = { ...wrong, metadata: { name: 'wrong', namespace: 'kube-system' } };
  t.match(await send(simmer, 'POST', '/v1/functions', elsewhere), {
    status: 400,
    body: { code: 'invalid_manifest', issues: [{ field: 'metadata.namespace' }] },
  });
  t.not((await find('wrong')).code, 0);
});

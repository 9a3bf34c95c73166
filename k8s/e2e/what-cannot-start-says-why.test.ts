import t from 'tap';
import { applyFunction, invoke, WAITS } from './support/call.ts';
import { type Installation, image, install } from './support/installation.ts';
import { apply, get, list, until } from './support/kubectl.ts';

let simmer: Installation;
t.before(async () => {
  simmer = await install();
});
t.teardown(() => simmer?.remove());

/** Far more than it takes to learn the reason: an answer with it has come before its time was up. */
const TIMEOUT_MS = 45_000;
const spec = (more: object) => ({ source: { inline: WAITS }, timeoutMs: TIMEOUT_MS, ...more });

const condition = (name: string, type: string, status: string) =>
  until(`${name} is ${type} ${status}`, async () => {
    const object = await get(simmer.tenant, 'functions.simmer.dev', name);
    const conditions = (object['status']?.conditions ?? []) as Record<string, string>[];
    return conditions.find((c) => c['type'] === type && c['status'] === status);
  });

async function eventsOf(name: string) {
  const events = await list(simmer.tenant, 'events.events.k8s.io');
  return events.filter(
    ({ regarding }) => regarding?.kind === 'Function' && regarding.name === name,
  );
}

t.test('an image that does not exist', async (t) => {
  await applyFunction(simmer, 'no-image', spec({ image: image('no-such-image') }));
  const started = performance.now();
  const { status, body } = await invoke(simmer, 'no-image', { ms: 0 });
  t.equal(status, 503, JSON.stringify(body));
  t.match(body.detail, /no-such-image|ErrImagePull|ImagePullBackOff/);
  t.ok(performance.now() - started < TIMEOUT_MS, 'before its timeout');
  t.match(await condition('no-image', 'Degraded', 'True'), { message: /image/i });
  await until('an event', async () => (await eventsOf('no-image')).length > 0);
  await applyFunction(simmer, 'no-image', spec({ image: image('runtime') }));
  await until('it recovers', async () => {
    const answer = await invoke(simmer, 'no-image', { ms: 0 });
    return answer.status === 200;
  });
  await condition('no-image', 'Degraded', 'False');
});

t.test('a quota that is used up', async (t) => {
  const { tenant } = simmer;
  await apply(tenant, {
    apiVersion: 'v1',
    kind: 'ResourceQuota',
    metadata: { name: 'few' },
    spec: { hard: { 'requests.memory': '16Mi' } },
  });
  const template = { resources: { requests: { memory: '64Mi' } } };
  await applyFunction(simmer, 'too-large', spec({ template }));
  const { status, body } = await invoke(simmer, 'too-large', { ms: 0 });
  t.equal(status, 503, JSON.stringify(body));
  t.match(body.detail, /quota/i);
  t.match(await condition('too-large', 'Degraded', 'True'), { reason: 'QuotaExceeded' });
  await until('an event', async () => (await eventsOf('too-large')).length > 0);
  await apply(tenant, {
    apiVersion: 'v1',
    kind: 'ResourceQuota',
    metadata: { name: 'few' },
    spec: { hard: { 'requests.memory': '1Gi' } },
  });
  await until(
    'it recovers',
    async () => (await invoke(simmer, 'too-large', { ms: 0 })).status === 200,
  );
});

t.test('a node that no pod fits on', async (t) => {
  const template = {
    nodeSelector: { 'example.org/no-such-node': 'true' },
    resources: { requests: { memory: '1Mi' } },
  };
  await applyFunction(simmer, 'nowhere', spec({ template, startupTimeoutMs: 20_000 }));
  const { status, body } = await invoke(simmer, 'nowhere', { ms: 0 });
  t.equal(status, 503, JSON.stringify(body));
  t.match(body.detail, /schedul|node/i);
  t.match(await condition('nowhere', 'Degraded', 'True'), { reason: 'Unschedulable' });
  await until('an event', async () => (await eventsOf('nowhere')).length > 0);
});

t.test('a handler that throws when it is loaded', async (t) => {
  const source = { inline: "throw new Error('no such table');" };
  const template = { resources: { requests: { memory: '1Mi' } } };
  await applyFunction(simmer, 'crashes', { source, template, timeoutMs: TIMEOUT_MS });
  const { status, body } = await invoke(simmer, 'crashes', { ms: 0 });
  t.equal(status, 503, JSON.stringify(body));
  t.match(body.detail, /no such table/);
  t.match(await condition('crashes', 'Degraded', 'True'), { message: /no such table/ });
  await until('an event', async () => (await eventsOf('crashes')).length > 0);
});

t.test('a handler that never gets ready', async (t) => {
  const source = {
    inline: 'await new Promise((resolve) => setTimeout(resolve, 1e9)); export default () => 1;',
  };
  const template = { resources: { requests: { memory: '1Mi' } } };
  const more = { source, template, timeoutMs: TIMEOUT_MS, startupTimeoutMs: 2_000 };
  await applyFunction(simmer, 'never-ready', more);
  const { status, body } = await invoke(simmer, 'never-ready', { ms: 0 });
  t.equal(status, 503, JSON.stringify(body));
  t.match(body.detail, /not ready within 2000 ms/);
  t.match(await condition('never-ready', 'Degraded', 'True'), { reason: 'ReadyTimeout' });
  await until('an event', async () => (await eventsOf('never-ready')).length > 0);
});

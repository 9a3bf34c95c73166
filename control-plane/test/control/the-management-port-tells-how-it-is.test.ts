import t from 'tap';
import {
  ManagementServer,
  type Readiness,
  STALLED_AFTER_MS,
} from '../../src/control/management.ts';

async function setUp() {
  const source = {
    age: 100,
    ready: { state: 'ready' } as Readiness,
    page: async function* () {
      yield 'up 1\n';
      yield 'down 0\n';
    },
  };
  const server = new ManagementServer({
    sinceSchedulerBeat: () => source.age,
    readiness: () => source.ready,
    metrics: () => ({ contentType: 'text/plain; version=0.0.4', body: source.page() }),
    mayRead: async () => 'yes' as const,
  });
  const port = await server.listen('127.0.0.1', 0);
  t.teardown(() => server.close());
  const get = async (path: string, init: RequestInit = {}) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, init);
    const text = await response.text();
    const type = response.headers.get('content-type') ?? '';
    return {
      status: response.status,
      type,
      text,
      body: type.includes('json') && text ? JSON.parse(text) : undefined,
    };
  };
  return { source, server, port, get };
}

t.test('health fails when the scheduler stalls, with the reason', async (t) => {
  const { source, get } = await setUp();
  t.match(await get('/healthz'), { status: 200, type: 'application/json', body: { status: 'ok' } });
  source.age = STALLED_AFTER_MS + 1;
  t.match(await get('/healthz?verbose'), {
    status: 503,
    body: { status: 'failing', reason: /silent for 2001 ms/ },
  });
  source.age = Number.POSITIVE_INFINITY;
  t.match(await get('/healthz'), { status: 503, body: { reason: /not started/ } });
});

t.test('readiness names the pools that are not', async (t) => {
  const { source, get } = await setUp();
  t.match(await get('/readyz'), { status: 200, body: { status: 'ready' } });
  source.ready = { state: 'starting', pools: ['default/a'] };
  t.match(await get('/readyz'), {
    status: 503,
    body: { status: 'starting', pools: ['default/a'] },
  });
  source.ready = { state: 'draining' };
  t.match(await get('/readyz'), { status: 503, body: { status: 'draining' } });
});

t.test('metrics under both names; nothing else, and nothing but reading', async (t) => {
  const { source, get } = await setUp();
  const page = { status: 200, type: 'text/plain; version=0.0.4', text: 'up 1\ndown 0\n' };
  t.match(await get('/metrics'), page);
  t.match(await get('/actuator/prometheus'), page);
  t.match(await get('/metrics', { method: 'HEAD' }), { status: 200, text: '' });
  t.match(await get('/console'), { status: 404 });
  t.match(await get('/metrics', { method: 'POST' }), { status: 405 });
  source.page = async function* () {
    yield 'up 1\n';
    throw new Error('broken');
  };
  await t.rejects(get('/metrics'), 'half a page does not pass for a whole one');
});

t.test('a port in use is an error of listen', async (t) => {
  const { port, source } = await setUp();
  const second = new ManagementServer({
    sinceSchedulerBeat: () => 0,
    readiness: () => ({ state: 'ready' }),
    metrics: () => ({ contentType: '', body: source.page() }),
    mayRead: async () => 'yes' as const,
  });
  await t.rejects(second.listen('127.0.0.1', port), { code: 'EADDRINUSE' });
  await second.close();
});

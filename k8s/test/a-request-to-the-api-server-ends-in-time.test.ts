import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { KubeConfig } from '@kubernetes/client-node';
import t from 'tap';
import { Api, CONFIG_MAPS, isTransient } from '../src/api/api.ts';
import { FakeApiServer } from './fake-api-server.ts';

t.test('nobody there: at once', async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  const config = new KubeConfig();
  config.loadFromClusterAndUser(
    { name: 'none', server: `http://127.0.0.1:${port}`, skipTLSVerify: true },
    { name: 'tester' },
  );
  const error = await new Api(config).get(CONFIG_MAPS, 'n', 'a').catch((e) => e);
  t.match(error, { code: 'unreachable', status: 0, reason: 'Unreachable' });
  t.match(error.message, /cannot be reached to get configmaps a in namespace n: .*ECONNREFUSED/);
  t.ok(isTransient(error));
});

t.test('no answer, or one that never ends: after the timeout', async (t) => {
  const fake = await FakeApiServer.start(t);
  const api = fake.api(t, 50);
  fake.other = () => {};
  await t.rejects(api.get(CONFIG_MAPS, 'n', 'a'), {
    code: 'unreachable',
    message: /no answer within 50 ms/,
  });
  fake.other = (_, response) => response.writeHead(200).write('{');
  await t.rejects(api.get(CONFIG_MAPS, 'n', 'a'), { code: 'unreachable' });
});

t.test('an answer that breaks off, and one that is no JSON', async (t) => {
  const fake = await FakeApiServer.start(t);
  const api = fake.api(t);
  fake.other = (_, response) => {
    response.writeHead(200, { 'content-length': 100 });
    response.write('{', () => response.socket?.resetAndDestroy());
  };
  await t.rejects(api.get(CONFIG_MAPS, 'n', 'a'), { code: 'unreachable' });
  fake.other = (_, response) => response.end('<html>log in first</html>');
  await t.rejects(api.get(CONFIG_MAPS, 'n', 'a'), {
    code: 'unreachable',
    message: /no JSON: <html>/,
  });
});

t.test('a busy API server says when to come back', async (t) => {
  const fake = await FakeApiServer.start(t);
  fake.other = (_, response) => response.writeHead(429, { 'retry-after': '3' }).end('slow down');
  const error = await fake
    .api(t)
    .get(CONFIG_MAPS, 'n', 'a')
    .catch((e) => e);
  t.match(error, { code: 'refused', status: 429, reason: 'TooManyRequests', retryAfterMs: 3_000 });
  t.match(error.message, /slow down/);
  t.ok(isTransient(error));
});

t.test(
  'a connection that was kept is used again; one that was closed meanwhile costs no read',
  async (t) => {
    const fake = await FakeApiServer.start(t);
    const api = fake.api(t);
    const ports: (number | undefined)[] = [];
    let died = 0;
    fake.other = (request, response) => {
      ports.push(request.socket.remotePort);
      // The third request finds its kept connection closed, as the API server does with those that idle.
      if (ports.length === 3) {
        died += 1;
        request.socket.resetAndDestroy();
      } else {
        response.end('{}');
      }
    };
    await api.get(CONFIG_MAPS, 'n', 'a');
    await api.get(CONFIG_MAPS, 'n', 'a');
    t.equal(ports[0], ports[1]);
    await api.get(CONFIG_MAPS, 'n', 'a');
    t.equal(died, 1);
    t.equal(ports.length, 4);
  },
);

t.test('what may have changed something is not sent twice', async (t) => {
  const fake = await FakeApiServer.start(t);
  const api = fake.api(t);
  let count = 0;
  fake.other = (request, response) => {
    count += 1;
    if (count === 1) response.end('{}');
    else request.socket.resetAndDestroy();
  };
  const object = { metadata: { name: 'a' } };
  await api.create(CONFIG_MAPS, 'n', object);
  await t.rejects(api.create(CONFIG_MAPS, 'n', object), { code: 'unreachable' });
  t.equal(count, 2);
  t.equal(api.writeCount, 2);
});

t.test('a token that was rotated is read again', async (t) => {
  const fake = await FakeApiServer.start(t);
  const api = fake.api(t);
  const shown: (string | undefined)[] = [];
  fake.other = (request, response) => {
    shown.push(request.headers.authorization);
    const good = request.headers.authorization === 'Bearer next';
    response.writeHead(good ? 200 : 401).end('{}');
    Object.assign(api.config.getCurrentUser() ?? {}, { token: 'next' });
  };
  await api.get(CONFIG_MAPS, 'n', 'a');
  t.strictSame(shown, ['Bearer secret', 'Bearer next']);
});

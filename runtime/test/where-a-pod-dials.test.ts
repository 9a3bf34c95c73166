import { RUNTIME_ENV } from '@simmer/protocol/runtime-environment';
import t from 'tap';
import { FakeControlPlane, Stage } from './fake-control-plane.ts';

const HANDLER = 'export default () => 1;';

async function setUp(t: Parameters<typeof Stage.open>[0]) {
  const stage = await Stage.open(t);
  const service = await FakeControlPlane.start();
  t.teardown(() => service.stop());
  const start = () =>
    stage.start(HANDLER, { env: { [RUNTIME_ENV.fallbackAddress]: service.address } });
  return { stage, service, start };
}

t.test('its launcher first; the other address only when that one does not answer', async (t) => {
  const { stage, service, start } = await setUp(t);
  start();
  const first = await stage.plane.ready({ session: 'a' });
  first.ws.terminate();
  const again = await stage.plane.ready({ session: 'b' });
  t.equal(await again.output(again.call({})), 1);
  t.equal(service.connections.length, 0, 'a lost connection alone is no reason');

  await stage.plane.stop();
  const link = await service.accept();
  t.match(await link.welcome({ session: 'c' }), { credential: 'b' });
  await link.expect('ready');
  t.equal(await link.output(link.call({})), 1);

  link.ws.terminate();
  t.match(await (await service.accept()).welcome(), { credential: 'c' }, 'it is kept');
});

t.test('a launcher that is gone from the start', async (t) => {
  const { stage, service, start } = await setUp(t);
  await stage.plane.stop();
  start();
  t.match(await (await service.accept()).welcome(), { credential: 'token-1' });
});

t.test('goaway takes the place of the first, not of the second', async (t) => {
  const { stage, service, start } = await setUp(t);
  const next = await FakeControlPlane.start();
  t.teardown(() => next.stop());
  start();
  const old = await stage.plane.ready();
  old.send({ kind: 'goaway', address: next.address, session: 's' });
  const link = await next.ready({ session: 's2' });
  t.equal(await link.output(link.call({})), 1);
  await next.stop();
  t.match(await (await service.accept()).welcome(), { credential: 's2' });
  t.equal(stage.plane.connections.length, 1, 'the old one is not dialled again');
});

t.test('it goes to and fro while neither answers', async (t) => {
  const { stage, service, start } = await setUp(t);
  const { port } = stage.plane;
  await stage.plane.stop();
  await service.stop();
  const pod = start();
  await pod.line((text) => text.includes('no connection'));
  const back = await FakeControlPlane.start(port);
  t.teardown(() => back.stop());
  const link = await back.ready();
  t.equal(await link.output(link.call({})), 1);
});

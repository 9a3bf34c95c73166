import t from 'tap';
import { FakeControlPlane, Stage } from './fake-control-plane.ts';

const SLOW = `
  let finish;
  export default (input) => input === 'finish' ? finish('done') : new Promise((resolve) => {
    finish = resolve;
    console.log('started');
  });`;

t.test('the new address gets the session and the count, the old socket its result', async (t) => {
  const stage = await Stage.open(t);
  const next = await FakeControlPlane.start();
  t.teardown(() => next.stop());
  const { pod, link: old } = await stage.ready(SLOW);
  const stream = old.call({});
  await pod.entry('started');
  old.send({ kind: 'goaway', address: next.address, session: 'for-the-next' });

  const link = await next.accept();
  t.match(await link.welcome(), { credential: 'for-the-next', inFlight: 1 });
  await link.expect('ready');
  await link.result(link.call({ input: 'finish' }));
  t.equal(await old.output(stream), 'done');
  t.match(await link.expect('result'), { stream: 0, outcome: 'cancelled' }, 'the slot is free');
  t.match(await old.closed, { code: 1000 }, 'and the old socket is closed by the pod');

  link.ws.terminate();
  const again = await next.accept();
  t.match(await again.welcome(), { credential: 'session-1', inFlight: 0 });
  t.equal(stage.plane.connections.length, 1, 'the old address is not dialled again');
});

t.test('with nothing running the old socket closes at once', async (t) => {
  const stage = await Stage.open(t);
  const next = await FakeControlPlane.start();
  t.teardown(() => next.stop());
  const { link: old } = await stage.ready('export default () => 1;');
  old.send({ kind: 'goaway', address: next.address, session: 's' });
  t.match(await old.closed, { code: 1000 });
  const link = await next.ready();
  t.equal(await link.output(link.call({})), 1);
});

t.test('work that the old one still sends is done', async (t) => {
  const stage = await Stage.open(t);
  const next = await FakeControlPlane.start();
  t.teardown(() => next.stop());
  const { pod, link: old } = await stage.ready(SLOW);
  const stream = old.call({});
  await pod.entry('started');
  old.send({ kind: 'goaway', address: next.address, session: 's' });
  await (await next.accept()).welcome();
  t.equal((await old.output(old.call({ input: 'finish' }))) ?? 'nothing', 'nothing');
  t.equal(await old.output(stream), 'done');
});

t.test('the old one may vanish while its work runs', async (t) => {
  const stage = await Stage.open(t);
  const next = await FakeControlPlane.start();
  t.teardown(() => next.stop());
  const { pod, link: old } = await stage.ready(SLOW);
  old.call({});
  await pod.entry('started');
  old.send({ kind: 'goaway', address: next.address, session: 's' });
  const link = await next.accept();
  t.match(await link.welcome(), { inFlight: 1 });
  await link.expect('ready');
  old.ws.terminate();
  await link.result(link.call({ input: 'finish' }));
  t.match(await link.expect('result'), { stream: 0 });
  t.equal(next.connections.length, 1);
});

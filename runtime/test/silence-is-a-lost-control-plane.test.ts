import t from 'tap';
import { Stage } from './fake-control-plane.ts';

t.test('no ping for three heartbeats: it dials again', async (t) => {
  const stage = await Stage.open(t);
  stage.start('export default () => 1;');
  await stage.plane.ready({ heartbeatMs: 20 });
  t.ok(await stage.plane.ready({ heartbeatMs: 60_000 }));
});

t.test('pings keep it, and are answered with their nonce', async (t) => {
  const stage = await Stage.open(t);
  const silent = await Stage.open(t);
  const heartbeatMs = 400;
  stage.start('export default () => 1;');
  silent.start('export default () => 1;');
  const [link] = await Promise.all([
    stage.plane.ready({ heartbeatMs }),
    silent.plane.ready({ heartbeatMs }),
  ]);
  let nonce = 0;
  const pings = setInterval(() => link.send({ kind: 'ping', nonce: nonce++ }), heartbeatMs / 8);
  t.teardown(() => clearInterval(pings));
  // The other one, which hears none, tells when it has been long enough.
  await silent.plane.ready({ heartbeatMs: 60_000 });
  await link.expect('pong', (f) => f.nonce === nonce - 1);
  t.equal(stage.plane.connections.length, 1);
});

t.test('a handler that blocks the loop is not silence', async (t) => {
  const stage = await Stage.open(t);
  stage.start(
    `export default (ms) => { const end = Date.now() + ms; while (Date.now() < end); return 'done'; }`,
  );
  const link = await stage.plane.ready({ heartbeatMs: 50 });
  const stream = link.call({ input: 1_000 });
  // Twenty heartbeats' worth of pings wait in the socket meanwhile.
  const pings = setInterval(() => link.send({ kind: 'ping', nonce: 1 }), 25);
  t.teardown(() => clearInterval(pings));
  t.equal(await link.output(stream), 'done');
  link.send({ kind: 'ping', nonce: 2 });
  await link.expect('pong', (f) => f.nonce === 2);
  t.equal(stage.plane.connections.length, 1);
});

t.test('nor are timers that block it one after the other', async (t) => {
  const stage = await Stage.open(t);
  // Each is due again when it ends: the loop comes round, but every turn of it outlasts a heartbeat.
  stage.start(`
    const block = (ms) => { const end = Date.now() + ms; while (Date.now() < end); };
    export default () => new Promise((resolve) => {
      let left = 20;
      const again = () => {
        if (left-- === 0) return resolve('done');
        setTimeout(again, 1);
        block(60);
      };
      again();
    });`);
  const link = await stage.plane.ready({ heartbeatMs: 50 });
  const stream = link.call({});
  const pings = setInterval(() => link.send({ kind: 'ping', nonce: 1 }), 10);
  t.teardown(() => clearInterval(pings));
  t.equal(await link.output(stream), 'done');
  link.send({ kind: 'ping', nonce: 2 });
  await link.expect('pong', (f) => f.nonce === 2);
  t.equal(stage.plane.connections.length, 1);
});

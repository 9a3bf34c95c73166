import t from 'tap';
import { FakeControlPlane, Stage } from './fake-control-plane.ts';

const SLOW = `
  let finish;
  export default (input) => input === 'finish' ? finish('done') : new Promise((resolve) => {
    finish = resolve;
    console.log('started');
  });
  process.on('SIGUSR2', () => finish('done'));`;

for (const how of ['drain', 'SIGTERM'] as const) {
  t.test(`${how}: what runs is finished, then exit 0`, async (t) => {
    const stage = await Stage.open(t);
    const { pod, link } = await stage.ready(SLOW);
    const stream = link.call({});
    await pod.entry('started');
    if (how === 'drain') link.send({ kind: 'drain', graceMs: 60_000 });
    else pod.child.kill('SIGTERM');
    await link.expect('draining');
    pod.child.kill('SIGUSR2');
    t.equal(await link.output(stream), 'done');
    t.match(await pod.exited, { code: 0, signal: null });
    t.match(await link.closed, { code: 1000 });
    t.equal(stage.plane.connections.length, 1, 'it does not dial again');
  });

  t.test(`${how} with nothing running: exit 0 at once`, async (t) => {
    const stage = await Stage.open(t);
    const { pod, link } = await stage.ready('export default () => 1;');
    if (how === 'drain') link.send({ kind: 'drain', graceMs: 60_000 });
    else pod.child.kill('SIGTERM');
    await link.expect('draining');
    t.match(await pod.exited, { code: 0, signal: null });
  });
}

t.test('what was sent before the control plane knew is run as well', async (t) => {
  const stage = await Stage.open(t);
  const { pod, link } = await stage.ready(SLOW);
  const stream = link.call({});
  await pod.entry('started');
  link.send({ kind: 'drain', graceMs: 60_000 });
  link.call({ input: 'finish' });
  t.equal(await link.output(stream), 'done');
  t.match(await pod.exited, { code: 0 });
});

t.test('after the grace it exits anyway', async (t) => {
  const stage = await Stage.open(t);
  const { pod, link } = await stage.ready(SLOW, { graceMs: 20 });
  link.call({});
  await pod.entry('started');
  pod.child.kill('SIGTERM');
  t.match(await pod.exited, { code: 0 });
});

t.test('a later drain replaces the grace of the first', async (t) => {
  const stage = await Stage.open(t);
  const { pod, link } = await stage.ready(SLOW);
  link.call({});
  await pod.entry('started');
  link.send({ kind: 'drain', graceMs: 3_600_000 });
  link.send({ kind: 'drain', graceMs: 1 });
  t.match(await pod.exited, { code: 0 });
});

t.test('a large result is sent to its end', async (t) => {
  const stage = await Stage.open(t);
  const { pod, link } = await stage.ready("export default () => 'x'.repeat(5_000_000);", {
    welcome: { windowBytes: 10_000_000 },
  });
  const stream = link.call({});
  link.send({ kind: 'drain', graceMs: 60_000 });
  t.match(await link.result(stream), { outcome: 'ok' });
  t.match(await pod.exited, { code: 0 });
});

t.test('SIGTERM while no control plane is there', async (t) => {
  const stage = await Stage.open(t);
  const plane = await FakeControlPlane.start();
  const pod = stage.start("console.log('loaded'); export default () => 1;", {
    env: { SIMMER_ADDRESS: plane.address },
  });
  await plane.ready();
  await plane.stop();
  await pod.entry('loaded');
  pod.child.kill('SIGTERM');
  t.match(await pod.exited, { code: 0, signal: null });
});

import { CLOSE } from '@simmer/protocol/frames';
import t from 'tap';
import { FakeControlPlane, Stage } from './fake-control-plane.ts';

/** Waits for its signal, then until it is released. */
const STUBBORN = `
  let waiting = [];
  export default async (input, ctx) => {
    if (input === 'release') { for (const go of waiting) go(); waiting = []; return 'released'; }
    ctx.signal.addEventListener('abort', () => console.log('aborted by ' + ctx.signal.reason.name));
    console.log('started');
    await new Promise((resolve) => waiting.push(resolve));
    return 'too late';
  };`;

t.test('a lost socket: the session, inFlight, and the slots as they become free', async (t) => {
  const stage = await Stage.open(t);
  const { pod, link: first } = await stage.ready(STUBBORN, {
    capacity: 4,
    welcome: { session: 'session-a' },
  });
  first.call({});
  first.call({});
  await pod.entry('started');
  await pod.entry('started');
  first.ws.terminate();
  await pod.entry('aborted by AbortError');
  await pod.entry('aborted by AbortError');

  const second = await stage.plane.accept();
  const hello = await second.welcome({ session: 'session-b' });
  t.match(hello, { credential: 'session-a', inFlight: 2, capacity: 4, uid: 'pod-1' });
  await second.expect('ready');
  t.equal(await second.output(second.call({ input: 'release' })), 'released');
  for (let i = 0; i < 2; i++) {
    t.match(await second.expect('result', (f) => f.stream === 0), {
      outcome: 'cancelled',
      code: '',
      message: '',
      body: null,
    });
  }
  t.notOk(
    second.frames.some((f) => f.kind === 'result'),
    'their results are discarded',
  );

  second.ws.terminate();
  const third = await stage.plane.accept();
  const again = await third.expect('hello');
  t.match(again, { credential: 'session-b', inFlight: 0, bootId: hello.bootId });
});

t.test('a slot that becomes free before the welcome is told after it', async (t) => {
  const stage = await Stage.open(t);
  const { pod, link: first } = await stage.ready(`export default (input, { signal }) =>
    new Promise((resolve) => {
      console.log('started');
      process.once('SIGUSR2', () => { resolve(); console.log('done'); });
    });`);
  first.call({});
  await pod.entry('started');
  first.ws.terminate();
  const second = await stage.plane.accept();
  while (!second.frames.some((f) => f.kind === 'hello')) {
    await new Promise((resolve) => second.ws.once('message', resolve));
  }
  pod.child.kill('SIGUSR2');
  await pod.entry('done');
  t.match(await second.welcome(), { inFlight: 1 });
  t.match(await second.expect('result'), { stream: 0, outcome: 'cancelled' });
});

t.test('a control plane that is away is dialled until it is back', async (t) => {
  const stage = await Stage.open(t);
  const plane = await FakeControlPlane.start();
  stage.start('export default () => 1;', { env: { SIMMER_ADDRESS: plane.address } });
  await plane.ready();
  await plane.stop();
  const back = await FakeControlPlane.start(plane.port);
  t.teardown(() => back.stop());
  const link = await back.ready();
  t.equal(await link.output(link.call({})), 1);
});

t.test('a large result that comes after the loss frees its slot as well', async (t) => {
  const stage = await Stage.open(t);
  const { pod, link: first } = await stage.ready(
    `export default async (input, { signal }) => {
      console.log('started');
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
      return 'x'.repeat(input);
    };`,
    { welcome: { windowBytes: 1_000 } },
  );
  const cancelled = first.call({ input: 200_000 });
  first.send({ kind: 'cancel', stream: cancelled, reason: 'client_closed' });
  t.match(await first.result(cancelled), { outcome: 'cancelled' });
  t.notOk(
    first.frames.some((f) => f.kind === 'chunk'),
    'none of what was cancelled is sent',
  );
  await pod.entry('started');
  first.call({ input: 200_000 });
  await pod.entry('started');
  first.ws.terminate();
  const second = await stage.plane.ready();
  const third = second.call({ input: 1 });
  second.send({ kind: 'cancel', stream: third, reason: 'timeout' });
  await second.result(third);
  second.ws.terminate();
  t.match(await (await stage.plane.accept()).expect('hello'), { inFlight: 0 });
});

t.test('an outage is logged once, and its end', async (t) => {
  const stage = await Stage.open(t);
  const plane = await FakeControlPlane.start();
  const pod = stage.start('export default () => 1;', { env: { SIMMER_ADDRESS: plane.address } });
  await plane.ready();
  await plane.stop();
  const lost = JSON.parse(await pod.line((line) => line.includes('no connection')));
  t.match(lost, { level: 'warn', message: new RegExp(`at ${plane.address}: `) });
  const back = await FakeControlPlane.start(plane.port);
  t.teardown(() => back.stop());
  await back.ready();
  await pod.entry(`connected to the control plane at ${plane.address} again`);
  t.notOk(pod.lines.some((line) => line.includes('no connection')));
});

t.test('closes that are not fatal are dialled again', async (t) => {
  const codes = Object.values(CLOSE).flatMap(({ code, fatal }) => (fatal ? [] : [code]));
  await Promise.all(
    [1000, 1001, 1011, ...codes].map(async (code) => {
      const stage = await Stage.open(t);
      stage.start('export default () => 1;');
      const link = await stage.plane.ready();
      link.ws.close(code, 'for the test');
      t.ok(await stage.plane.ready(), String(code));
    }),
  );
});

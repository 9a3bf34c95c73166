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

t.test('closes that are not fatal are dialled again', async (t) => {
  const stage = await Stage.open(t);
  stage.start('export default () => 1;');
  for (const code of [1000, 1001, 1011, 4400, 4408, 4409, 4412, 4422, 4503]) {
    const link = await stage.plane.ready();
    link.ws.close(code, 'for the test');
  }
  t.equal((await stage.plane.ready()).ws.readyState, 1);
});

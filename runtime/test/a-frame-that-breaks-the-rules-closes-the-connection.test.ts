import { encode } from '@simmer/protocol/codec';
import type { Frame } from '@simmer/protocol/frames';
import t from 'tap';
import { Stage } from './fake-control-plane.ts';

t.test('malformed bytes: 4400, and the pod dials again', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready('export default () => 1;');
  link.ws.send(Buffer.from('dd01c9c380', 'hex'));
  t.match(await link.closed, { code: 4400, reason: /malformed frame/ });
  const next = await stage.plane.ready();
  t.equal(await next.output(next.call({})), 1);
});

t.test('an unknown kind is ignored', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready('export default () => 1;');
  link.ws.send(Buffer.from([0x92, 0xcc, 200, 0xc0]));
  t.equal(await link.output(link.call({})), 1);
});

const specialize: Frame = {
  kind: 'specialize',
  session: 's',
  function: 'default/other',
  env: [],
  secrets: [],
  entry: 'index.js',
  digest: 'sha256:00',
  limits: [],
};
const forbidden: Record<string, Frame> = {
  'specialize, to a pod of a function': specialize,
  'a frame that only pods send': { kind: 'pong', nonce: 1 },
  'a second welcome': {
    kind: 'welcome',
    session: 's',
    heartbeatMs: 1,
    maxRequestBytes: 1,
    maxResultBytes: 1,
    windowBytes: 1,
    logBytes: 0,
  },
  'goaway to what is no address': { kind: 'goaway', address: 'http://elsewhere', session: 's' },
};

for (const [name, frame] of Object.entries(forbidden)) {
  t.test(`${name}: 4422`, async (t) => {
    const stage = await Stage.open(t);
    const { link } = await stage.ready('export default () => 1;');
    link.ws.send(encode(frame));
    t.match(await link.closed, { code: 4422 });
    await stage.plane.ready();
  });
}

t.test('a stream number that runs already: 4422', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready('export default () => new Promise(() => {});');
  link.call({}, { stream: 5 });
  link.call({}, { stream: 5 });
  t.match(await link.closed, { code: 4422 });
});

t.test('an invoke before ready: 4422', async (t) => {
  const stage = await Stage.open(t);
  stage.start('await new Promise(() => {}); export default () => 1;');
  const link = await stage.plane.accept();
  await link.welcome();
  link.call({});
  t.match(await link.closed, { code: 4422 });
});

t.test('anything before the welcome: 4422', async (t) => {
  const stage = await Stage.open(t);
  stage.start('export default () => 1;');
  const link = await stage.plane.accept();
  await link.expect('hello');
  link.send({ kind: 'ping', nonce: 1 });
  t.match(await link.closed, { code: 4422 });
});

t.test('over capacity is answered, and costs nothing else', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(
    `let free; export default (input) => input === 1 ? new Promise((r) => { free = r; }) : free?.();`,
    { capacity: 2 },
  );
  const held = [link.call({ input: 1 }), link.call({ input: 1 })];
  t.match(await link.result(link.call({ input: 2 })), { outcome: 'error', code: 'over_capacity' });
  link.send({ kind: 'cancel', stream: held[0] as number, reason: 'cancelled' });
  link.send({ kind: 'ping', nonce: 3 });
  await link.expect('pong');
});

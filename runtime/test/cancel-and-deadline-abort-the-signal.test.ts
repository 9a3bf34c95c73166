import t from 'tap';
import { Stage } from './fake-control-plane.ts';

/** Ends when its signal aborts, telling how. */
const OBEDIENT = `export default (input, { signal }) => new Promise((resolve, reject) => {
  signal.addEventListener('abort', () => {
    console.log('aborted by ' + signal.reason.name);
    input === 'resolve' ? resolve('in time') : reject(signal.reason);
  });
  if (input === 'told') console.log('listening');
});`;

for (const [reason, name, outcome] of [
  ['timeout', 'TimeoutError', 'timeout'],
  ['client_closed', 'AbortError', 'cancelled'],
  ['cancelled', 'AbortError', 'cancelled'],
] as const) {
  t.test(`cancel for ${reason}, whatever the handler makes of it`, async (t) => {
    const stage = await Stage.open(t);
    const { pod, link } = await stage.ready(OBEDIENT);
    for (const input of ['reject', 'resolve']) {
      const stream = link.call({ input });
      link.send({ kind: 'cancel', stream, reason });
      t.match(await link.result(stream), { outcome, code: outcome, body: null });
      t.match(await pod.entry(`aborted by ${name}`), { executionId: `exec-${stream}` });
    }
  });
}

t.test('the pod aborts by itself at the deadline', async (t) => {
  const stage = await Stage.open(t);
  const { pod, link } = await stage.ready(OBEDIENT);
  const stream = link.call({ input: 'reject' }, { budgetMs: 30 });
  t.match(await link.result(stream), { outcome: 'timeout', code: 'timeout' });
  await pod.entry('aborted by TimeoutError');
});

t.test(
  'a result that comes all the same is sent: late is for the control plane to say',
  async (t) => {
    const stage = await Stage.open(t);
    const { link } = await stage.ready(OBEDIENT);
    t.equal(await link.output(link.call({ input: 'resolve' }, { budgetMs: 30 })), 'in time');
  },
);

t.test('many deadlines, each at its own time', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(OBEDIENT, { capacity: 100 });
  const far = link.call({}, { budgetMs: 600_000 });
  const streams = [90, 30, 60, 0, 120].map((budgetMs) => link.call({}, { budgetMs }));
  for (const stream of streams) t.match(await link.result(stream), { outcome: 'timeout' });
  t.notOk(
    link.frames.some((f) => f.kind === 'result'),
    'the far one goes on',
  );
  link.send({ kind: 'cancel', stream: far, reason: 'cancelled' });
  t.match(await link.result(far), { outcome: 'cancelled' });
});

t.test('a signal that is asked for late is aborted already', async (t) => {
  const stage = await Stage.open(t);
  const { pod, link } = await stage.ready(`let go;
    export default async (input, ctx) => {
      if (input === 'go') return go();
      await new Promise((resolve) => { go = resolve; console.log('waits'); });
      return ctx.signal.throwIfAborted() ?? 'not aborted';
    };`);
  const stream = link.call({});
  await pod.entry('waits');
  link.send({ kind: 'cancel', stream, reason: 'timeout' });
  await link.output(link.call({ input: 'go' }));
  t.match(await link.result(stream), { outcome: 'timeout' });
});

t.test('a handler that ignores it keeps its slot until it ends', async (t) => {
  const stage = await Stage.open(t);
  const { pod, link } = await stage.ready(
    `let go;
    export default (input) => new Promise((resolve) => { go = resolve; console.log('waits'); setInterval(() => {}, 1e6); process.once('SIGUSR2', resolve); });`,
    { capacity: 1 },
  );
  const stream = link.call({});
  await pod.entry('waits');
  link.send({ kind: 'cancel', stream, reason: 'cancelled' });
  t.match(await link.result(link.call({})), { outcome: 'error', code: 'over_capacity' });
  pod.child.kill('SIGUSR2');
  t.match(await link.result(stream), { outcome: 'cancelled' });
});

t.test('a fetch handler: request.signal, and a body that does not listen', async (t) => {
  const stage = await Stage.open(t);
  const { pod, link } = await stage.ready(`export const fetch = (request) => {
    if (request.url.endsWith('/wait')) {
      return new Promise((_, reject) => request.signal.addEventListener('abort', () => reject(request.signal.reason)));
    }
    return new Response(new ReadableStream({
      start(c) { c.enqueue(new Uint8Array(10)); },
      cancel(reason) { console.log('body cancelled by ' + reason.name); },
    }));
  };`);
  const waiting = link.request('GET', '/wait');
  link.send({ kind: 'cancel', stream: waiting, reason: 'client_closed' });
  t.match(await link.result(waiting), { outcome: 'cancelled' });
  const streaming = link.request('GET', '/stream');
  await link.expect('chunk');
  link.send({ kind: 'cancel', stream: streaming, reason: 'timeout' });
  t.match(await link.result(streaming), { outcome: 'timeout' });
  await pod.entry('body cancelled by TimeoutError');
});

t.test('a large result that waits for credit is dropped', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready("export default () => 'x'.repeat(200_000);", {
    welcome: { windowBytes: 1_000 },
  });
  const stream = link.call({});
  await link.expect('chunk');
  link.send({ kind: 'cancel', stream, reason: 'client_closed' });
  t.match(await link.result(stream), { outcome: 'cancelled', body: null });
  link.send({ kind: 'credit', stream, bytes: 100_000 });
  link.send({ kind: 'ping', nonce: 1 });
  await link.expect('pong');
  t.notOk(link.frames.some((f) => f.kind === 'chunk'));
});

t.test('a request body that never comes', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready('export default () => 1;');
  const stream = link.invoke({ body: Buffer.from('{"inp'), more: true });
  link.send({ kind: 'cancel', stream, reason: 'client_closed' });
  t.match(await link.result(stream), { outcome: 'cancelled' });
});

t.test('cancelling what is through, or was never there, is ignored', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready('export default () => 1;');
  const stream = link.call({});
  await link.result(stream);
  link.send({ kind: 'cancel', stream, reason: 'timeout' });
  link.send({ kind: 'cancel', stream: 999, reason: 'timeout' });
  t.equal(await link.output(link.call({})), 1);
});

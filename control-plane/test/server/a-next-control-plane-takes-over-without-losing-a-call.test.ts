import { once } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { Plane, RuntimePod } from './plane.ts';
import { type Answer, eventually, request } from './simmer.ts';

const CLIENTS = 4;
const INVOKE = '/v1/functions/fn:invoke';

async function setUp(t: Parameters<typeof Plane.start>[0], pods: number) {
  const [old, next] = [await Plane.start(t, 'old'), await Plane.start(t, 'next')];
  for (const plane of [old, next]) plane.define('fn', { concurrency: 2, overflow: 0 });
  const launched = Array.from({ length: pods }, () => old.expect('fn'));
  const processes = launched.map((pod) => {
    old.identify(pod);
    return RuntimePod.start(t, old.podAddress, pod, { SIMMER_CAPACITY: '2' });
  });
  await old.serving('fn', pods);
  const takeOver = () => {
    for (const pod of launched) next.adopt('fn', pod);
  };
  return { old, next, processes, takeOver };
}

t.test(
  'clients with open connections go to the next one, and none of their calls fails',
  async (t) => {
    const { old, next, takeOver } = await setUp(t, 3);
    const agent = new Agent({ keepAlive: true });
    t.teardown(() => agent.destroy());
    let stopped = false;
    let port = old.port;
    const answers: Answer[] = [];
    const client = async () => {
      // As a Service does: a new connection goes to the next one, an open one stays where it is.
      let mine = port;
      while (!stopped) {
        const answer = await request(mine, INVOKE, { body: '{"input":{}}' }, agent);
        answers.push(answer);
        if (answer.headers.connection === 'close') mine = port;
        await delay(1);
      }
    };
    const clients = Array.from({ length: CLIENTS }, client);
    await eventually('some calls', () => answers.length > 50);
    t.notOk(answers.some((a) => a.headers.connection === 'close'));

    takeOver();
    port = next.port;
    const forwarder = old.handOverTo(next);
    await next.serving('fn', 3);
    await eventually('all is handed over', () => old.core.sendOff.isDone);
    const then = answers.length;
    await eventually('more calls', () => answers.length > then + 50);
    stopped = true;
    await Promise.all(clients);
    t.same(
      answers.filter((a) => a.status !== 200).map((a) => a.text),
      [],
    );
    const closed = answers.filter((a) => a.headers.connection === 'close').length;
    t.ok(closed >= CLIENTS, 'each client was told');
    t.equal(forwarder.live, 0);
    t.equal(old.postedOf('handed-over').length, 1);
    t.equal(old.postedOf('pod-lost').length, 0);
    t.equal(old.core.functions.get('default/fn')?.counters.counter('podsLost'), 0);
  },
);

t.test(
  'a call that runs is answered by the old one, its pod serves the next one meanwhile',
  async (t) => {
    const { old, next, takeOver, processes } = await setUp(t, 1);
    const body = JSON.stringify({ input: { wait: '/nowhere/at/all' } });
    const running = request(old.port, INVOKE, { body, headers: { 'x-timeout-ms': '5000' } });
    await eventually('it runs', () => old.core.scheduler.live === 1);
    takeOver();
    old.handOverTo(next);
    await next.serving('fn');
    const other = await request(next.port, INVOKE, { body: '{"input":{}}' });
    t.equal(other.json.output.pid, processes[0]?.child.pid);
    t.notOk(old.core.sendOff.isDone);
    const answer = await running;
    t.equal(answer.status, 504);
    t.equal(answer.headers.connection, 'close');
    await eventually('all is handed over', () => old.core.sendOff.isDone);
    await eventually(
      'its pod is gone here',
      () => old.core.functions.get('default/fn')?.pods.size === 0,
    );
    t.equal(old.postedOf('pod-lost').length, 0);
  },
);

t.test('a body on its way is waited for, however it comes', async (t) => {
  for (const headers of [{ 'content-length': '12' }, { 'transfer-encoding': 'chunked' }]) {
    const { old, next, takeOver } = await setUp(t, 2);
    const call = httpRequest({ port: old.port, path: INVOKE, method: 'POST', headers });
    call.flushHeaders();
    const response = once(call, 'response');
    await eventually('it was taken on', () => old.core.scheduler.live === 1);
    takeOver();
    old.handOverTo(next);
    await next.serving('fn', 1);
    t.equal((await request(old.port, INVOKE, { body: '{"input":{}}' })).status, 200);
    t.notOk(old.core.sendOff.isDone);
    call.end('{"input":{}}');
    t.equal((await response)[0].statusCode, 200);
    await next.serving('fn', 2);
    await eventually('all is handed over', () => old.core.sendOff.isDone);
  }
});

t.test('answers of every shape say that the connection ends', async (t) => {
  const old = await Plane.start(t, 'old');
  old.define('fn', { concurrency: 10 });
  const pod = old.expect('fn');
  old.identify(pod);
  const code = `export const fetch = (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === '/empty') return new Response(null, { status: 204 });
    if (pathname === '/stream') return new Response(new ReadableStream({
      async start(c) { for (let i = 0; i < 3; i++) { c.enqueue(new TextEncoder().encode('piece')); await 1; } c.close(); },
    }));
    return new Response('whole', { headers: { 'content-length': '5' } });
  };`;
  RuntimePod.start(t, old.podAddress, pod, { SIMMER_CAPACITY: '10' }, code);
  await old.serving('fn');
  old.core.scheduler.handingOver = true;
  const expected = [
    ['GET', '/fn/fn/', 200, 'whole'],
    ['HEAD', '/fn/fn/', 200, ''],
    ['GET', '/fn/fn/empty', 204, ''],
    ['GET', '/fn/fn/stream', 200, 'piecepiecepiece'],
    ['GET', '/nowhere', 404, undefined],
  ] as const;
  for (const [method, path, status, text] of expected) {
    const answer = await request(old.port, path, { method });
    t.equal(answer.status, status, path);
    t.equal(answer.headers.connection, 'close', `${method} ${path}`);
    if (text !== undefined) t.equal(answer.text, text);
  }
});

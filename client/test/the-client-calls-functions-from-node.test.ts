import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { mock } from 'node:test';
import t, { type Test } from 'tap';
import { eventually, Simmer } from '../../control-plane/test/server/simmer.ts';
import { SimmerClient, SimmerError } from '../src/client.ts';

const RAW = `
export const fetch = async (request) => {
  const { pathname, searchParams } = new URL(request.url);
  if (pathname === '/count') {
    const total = Number(searchParams.get('total'));
    let made = 0;
    return new Response(new ReadableStream({
      pull(controller) {
        if (made >= total) return controller.close();
        made += 65_536;
        controller.enqueue(new Uint8Array(65_536).fill(made / 65_536 % 251));
      },
    }, { highWaterMark: 0 }), { headers: { 'x-total': String(total) } });
  }
  return new Response(await request.arrayBuffer(), { status: 202, headers: { 'x-method': request.method } });
};
`;

t.test('the client in Node', async (t) => {
  const simmer = await Simmer.start(t, [
    { name: 'fn', spec: { concurrency: 50, minReplicas: 1, queue: { maxLength: 1_000 } } },
    { name: 'raw', code: RAW, spec: { concurrency: 50, minReplicas: 1, maxResultBytes: 2 ** 28 } },
  ]);
  const url = `http://127.0.0.1:${simmer.port}`;
  const client = (options = {}, to = url) => {
    const made = new SimmerClient(to, options);
    t.teardown(() => made.close());
    return made;
  };

  for (const spelling of ['msgpack', 'json'] as const) {
    await t.test(spelling, async (t) => {
      const one = client({ spelling });
      const outputs = await Promise.all(
        Array.from({ length: 600 }, (_, i) => one.invoke<{ echo: number }>('fn', { echo: i })),
      );
      t.same(
        outputs.map(({ echo }) => echo),
        Array.from({ length: 600 }, (_, i) => i),
      );

      const { executionId, output } = await one.call<{ executionId: string }>('fn', { echo: 1 });
      t.equal(output.executionId, executionId);
      t.equal(await one.invoke('fn').then((o) => (o as { echo?: unknown }).echo), undefined);

      await t.rejects(one.invoke('none'), {
        name: 'SimmerError',
        code: 'function_not_found',
        status: 404,
      });
      await t.rejects(one.invoke('fn', { error: 'no' }), { code: 'function_error', status: 500 });

      const body = new Uint8Array(spelling === 'json' ? 400_000 : 3_000_000).fill(7);
      const call = one.request('raw', '/', {
        body,
        headers: { 'content-type': 'application/octet-stream' },
      });
      const head = await call.head;
      t.equal(head.status, 202);
      t.equal(head.headers.get('x-method'), 'POST');
      t.equal(Buffer.compare(Buffer.from(await call.bytes()), Buffer.from(body)), 0);

      const { executionId: queued } = await one.enqueue('fn', { echo: 'later' });
      t.match(await one.executionEnd(queued), { status: 'succeeded', output: { echo: 'later' } });

      const aborter = new AbortController();
      const [runs, wait] = [simmer.gate(), simmer.gate()];
      const aborted = one.invoke('fn', { wait, runs }, { signal: aborter.signal });
      await eventually('it runs', () => simmer.runs(runs).length === 1);
      aborter.abort(new Error('enough'));
      await t.rejects(aborted, { message: 'enough' });
      await simmer.quiet('default/fn');
      await t.rejects(one.invoke('fn', { wait }, { timeoutMs: 50 }), { code: 'timeout' });
    });
  }

  t.test('large payloads both ways', async (t) => {
    const echo = 'x'.repeat(5_000_000);
    t.equal((await client().invoke<{ echo: string }>('fn', { echo })).echo.length, echo.length);
    await t.rejects(client({ spelling: 'json' }).invoke('fn', { echo: 'x'.repeat(70_000) }), {
      code: 'message_too_large',
    });
  });

  t.test('a reader that stops leaves the rest unmade, and neighbours alone', async (t) => {
    const one = client();
    const total = 2 ** 27;
    let read = 0;
    for await (const piece of one.request('raw', `/count?total=${total}`).body) {
      read += piece.length;
      if (read > 2_000_000) {
        // While it is not read on, others are served.
        t.equal((await one.invoke<{ echo: number }>('fn', { echo: 5 })).echo, 5);
        break;
      }
    }
    t.ok(read < total / 10);
    await simmer.quiet('default/raw');
    t.equal(
      await simmer.metric('simmer_invocations_total', {
        function: 'default/raw',
        code: 'cancelled',
      }),
      1,
    );
  });

  t.test('nothing is pinged once the last call was given up', async (t) => {
    const one = client({ spelling: 'json' });
    await one.invoke('fn');
    const { send } = WebSocket.prototype;
    const sent = t.capture(WebSocket.prototype, 'send', send);
    mock.timers.enable({ apis: ['setInterval'] });
    t.teardown(() => mock.timers.reset());
    const types = () => sent().map(({ args: [data] }) => JSON.parse(String(data)).type);
    const giver = new AbortController();
    const given = one.invoke('fn', { wait: simmer.gate() }, { signal: giver.signal });
    mock.timers.tick(20_000);
    giver.abort();
    await t.rejects(given);
    t.same(types(), ['invoke', 'ping', 'cancel']);
    mock.timers.tick(100_000);
    t.same(types(), []);
  });

  t.test('a lost connection fails what has no key, and what has one is sent again', async (t) => {
    const cut = await proxy(t, simmer.port);
    const one = client({ backoff: { baseMs: 10 } }, `http://127.0.0.1:${cut.port}`);
    const [runs, hold] = [simmer.gate(), simmer.gate()];
    const plain = one.invoke('fn', { hold, runs, echo: 'plain' });
    const keyed = one.call('fn', { hold, runs, echo: 'keyed' }, { idempotencyKey: 'k-1' });
    const { executionId } = await one.enqueue('fn', { hold, echo: 'later' });
    const end = one.executionEnd(executionId);
    await eventually('both run', () => simmer.runs(runs).length === 2);
    const failed = t.rejects(plain, { code: 'connection_lost', status: 0 });
    cut.cutAll();
    await failed;
    simmer.open(hold);
    t.match(await keyed, { output: { echo: 'keyed' } });
    t.match(await end, { status: 'succeeded' });
    t.equal(new Set(simmer.runs(runs)).size, 2);
  });

  t.test(
    'a server that cannot be reached fails in the end, and closing fails at once',
    async (t) => {
      const cut = await proxy(t, simmer.port);
      const one = client(
        { backoff: { baseMs: 1 }, maxAttempts: 3 },
        `http://127.0.0.1:${cut.port}`,
      );
      cut.close();
      await t.rejects(one.invoke('fn'), { code: 'connection_lost' });
      t.equal(cut.accepted, 0);
      const two = client();
      const open = two.invoke('fn', { wait: simmer.gate() });
      const rejected = t.rejects(
        open,
        new SimmerError({ code: 'client_closed', detail: 'The client was closed.' }),
      );
      two.close();
      await rejected;
      await t.rejects(two.invoke('fn'), { code: 'client_closed' });
    },
  );
});

/** Passes connections on until they are cut. */
async function proxy(t: Pick<Test, 'teardown'>, port: number) {
  const sockets = new Set<Socket>();
  const state = {
    port: 0,
    accepted: 0,
    cutAll() {
      for (const socket of sockets) socket.destroy();
    },
    close() {
      server.close();
      state.cutAll();
    },
  };
  const server = createServer((from) => {
    state.accepted++;
    const to = connect(port, '127.0.0.1');
    for (const [a, b] of [
      [from, to],
      [to, from],
    ] as const) {
      sockets.add(a);
      a.pipe(b);
      a.on('error', () => b.destroy());
      a.on('close', () => b.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  state.port = (server.address() as AddressInfo).port;
  t.teardown(() => state.close());
  return state;
}

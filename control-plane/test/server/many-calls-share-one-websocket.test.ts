import t from 'tap';
import { eventually, Simmer } from './simmer.ts';
import { StreamPeer } from './stream-peer.ts';

const RAW = `
export const fetch = async (request) => {
  const { pathname, search } = new URL(request.url);
  if (pathname === '/stream') {
    let n = 0;
    return new Response(new ReadableStream({
      async pull(controller) {
        // A turn of its own for each: what is there at once is one piece.
        await new Promise((resolve) => setTimeout(resolve, 1));
        if (++n > 5) controller.close();
        else controller.enqueue(new TextEncoder().encode('part ' + n + ';'));
      },
    }), { status: 201, headers: { 'x-kind': 'streamed' } });
  }
  const body = await request.text();
  return Response.json({ pathname, search, method: request.method, body, header: request.headers.get('x-given') });
};
`;

t.test('both spellings', async (t) => {
  const simmer = await Simmer.start(t, [
    { name: 'fn', spec: { concurrency: 50, minReplicas: 1 } },
    { name: 'raw', code: RAW, spec: { concurrency: 50, minReplicas: 1 } },
  ]);
  for (const spelling of ['json', 'msgpack'] as const) {
    await t.test(spelling, async (t) => {
      const peer = await StreamPeer.open(t, simmer.port, spelling);

      await t.test('results come as they are ready, not as they were asked for', async (t) => {
        const gate = simmer.gate();
        peer.send({
          type: 'invoke',
          id: 1,
          function: 'fn',
          input: JSON.stringify({ hold: gate, echo: 'late' }),
          traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
        });
        peer.send({ type: 'invoke', id: 2, function: 'fn', input: '{"echo":"früh"}' });
        const early = await peer.output(2);
        t.equal(early.echo, 'früh');
        t.equal((await peer.next('result', 2)).executionId, early.executionId);
        t.equal(peer.messages.filter((m) => 'id' in m && m.id === 1).length, 0);
        simmer.open(gate);
        t.match(await peer.output(1), { echo: 'late', traceId: 'a'.repeat(32) });
      });

      await t.test('a raw call has method, path, headers, body and status', async (t) => {
        const body = Buffer.from('hello');
        const headers = [['X-Given', 'yes']] as const;
        peer.send({
          type: 'request',
          id: 3,
          function: 'raw',
          method: 'PUT',
          path: '/a/b?c=d',
          headers,
          body,
        });
        const answer = await peer.next('response', 3);
        t.equal(answer.status, 200);
        t.equal(answer.more, undefined);
        t.same(JSON.parse(Buffer.from(answer.body ?? []).toString()), {
          ...{ pathname: '/a/b', search: '?c=d', method: 'PUT', body: 'hello', header: 'yes' },
        });
        peer.send({ type: 'request', id: 4, function: 'raw', method: 'GET', path: '/stream' });
        const streamed = await peer.next('response', 4);
        t.equal(streamed.status, 201);
        t.ok(streamed.headers.some(([name, value]) => name === 'x-kind' && value === 'streamed'));
        const first = Buffer.from(streamed.body ?? []).toString();
        t.equal(first + (await peer.rest(4)), 'part 1;part 2;part 3;part 4;part 5;');
      });

      await t.test('what is enqueued is accepted, and its end is told', async (t) => {
        const gate = simmer.gate();
        const input = JSON.stringify({ hold: gate, echo: 7 });
        peer.send({ type: 'enqueue', id: 5, function: 'fn', input });
        const { executionId } = await peer.next('accepted', 5);
        peer.send({ type: 'subscribe', id: 6, executionId });
        peer.send({ type: 'ping', nonce: 9 });
        t.equal((await peer.next('pong')).nonce, 9);
        t.equal(peer.count('execution'), 0);
        simmer.open(gate);
        const { execution } = await peer.next('execution', 6);
        const told = JSON.parse(Buffer.from(execution).toString());
        t.match(told, { executionId, status: 'succeeded', output: { echo: 7 } });
        const { json } = await simmer.request(`/v1/executions/${executionId}`);
        t.same(told, json);
        peer.send({ type: 'subscribe', id: 6, executionId: 'k3v0q8x1m2zp-1' });
        t.equal((await peer.problem(6)).code, 'lost_in_restart');
      });

      await t.test('errors are those of HTTP', async (t) => {
        peer.send({ type: 'invoke', id: 10, function: 'none' });
        t.match(await peer.problem(10), { code: 'function_not_found', status: 404 });
        peer.send({ type: 'invoke', id: 11, function: 'fn', input: '{"error":"no"}' });
        const { executionId } = await peer.problem(11);
        const over = await simmer.invoke('fn', { error: 'no' });
        t.same(await peer.problem(11), { ...over.json, executionId });
        peer.send({ type: 'invoke', id: 12, function: 'fn', timeoutMs: 0 });
        t.equal((await peer.problem(12)).code, 'invalid_timeout');
        peer.send({ type: 'invoke', id: 13, function: 'fn', maxRetries: 101 });
        t.equal((await peer.problem(13)).code, 'invalid_retries');
        peer.send({ type: 'request', id: 14, function: 'raw', method: 'GET', path: 'x' });
        t.equal((await peer.problem(14)).code, 'invalid_message');
        const wait = JSON.stringify({ wait: simmer.gate() });
        peer.send({ type: 'invoke', id: 15, function: 'fn', input: wait, timeoutMs: 50 });
        t.equal((await peer.problem(15)).code, 'timeout');
      });

      await t.test('cancel ends a call, and its handler lets go', async (t) => {
        const runs = simmer.gate();
        const wait = simmer.gate();
        peer.send({
          type: 'invoke',
          id: 20,
          function: 'fn',
          input: JSON.stringify({ wait, runs }),
        });
        await eventually('it runs', () => simmer.runs(runs).length === 1);
        peer.send({ type: 'cancel', id: 20 });
        t.equal((await peer.problem(20)).code, 'cancelled');
        await simmer.quiet('default/fn');
        // The id is free again.
        peer.send({ type: 'invoke', id: 20, function: 'fn', input: '{"echo":1}' });
        t.equal((await peer.output(20)).echo, 1);
      });
    });
  }

  t.test('a socket that closes cancels what runs for it, and not what it enqueued', async (t) => {
    const peer = await StreamPeer.open(t, simmer.port);
    const [runs, wait] = [simmer.gate(), simmer.gate()];
    const input = JSON.stringify({ wait, runs });
    peer.send({ type: 'invoke', id: 1, function: 'fn', input });
    peer.send({ type: 'enqueue', id: 2, function: 'fn', input });
    const { executionId } = await peer.next('accepted', 2);
    await eventually('both run', () => simmer.runs(runs).length === 2);
    peer.ws.close();
    await eventually(
      'one runs on',
      async () =>
        (await simmer.metric('simmer_function_running', { function: 'default/fn' })) === 1,
    );
    simmer.open(wait);
    const { json } = await simmer.request(`/v1/executions/${executionId}?wait=20`);
    t.equal(json.status, 'succeeded');
    t.ok((await simmer.metric('simmer_stream_requests_total', { outcome: 'cancelled' })) >= 1);
  });

  t.test('large payloads travel in pieces both ways', async (t) => {
    const peer = await StreamPeer.open(t, simmer.port);
    const text = JSON.stringify({ echo: 'x'.repeat(2_000_000) });
    const bytes = Buffer.from(text);
    const PIECE = 65_536;
    peer.send({
      type: 'invoke',
      id: 1,
      function: 'fn',
      input: bytes.subarray(0, PIECE),
      more: true,
    });
    let [at, credit] = [PIECE, 262_144 - PIECE];
    let seen = 0;
    while (at < bytes.length) {
      await eventually('there is credit', () => {
        const grants = peer.messages.filter((m) => m.type === 'credit');
        for (const grant of grants.slice(seen)) credit += grant.bytes;
        seen = grants.length;
        return credit > 0;
      });
      const piece = bytes.subarray(at, at + Math.min(PIECE, credit));
      at += piece.length;
      credit -= piece.length;
      peer.send({ type: 'data', id: 1, bytes: piece, ...(at < bytes.length && { more: true }) });
    }
    t.equal((await peer.output(1)).echo.length, 2_000_000);
    // With JSON a message is one object of at most 64 KiB, either way.
    const plain = await StreamPeer.open(t, simmer.port, 'json');
    const input = JSON.stringify({ echo: 'y'.repeat(60_000) });
    plain.send({ type: 'invoke', id: 1, function: 'fn', input });
    t.equal((await plain.output(1)).echo.length, 60_000);
    plain.ws.send(`{"type":"ping","x":"${'z'.repeat(65_536)}"}`);
    await eventually('it is closed', () => plain.closed);
    t.equal(plain.closed?.code, 1009);
  });
});

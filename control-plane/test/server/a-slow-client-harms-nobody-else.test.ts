import t from 'tap';
import { head, RawSocket } from './raw-socket.ts';
import { eventually, Simmer } from './simmer.ts';

const SLOW_CLIENTS = 50;
const INVOKE = '/v1/functions/echo:invoke';
const BODY = '{"input":{"echo":1}}';

const simmer = await Simmer.start(t, [
  { name: 'echo', spec: { minReplicas: 1, queue: { maxLength: 5, maxBytes: 10_000_000 } } },
]);

t.test('bodies that come byte by byte take no slot and no place in the queue', async (t) => {
  const slow = await Promise.all(
    Array.from({ length: SLOW_CLIENTS }, () => RawSocket.open(simmer.port)),
  );
  for (const client of slow) client.write(head('POST', INVOKE, { 'Content-Length': BODY.length }));
  await eventually('their bytes are held', async () => {
    const held = await simmer.metric('simmer_function_held_bytes', { function: 'default/echo' });
    return held === SLOW_CLIENTS * BODY.length;
  });
  for (const byte of BODY) {
    const answer = await simmer.invoke('echo', { echo: byte });
    t.equal(answer.status, 200, 'others are served meanwhile');
    for (const client of slow) client.write(byte);
  }
  // Ten times what the queue takes arrives at once now: each is served or refused, none is left without an answer.
  for (const client of slow) {
    t.match(await client.until('an answer', /\}$/), /^HTTP\/1.1 (200|429) [^{]*x-execution-id/s);
    client.end();
  }
  await simmer.quiet('default/echo');
});

t.test('a body that is not complete at the deadline is 504, and says so', async (t) => {
  // An attempt's time, where the execution has more.
  for (const path of [INVOKE, INVOKE.replace(':invoke', ':enqueue')]) {
    const client = await RawSocket.open(simmer.port);
    client.write(head('POST', path, { 'Content-Length': 1_000, 'X-Timeout-Ms': 200 }));
    client.write('{');
    const answer = await client.until('the answer', /\}$/);
    t.match(answer, /^HTTP\/1.1 504 .*"code":"timeout".*body was not received/s, path);
    client.end();
    await simmer.quiet('default/echo');
  }
});

t.test('one whose body stalls is cut off, and what it sent is let go', async (t) => {
  const client = await RawSocket.open(simmer.port);
  client.write(head('POST', INVOKE, { 'Content-Length': 1_000 }));
  client.write('{');
  t.equal(await client.untilClosed(), '');
  await simmer.quiet('default/echo');
  t.equal((await simmer.invoke('echo')).status, 200);
});

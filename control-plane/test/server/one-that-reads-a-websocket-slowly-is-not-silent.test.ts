import { encodeMsgpack } from '@simmer/protocol/client-msgpack';
import t from 'tap';
import { WebSocket } from 'ws';
import { Plane, RuntimePod } from './plane.ts';
import { eventually } from './simmer.ts';

const ENDLESS = `
export const fetch = () => new Response(new ReadableStream({
  pull: (controller) => controller.enqueue(new Uint8Array(65_536)),
}));
`;
/** Slower than it is sent, so that its pongs would stand behind what waits. */
const BETWEEN_MESSAGES_MS = 5;
/** In which the kernel has room again for what waits: it tells of a third of its buffer at a time. */
const HEARTBEAT_MS = 1_000;

t.test('it is kept while it takes anything, and cut when it does not', async (t) => {
  const plane = await Plane.start(t, 'a', undefined, HEARTBEAT_MS);
  plane.define('fn', { minReplicas: 1, timeoutMs: 60_000 });
  const pod = plane.expect('fn');
  plane.identify(pod);
  RuntimePod.start(t, plane.podAddress, pod, {}, ENDLESS);
  await plane.serving('fn');
  const url = `ws://127.0.0.1:${plane.port}/v1/stream`;
  const slow = new WebSocket(url, 'simmer.client.v1.msgpack', { autoPong: false });
  t.teardown(() => slow.terminate());
  slow.on('error', () => {});
  await new Promise((resolve) => slow.once('message', resolve));
  let pings = 0;
  let reads = true;
  slow.on('ping', () => {
    pings++;
  });
  slow.on('message', () => {
    slow.pause();
    if (reads) setTimeout(() => slow.resume(), BETWEEN_MESSAGES_MS);
  });
  slow.send(encodeMsgpack({ type: 'request', id: 1, function: 'fn', method: 'GET', path: '/' }));
  slow.send(encodeMsgpack({ type: 'credit', id: 1, bytes: 2 ** 40 }));
  await eventually('it is pinged on and on, and never answers', () => {
    if (slow.readyState !== WebSocket.OPEN) throw new Error(`closed after ${pings} pings`);
    return pings >= 4;
  });
  reads = false;
  const { counters } = plane.core.scheduler;
  await eventually('it is cut', () => counters.stream('sockets') === 0);
  t.equal(counters.stream('cancelled'), 1);
});

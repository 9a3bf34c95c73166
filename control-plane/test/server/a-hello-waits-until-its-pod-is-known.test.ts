import { CLOSE } from '@simmer/protocol/frames';
import t from 'tap';
import { Plane, RuntimePod } from './plane.ts';
import { PodPeer } from './pod-peer.ts';
import { eventually, request } from './simmer.ts';

const welcomes = (peer: PodPeer) => peer.received.filter((f) => f.kind === 'welcome').length;

async function setUp(t: Pick<Tap, 'teardown'>) {
  const plane = await Plane.start(t);
  plane.define('fn');
  const peers: PodPeer[] = [];
  t.teardown(() => {
    for (const peer of peers) peer.close();
  });
  const dial = async () => {
    const peer = await PodPeer.open(plane.podPort);
    peers.push(peer);
    return peer;
  };
  return { plane, dial };
}
type Tap = typeof t;

t.test('ahead of its watch event, it is let in when that comes', async (t) => {
  const { plane, dial } = await setUp(t);
  const pod = plane.expect('fn');
  const [peer, other] = [await dial(), await dial()];
  peer.hello({ credential: pod.credential, uid: pod.uid });
  other.hello({ credential: 'forged', uid: pod.uid });
  t.equal(await other.untilClosed(), CLOSE.unauthorized.code, 'a stranger is not held');
  t.equal(welcomes(peer), 0);
  plane.identify({ podId: pod.podId, uid: 'another' });
  plane.identify(pod);
  await eventually('a welcome', () => welcomes(peer));
  peer.send({ kind: 'ready', digest: '' });
  await plane.serving('fn');
});

t.test('one that nobody tells of is let go, not for good', async (t) => {
  const { plane, dial } = await setUp(t);
  const pod = plane.expect('fn');
  const peer = await dial();
  peer.hello({ credential: pod.credential, uid: pod.uid });
  t.equal(await peer.untilClosed(), CLOSE.unidentified.code);
  t.notOk(CLOSE.unidentified.fatal);
  plane.identify(pod);
  const again = await dial();
  again.hello({ credential: pod.credential, uid: pod.uid });
  await eventually('a welcome', () => welcomes(again));
});

t.test('while it is held it has nothing to say', async (t) => {
  const { plane, dial } = await setUp(t);
  const pod = plane.expect('fn');
  const [peer, gone] = [await dial(), await dial()];
  for (const one of [peer, gone]) one.hello({ credential: pod.credential, uid: pod.uid });
  peer.send({ kind: 'ready', digest: '' });
  t.equal(await peer.untilClosed(), CLOSE.violation.code);
  gone.close();
  await gone.untilClosed();
  plane.identify(pod);
  t.equal(plane.core.functions.get('default/fn')?.comingPods, 1, 'who left is not let in');
  t.equal([...(plane.core.functions.get('default/fn')?.pods ?? [])][0]?.state, 'expected');
});

t.test('a real pod waits, and then serves; its next control plane knows its session', async (t) => {
  const { plane } = await setUp(t);
  const pod = plane.expect('fn');
  const next = await Plane.start(t, 'b');
  next.define('fn');
  const process = RuntimePod.start(t, plane.podAddress, pod, {
    SIMMER_FALLBACK_ADDRESS: next.podAddress,
  });
  await eventually('its hello', () => plane.core.pods.heldHellos);
  plane.identify(pod);
  await plane.serving('fn');
  const first = await request(plane.port, '/v1/functions/fn:invoke', { body: '{"input":{}}' });
  t.equal(first.json.output.pid, process.child.pid);

  plane.stop();
  await eventually('its hello at the next', () => next.core.pods.heldHellos);
  next.adopt('fn', pod);
  await next.serving('fn');
  const second = await request(next.port, '/v1/functions/fn:invoke', { body: '{"input":{}}' });
  t.equal(second.json.output.pid, process.child.pid);
});

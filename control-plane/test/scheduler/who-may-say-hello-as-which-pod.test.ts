import { createHmac, randomBytes } from 'node:crypto';
import type { CloseReason } from '@simmer/protocol/frames';
import t from 'tap';
import type { FunctionState } from '../../src/scheduler/function-state.ts';
import type { Pod } from '../../src/scheduler/pod.ts';
import { proofOf } from '../../src/scheduler/session-keys.ts';
import { Harness } from './harness.ts';

const HOUR_MS = 3_600_000;
const KEY = { id: 'k1', key: randomBytes(32) };
const NEXT_KEY = { id: 'k2', key: randomBytes(32) };
const POOL_KEY = 'pool key';

type Admittance = ReturnType<Harness['hello']>;

/** Of a control plane with these keys. */
function setUp(keys = [KEY]) {
  const h = new Harness();
  h.core.onMessage({ type: 'pod-keys', keys });
  const fn = h.define('fn', { maxReplicas: 9 });
  return { h, fn };
}

function session(answer: Admittance): string {
  if (!answer.ok) throw new Error(`not let in: ${JSON.stringify(answer)}`);
  return answer.session;
}

function refusal(answer: Admittance): CloseReason | 'held' | 'let in' {
  if (answer.ok) return 'let in';
  return answer.held ? 'held' : answer.close;
}

/** Launched by a backend that tells uids. */
function launched(h: Harness, fn: FunctionState): Pod {
  return h.launch(fn, 'pool', false, { identified: true });
}

function identify(h: Harness, pod: Pod, uid: string, proofKey = POOL_KEY): void {
  h.core.onMessage({ type: 'pod-identified', podId: pod.id, uid, proofKey });
}

/** A first hello with all that belongs to it. */
function proven(pod: Pod, uid: string, bootId = 'boot', poolKey = POOL_KEY) {
  const credential = `token-${pod.id}`;
  return { credential, uid, bootId, proof: proofOf(poolKey, { credential, uid, bootId }) };
}

t.test('a session is the MAC that the protocol page says', async (t) => {
  const { h, fn } = setUp();
  const pod = h.launch(fn);
  const mac = createHmac('sha256', KEY.key)
    .update(`simmer.session\0${pod.id}\0boot\0default/fn\0${pod.id}`)
    .digest('base64url');
  t.equal(session(h.hello(pod, { bootId: 'boot' })), `k1.${mac}`);
});

t.test('a token is good for one boot of one uid', async (t) => {
  const { h, fn } = setUp();
  const pod = launched(h, fn);
  identify(h, pod, 'uid-1');
  identify(h, pod, 'uid-2');
  t.equal(refusal(h.hello(pod, proven(pod, 'uid-1'))), 'let in');
  t.equal(refusal(h.hello(pod, proven(pod, 'uid-1'))), 'let in', 'its welcome may be lost');
  t.equal(refusal(h.hello(pod, proven(pod, 'uid-1', 'other'))), 'unauthorized');
  t.equal(refusal(h.hello(pod, proven(pod, 'uid-2'))), 'unauthorized', 'a second pod of a Job');
  t.equal(refusal(h.hello(pod, proven(pod, 'uid-1', ''))), 'unauthorized', 'no boot id');
});

t.test('either pod of a Job may be first', async (t) => {
  const { h, fn } = setUp();
  const pod = launched(h, fn);
  identify(h, pod, 'uid-1');
  identify(h, pod, 'uid-2');
  t.equal(refusal(h.hello(pod, proven(pod, 'uid-2'))), 'let in');
  t.equal(refusal(h.hello(pod, proven(pod, 'uid-1'))), 'unauthorized');
});

t.test('a token ends after an hour', async (t) => {
  const { h, fn } = setUp();
  const [early, late] = [h.launch(fn), h.launch(fn)];
  h.time += HOUR_MS - 1;
  const known = session(h.hello(early));
  h.time += 1;
  t.equal(refusal(h.hello(late)), 'unauthorized');
  t.equal(refusal(h.hello(early, { credential: known })), 'let in', 'a session does not');
});

t.test('the proof of the pool key', async (t) => {
  const { h, fn } = setUp();
  const pod = launched(h, fn);
  identify(h, pod, 'uid');
  const right = proven(pod, 'uid');
  t.equal(refusal(h.hello(pod, { ...right, proof: '' })), 'unauthorized');
  t.equal(refusal(h.hello(pod, { ...right, proof: `${right.proof}x` })), 'unauthorized');
  t.equal(refusal(h.hello(pod, proven(pod, 'uid', 'boot', 'another key'))), 'unauthorized');
  t.equal(refusal(h.hello(pod, { ...right, bootId: 'other' })), 'unauthorized');
  t.equal(refusal(h.hello(pod, right)), 'let in', 'a wrong one spent nothing');
  const other = launched(h, fn);
  identify(h, other, 'uid-other', '');
  t.equal(refusal(h.hello(other, { uid: 'uid-other' })), 'let in', 'where none is asked for');
});

t.test('a credential of another pod', async (t) => {
  const { h, fn } = setUp();
  const [one, two, unseen] = [launched(h, fn), launched(h, fn), launched(h, fn)];
  identify(h, one, 'uid-1');
  identify(h, two, 'uid-2');
  t.equal(refusal(h.hello(one, proven(one, 'uid-2'))), 'forbidden', 'the token with its uid');
  const known = session(h.hello(one, proven(one, 'uid-1')));
  session(h.hello(two, proven(two, 'uid-2')));
  t.equal(
    refusal(h.hello(two, { credential: known, uid: 'uid-2', bootId: 'boot' })),
    'forbidden',
    'the session with its uid',
  );
  identify(h, unseen, 'uid-1');
  t.equal(
    refusal(h.hello(unseen, proven(unseen, 'uid-1'))),
    'forbidden',
    'a uid speaks for one pod',
  );
});

t.test('a session is good for its pod at any control plane with the key', async (t) => {
  const first = setUp();
  const pod = launched(first.h, first.fn);
  identify(first.h, pod, 'uid');
  const known = session(first.h.hello(pod, proven(pod, 'uid')));
  const later = { credential: known, uid: 'uid', bootId: 'boot' };

  /** The pod as a control plane takes it over that has not launched it. */
  function successor(keys: (typeof KEY)[], name = 'fn') {
    const h = new Harness();
    h.core.onMessage({ type: 'pod-keys', keys });
    const fn = h.define(name, { maxReplicas: 9 });
    const taken = h.launch(fn, 'pool', false, { identified: true, credential: '' });
    identify(h, taken, 'uid');
    return { h, pod: taken };
  }

  const next = successor([KEY]);
  t.equal(refusal(next.h.hello(next.pod, later)), 'let in');
  t.equal(refusal(next.h.hello(next.pod, { ...later, bootId: 'other' })), 'forbidden');
  const launch = { ...proven(next.pod, 'uid') };
  t.equal(refusal(next.h.hello(next.pod, launch)), 'unauthorized', 'a token it did not issue');
  t.equal(
    refusal(next.h.hello(next.pod, { ...later, credential: '' })),
    'unauthorized',
    'and no credential at all',
  );

  const rotated = successor([NEXT_KEY, KEY]);
  const renewed = session(rotated.h.hello(rotated.pod, later));
  t.match(renewed, /^k2\./, 'gets one under the newest key');
  t.equal(
    refusal(rotated.h.hello(rotated.pod, { ...later, credential: renewed })),
    'let in',
    'which is good as well',
  );
  const late = successor([NEXT_KEY]);
  t.equal(refusal(late.h.hello(late.pod, later)), 'unauthorized', 'its key is no longer held');
  const elsewhere = successor([KEY], 'other-fn');
  t.equal(refusal(elsewhere.h.hello(elsewhere.pod, later)), 'forbidden', 'of another function');
});

t.test('a pod that was taken over does not count as a start', async (t) => {
  const { h, fn } = setUp();
  const pod = h.launch(fn, 'pool', false, { identified: true, credential: '' });
  identify(h, pod, 'uid');
  const first = setUp();
  const before = first.h.launch(first.fn, 'pool', false, { identified: true });
  identify(first.h, before, 'uid');
  const credential = session(first.h.hello(before, proven(before, 'uid')));
  const coldStartMs = fn.coldStartMs;
  h.time += HOUR_MS;
  session(h.hello(pod, { credential, uid: 'uid', bootId: 'boot' }));
  h.core.pods.ready(pod);
  t.equal(h.call(fn).invocation.state, 'running');
  h.answer(pod);
  t.equal(fn.coldStartMs, coldStartMs);
  for (const name of ['connect', 'load', 'ready', 'firstResult'] as const) {
    t.equal(fn.counters.histogram(name).count, 0, name);
  }
});

t.test('what only a stranger would say', async (t) => {
  const { h, fn } = setUp();
  const pod = launched(h, fn);
  for (const credential of ['', '.', 'k1', 'k3.abc', 'forged', `k1x.${'a'.repeat(43)}`]) {
    t.equal(refusal(h.hello(pod, { credential, uid: 'nobody' })), 'unauthorized', credential);
  }
  t.equal(
    refusal(h.hello(pod, { credential: 'k1.abc', uid: 'nobody' })),
    'held',
    'who knows of a key may be a pod that is told of soon',
  );
});

t.test('hellos are held up to a bound', async (t) => {
  const { h, fn } = setUp();
  const pod = launched(h, fn);
  const held = { sayAgain() {} };
  for (let i = 0; i < 1_000; i++) h.core.pods.hold(`uid-${i}`, { sayAgain() {} });
  t.equal(refusal(h.hello(pod, { uid: 'uid' })), 'unidentified');
  h.core.pods.letGo('uid-0', held);
  t.equal(refusal(h.hello(pod, { uid: 'uid' })), 'unidentified', 'letting go of nothing');
  h.core.pods.hold('uid-0', held);
  h.core.pods.letGo('uid-0', held);
  t.equal(refusal(h.hello(pod, { uid: 'uid' })), 'unidentified');
  const again: string[] = [];
  h.core.pods.hold('uid-9', {
    sayAgain() {
      again.push('told');
      h.core.pods.letGo('uid-9', this);
    },
  });
  identify(h, pod, 'uid-9');
  t.same(again, ['told']);
});

/** The link of one pod, with a socket that is scripted and a clock that is moved: what takes a real pod too long, or no real one would do. */
import { decodeEach, encode } from '@simmer/protocol/codec';
import { CLOSE, type Frame, type Hello } from '@simmer/protocol/frames';
import { INLINE_BODY_BYTES } from '@simmer/protocol/limits';
import t from 'tap';
import type { FunctionState } from '../../src/scheduler/function-state.ts';
import { PodSocket, WINDOW_BYTES } from '../../src/scheduler/pod-socket.ts';
import { TurnBatch } from '../../src/scheduler/turn-batch.ts';
import type { WebSocket } from '../../src/scheduler/uws.ts';
import { Harness } from '../scheduler/harness.ts';

const HEARTBEAT_MS = 1_000;
const HELLO_TIMEOUT_MS = 5_000;
const STEP_MS = 50;

const HELLO: Hello = {
  kind: 'hello',
  version: 1,
  credential: '',
  uid: '',
  proof: '',
  bootId: 'boot',
  runtime: 'fake',
  runtimeVersion: '1',
  capacity: 10,
  inFlight: 0,
};

class FakeSocket {
  readonly sent: Frame[] = [];
  closeCode = 0;
  send(bytes: Uint8Array): number {
    decodeEach(bytes, (frame) => {
      if (frame !== undefined) this.sent.push(frame);
      return true;
    });
    return 1;
  }
  cork(write: () => void): void {
    write();
  }
  getBufferedAmount(): number {
    return 0;
  }
  end(code: number): void {
    this.closeCode = code;
  }
  pings(): number {
    return this.sent.filter((frame) => frame.kind === 'ping').length;
  }
}

/** A pod of `fn` behind a scripted socket, ready to serve. */
class Scripted {
  readonly ws = new FakeSocket();
  readonly link: PodSocket;
  readonly harness: Harness;

  constructor(harness: Harness) {
    this.harness = harness;
    this.link = new PodSocket(
      this.ws as unknown as WebSocket<unknown>,
      harness.core.scheduler,
      new TurnBatch(),
      { heartbeatMs: HEARTBEAT_MS },
    );
  }

  say(frame: Frame): void {
    this.bytes(encode(frame));
  }

  bytes(bytes: Uint8Array): void {
    this.link.onMessage(new Uint8Array(bytes).buffer, true);
  }

  serve(fn: FunctionState): void {
    const pod = this.harness.launch(fn);
    this.say({ ...HELLO, credential: `token-${pod.id}`, uid: pod.id });
    this.say({ kind: 'ready', digest: '' });
  }

  /** Moves the clock; the pod answers what it is pinged, or not. */
  pass(ms: number, answers: boolean): void {
    for (let passed = 0; passed < ms && this.ws.closeCode === 0; passed += STEP_MS) {
      this.harness.advance(STEP_MS);
      this.link.flush();
      const ping = this.ws.sent.findLast((frame) => frame.kind === 'ping');
      if (answers && ping !== undefined) this.say({ kind: 'pong', nonce: ping.nonce });
    }
  }
}

function setUp(spec: Parameters<Harness['define']>[1] = {}) {
  const harness = new Harness();
  const fn = harness.define('fn', { maxReplicas: 5, timeoutMs: 60_000, ...spec });
  const pod = new Scripted(harness);
  pod.serve(fn);
  const lost = () => harness.posted.filter((m) => m.type === 'pod-lost');
  return { harness, fn, pod, lost };
}

const chunk = (stream: number, length: number): Frame => ({
  kind: 'chunk',
  stream,
  bytes: new Uint8Array(length),
  end: false,
});

const MISDEEDS: readonly [what: string, close: number, misdeed: (pod: Scripted) => void][] = [
  ['bytes that are no frame', CLOSE.malformed.code, (pod) => pod.bytes(Buffer.from('garbage'))],
  ['a bomb', CLOSE.malformed.code, (pod) => pod.bytes(Buffer.from('dd01c9c380', 'hex'))],
  ['a text message', CLOSE.malformed.code, (pod) => pod.link.onMessage(new ArrayBuffer(4), false)],
  [
    'a result of an attempt that never was',
    CLOSE.violation.code,
    (pod) =>
      pod.say({ kind: 'result', stream: 9, outcome: 'ok', code: '', message: '', body: null }),
  ],
  ['a chunk of an attempt that never was', CLOSE.violation.code, (pod) => pod.say(chunk(9, 1))],
  ['a second hello', CLOSE.violation.code, (pod) => pod.say(HELLO)],
  [
    'a frame that only a control plane sends',
    CLOSE.violation.code,
    (pod) => pod.say({ kind: 'ping', nonce: 1 }),
  ],
  [
    'a head of a value',
    CLOSE.violation.code,
    (pod) => pod.say({ kind: 'head', stream: 1, status: 200, headers: [] }),
  ],
  [
    'more than its credit',
    CLOSE.violation.code,
    (pod) => {
      for (let sent = 0; sent <= WINDOW_BYTES; sent += INLINE_BODY_BYTES) {
        pod.say(chunk(2, INLINE_BODY_BYTES));
      }
    },
  ],
  [
    'a header with a line break in its value',
    CLOSE.violation.code,
    (pod) =>
      pod.say({ kind: 'head', stream: 2, status: 200, headers: [['x', 'a\r\nset-cookie: b']] }),
  ],
];

for (const [what, close, misdeed] of MISDEEDS) {
  t.test(`${what}: what runs on it is lost, once each, and another is launched`, async (t) => {
    const { harness, fn, pod, lost } = setUp({
      concurrency: 2,
      queue: { maxLength: 10, maxBytes: 1_000 },
    });
    const value = harness.call(fn);
    const raw = harness.call(fn, { raw: true });
    const waiting = harness.call(fn);
    // The one that writes nothing back grants no credit either.
    raw.reply.chunk = () => {};
    misdeed(pod);
    t.equal(pod.ws.closeCode, close);
    t.same(value.reply.told, ['pod_lost']);
    t.equal(raw.reply.told.length, 1);
    t.match(raw.reply.told[0], /^(pod_lost|aborted)$/);
    t.same(waiting.reply.told, [], 'what was not sent to it waits on');
    t.match(lost(), [{ reason: /broke the protocol/ }]);
    t.equal(fn.servingSlots, 0);
    t.ok(harness.needs('pool') > 0, 'another is asked for');
    // uWebSockets.js tells of the end only afterwards, and may deliver what was still under way.
    pod.say({ kind: 'result', stream: 1, outcome: 'ok', code: '', message: '', body: null });
    pod.link.onClose();
    t.same(value.reply.told, ['pod_lost']);
    const next = new Scripted(harness);
    next.serve(fn);
    harness.answer([...fn.pods].at(-1) as never);
    t.same(waiting.reply.told, ['ok']);
    t.equal(harness.core.scheduler.live, 0);
  });
}

t.test('an idle pod that answers no ping is found out within two heartbeats', async (t) => {
  for (const offset of [0, HEARTBEAT_MS / 2, HEARTBEAT_MS - STEP_MS]) {
    const { harness, pod, lost } = setUp();
    pod.pass(3 * HEARTBEAT_MS + offset, true);
    t.equal(pod.ws.closeCode, 0, 'while it answers it is left alone');
    t.ok(pod.ws.pings() >= 3);
    const silent = harness.time;
    pod.pass(10 * HEARTBEAT_MS, false);
    t.equal(pod.ws.closeCode, CLOSE.unresponsive.code);
    t.ok(harness.time - silent <= 2 * HEARTBEAT_MS + STEP_MS, `${harness.time - silent} ms`);
    t.equal(lost().length, 1);
  }
});

t.test('a busy one is not, until its deadline and grace have passed', async (t) => {
  const { harness, fn, pod, lost } = setUp({ timeoutMs: 20_000, graceMs: 1_000 });
  const call = harness.call(fn);
  pod.pass(15_000, false);
  t.equal(pod.ws.closeCode, 0);
  t.same(call.reply.told, []);
  pod.pass(5_500, false);
  t.same(call.reply.told, ['timeout']);
  t.equal(lost().length, 0, 'its grace runs');
  pod.pass(1_000, false);
  t.match(lost(), [{ reason: /held on/ }]);
  t.equal(fn.servingSlots, 0);
});

t.test('one that blocked, and answers again, goes on', async (t) => {
  const { harness, fn, pod, lost } = setUp();
  const call = harness.call(fn);
  pod.pass(5 * HEARTBEAT_MS, false);
  pod.say({ kind: 'result', stream: 1, outcome: 'ok', code: '', message: '', body: null });
  t.same(call.reply.told, ['ok']);
  pod.pass(5 * HEARTBEAT_MS, true);
  t.equal(pod.ws.closeCode, 0);
  t.equal(lost().length, 0);
});

t.test('one that dials and says nothing is closed', async (t) => {
  const silent = new Scripted(new Harness());
  silent.pass(2 * HELLO_TIMEOUT_MS, false);
  t.equal(silent.ws.closeCode, CLOSE.helloTimeout.code);
});

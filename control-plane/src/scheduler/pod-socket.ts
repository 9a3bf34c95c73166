/**
 * One pod's WebSocket: frames in, frames out, heartbeat, and flow control of large bodies.
 *
 *   open ──hello accepted────▶ attached ──▶ closed
 *     │ └──held──▶ held ──told──▲  │
 *     │             └──not told in time──▶ closed
 *     └──no hello in time, refused───────▶ closed
 *
 * Invariants:
 *  P1. Nothing but `hello` is heard before a hello was accepted.
 *  P2. Frames of one turn share messages, and leave at its end. uWebSockets.js drops what exceeds its backpressure
 *      limit, so that limit is off and ours are: bodies wait while more than HIGH_WATER_BYTES are buffered, all else is
 *      bounded by the pod's slots.
 *  P3. A body over INLINE_BODY_BYTES is sent in pieces as the pod grants credit, a piece of each such body in turn, so
 *      none holds up another, a ping or a cancel. The pod's chunks are held to the credit it was granted.
 *      Code goes a few pieces a turn, while less than CODE_HIGH_WATER_BYTES are buffered (code-pump.ts).
 *  P4. A missed pong means lost only where the pod had nothing to run when it was pinged and still has not: a handler may
 *      rightly block its event loop.
 *  P5. Bytes that are no frame, and frames that the state does not allow, end the socket and the pod.
 */
import {
  decodeEach,
  encode,
  encodeInvocation,
  FrameError,
  toMessages,
} from '@simmer/protocol/codec';
import {
  CLOSE,
  type CloseReason,
  type Frame,
  type HeaderPairs,
  type Hello,
} from '@simmer/protocol/frames';
import { INLINE_BODY_BYTES } from '@simmer/protocol/limits';
import type { FunctionSource } from '@simmer/protocol/registry';
import type { CodeTaker } from './code-pump.ts';
import type { Invocation } from './invocation.ts';
import type { Pod, PodLink } from './pod.ts';
import type { HeldHello } from './pod-lifecycle.ts';
import type { Scheduler } from './scheduler.ts';
import { TimerNode } from './timing-wheel.ts';
import type { Flushable, TurnBatch } from './turn-batch.ts';
import type { WebSocket } from './uws.ts';

/** Each stream's first credit, both ways: a few pieces, so that a grant's round trip does not stall a local transfer. */
export const WINDOW_BYTES = 262_144;
const HIGH_WATER_BYTES = 1_048_576;
/** Less than for bodies: what is written behind it, a ping or a call, waits for that to be read. */
const CODE_HIGH_WATER_BYTES = 262_144;
/** A process that dialled says who it is at once. */
const HELLO_TIMEOUT_MS = 5_000;
/** How far a hello may be ahead of its pod's watch event: the API server is seldom a second late. */
const HOLD_MS = 5_000;

export interface PodSocketSettings {
  readonly heartbeatMs: number;
}

interface BodySender {
  readonly stream: number;
  readonly body: Uint8Array;
  offset: number;
  credit: number;
}

interface CodeSender {
  readonly digest: string;
  readonly bytes: Uint8Array;
  offset: number;
}

// The socket whose message is read, and the one that is written to: two functions for all save each socket two closures,
// which with a thousand pods are four thousand cache lines. Neither is entered again before it returns.
let reading: PodSocket;
const takeFrame = (frame: Frame | undefined): boolean => reading.take(frame);
let sending: PodSocket;
const sendMessage = (message: Uint8Array): void => sending.sendMessage(message);

export class PodSocket extends TimerNode implements PodLink, HeldHello, Flushable, CodeTaker {
  // What every call touches stands together.
  private readonly ws: WebSocket<unknown>;
  private readonly scheduler: Scheduler;
  private readonly batch: TurnBatch;
  /** Set while it is attached. */
  private pod: Pod | null = null;
  private closed = false;
  private queued = false;
  /** Frames of this turn; null: none. */
  private out: Uint8Array[] | null = null;
  /** Made for the first large body: of a thousand pods most never see one. */
  private senders: Map<number, BodySender> | null = null;
  private code: CodeSender | null = null;
  /** Set while it is held. */
  private hello: Hello | null = null;
  private awaitingPong = false;
  private idleWhenPinged = false;
  private nonce = 0;
  private readonly settings: PodSocketSettings;

  constructor(
    ws: WebSocket<unknown>,
    scheduler: Scheduler,
    batch: TurnBatch,
    settings: PodSocketSettings,
  ) {
    super();
    this.ws = ws;
    this.scheduler = scheduler;
    this.batch = batch;
    this.settings = settings;
    scheduler.wheel.set(this, scheduler.ports.now() + HELLO_TIMEOUT_MS);
  }

  // ---- PodLink -----------------------------------------------------------------------------------------------------

  invoke(invocation: Invocation, budgetMs: number): void {
    const { body, stream } = invocation;
    const more = body.length > INLINE_BODY_BYTES;
    invocation.credit = WINDOW_BYTES;
    if (this.closed) return;
    this.put(
      encodeInvocation(
        stream,
        invocation.id,
        invocation.attempts,
        budgetMs,
        invocation.form,
        invocation.method,
        invocation.target,
        invocation.traceparent,
        invocation.headers,
        more ? body.subarray(0, INLINE_BODY_BYTES) : body,
        more,
      ),
    );
    if (more) {
      const credit = WINDOW_BYTES - INLINE_BODY_BYTES;
      this.senders ??= new Map();
      this.senders.set(stream, { stream, body, offset: INLINE_BODY_BYTES, credit });
    }
  }

  cancel(stream: number, reason: string): void {
    this.senders?.delete(stream);
    this.send({ kind: 'cancel', stream, reason });
  }

  credit(stream: number, bytes: number): void {
    const invocation = this.pod?.running.get(stream);
    if (invocation === undefined) return;
    invocation.credit += bytes;
    this.send({ kind: 'credit', stream, bytes });
  }

  forget(stream: number): void {
    this.senders?.delete(stream);
  }

  specialize(session: string): void {
    const { pod } = this;
    if (pod?.source !== undefined) this.sendCode(pod, pod.source, session);
  }

  drain(graceMs: number): void {
    this.send({ kind: 'drain', graceMs });
  }

  goaway(address: string, session: string): void {
    this.send({ kind: 'goaway', address, session });
  }

  close(reason: CloseReason): void {
    if (this.closed) return;
    this.flush();
    this.shut();
    this.ws.end(CLOSE[reason].code, CLOSE[reason].reason);
  }

  // ---- writing (P2, P3) --------------------------------------------------------------------------------------------

  private send(frame: Frame): void {
    if (!this.closed) this.put(encode(frame));
  }

  private put(frame: Uint8Array): void {
    if (this.out === null) this.out = [frame];
    else this.out.push(frame);
    this.markDirty();
  }

  private markDirty(): void {
    if (this.queued) return;
    this.queued = true;
    this.batch.addLink(this);
  }

  flush(): void {
    this.queued = false;
    if (this.closed) return;
    this.sendOut();
    const { senders } = this;
    if (senders !== null && senders.size > 0) this.ws.cork(() => this.pump(senders));
  }

  private sendOut(): void {
    const { out } = this;
    if (out === null) return;
    this.out = null;
    sending = this;
    toMessages(out, sendMessage);
  }

  sendMessage(message: Uint8Array): void {
    this.ws.send(message, true);
  }

  private pump(senders: Map<number, BodySender>): void {
    let sent = true;
    while (sent) {
      sent = false;
      for (const sender of senders.values()) {
        if (this.ws.getBufferedAmount() > HIGH_WATER_BYTES) return;
        const left = sender.body.length - sender.offset;
        const size = Math.min(left, sender.credit, INLINE_BODY_BYTES);
        if (size === 0) continue;
        const bytes = sender.body.subarray(sender.offset, sender.offset + size);
        sender.offset += size;
        sender.credit -= size;
        const end = sender.offset === sender.body.length;
        if (end) senders.delete(sender.stream);
        this.ws.send(encode({ kind: 'input', stream: sender.stream, bytes, end }), true);
        sent = true;
      }
    }
  }

  /** The kernel took what was buffered: there is room for more pieces. */
  onDrain(): void {
    if (this.senders !== null && this.senders.size > 0) this.markDirty();
    if (this.code !== null) this.batch.code.add(this);
  }

  sendPiece(): boolean {
    const { code, ws } = this;
    if (code === null || ws.getBufferedAmount() > CODE_HIGH_WATER_BYTES) return false;
    // What announces it goes first.
    this.sendOut();
    const { digest, bytes, offset } = code;
    const piece = bytes.subarray(offset, offset + INLINE_BODY_BYTES);
    code.offset += piece.length;
    const end = code.offset === bytes.length;
    if (end) this.code = null;
    ws.send(encode({ kind: 'code', digest, offset, bytes: piece, end }), true);
    return !end;
  }

  // ---- reading -----------------------------------------------------------------------------------------------------

  onMessage(message: ArrayBuffer, isBinary: boolean): void {
    if (this.closed) return;
    this.awaitingPong = false;
    try {
      if (!isBinary) throw new FrameError('a text message');
      reading = this;
      decodeEach(new Uint8Array(message), takeFrame);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.breakOff('malformed', error.reason);
    }
  }

  /** One frame; false when the socket was closed over it and the rest of its message is of no interest. */
  take(frame: Frame | undefined): boolean {
    const { pod } = this;
    if (frame === undefined) return true;
    if (pod !== null) this.onFrame(pod, frame);
    else if (this.hello === null && frame.kind === 'hello') this.onHello(frame);
    else this.breakOff('violation', `${frame.kind} before welcome`); // P1
    return !this.closed;
  }

  private onHello(frame: Hello): void {
    const { pods, ports, wheel } = this.scheduler;
    const admittance = pods.hello(frame, this);
    if (!admittance.ok && admittance.held) {
      this.hello = frame;
      pods.hold(frame.uid, this);
      wheel.set(this, ports.now() + HOLD_MS);
      return;
    }
    if (!admittance.ok) {
      ports.log({
        level: 'warn',
        message: 'pod refused',
        fields: {
          code: 'unauthorized_pod',
          uid: frame.uid.slice(0, 100),
          detail: admittance.detail,
        },
      });
      this.close(admittance.close);
      return;
    }
    const { pod } = admittance;
    const { spec } = pod.fn.record;
    this.pod = pod;
    this.send({
      kind: 'welcome',
      session: admittance.session,
      heartbeatMs: this.settings.heartbeatMs,
      maxRequestBytes: spec.maxRequestBytes,
      maxResultBytes: spec.maxResultBytes,
      windowBytes: WINDOW_BYTES,
      logBytes: this.scheduler.logs.attemptBytes,
      ...pod.fn.schemas,
    });
    // One that was ready has it.
    if (pod.source !== undefined && pod.readyAt === 0) {
      this.sendCode(pod, pod.source, admittance.session);
    }
    wheel.set(this, ports.now() + this.settings.heartbeatMs);
    // It has nothing to load, and so nothing to say.
    if (pod.fn.generic) pods.ready(pod);
  }

  private sendCode(pod: Pod, source: FunctionSource, session: string): void {
    const { bytes } = source;
    const digest = digestOf(source);
    const { fn, grant } = pod;
    this.send({
      kind: 'specialize',
      session,
      function: fn.key,
      env: grant?.env ?? [],
      secrets: grant?.secrets ?? [],
      entry: source.entry,
      digest,
      limits: limitsOf(pod),
      ...(grant !== null && fn.schemas),
    });
    if (bytes.length <= INLINE_BODY_BYTES) {
      this.send({ kind: 'code', digest, offset: 0, bytes, end: true });
      return;
    }
    this.code = { digest, bytes, offset: 0 };
    this.batch.code.add(this);
  }

  /** HeldHello: the backend has told of its uid. */
  sayAgain(): void {
    const { hello } = this;
    if (hello === null) return;
    this.scheduler.pods.letGo(hello.uid, this);
    this.hello = null;
    this.onHello(hello);
  }

  private onFrame(pod: Pod, frame: Frame): void {
    const { pods } = this.scheduler;
    switch (frame.kind) {
      case 'result':
        if (frame.stream === 0) pods.orphanEnded(pod);
        else if (this.known(pod, frame.stream)) {
          const { stream, outcome, code, message, body } = frame;
          this.scheduler.onResult(pod, stream, outcome, code, message, body, frame);
        }
        return;
      case 'head': {
        if (!this.known(pod, frame.stream)) return;
        const invocation = pod.running.get(frame.stream);
        if (invocation === undefined) return;
        const wrong = invocation.form !== 'raw' ? 'head of a value' : badHeader(frame.headers);
        if (wrong !== undefined) this.breakOff('violation', wrong);
        else this.scheduler.onHead(invocation, frame.status, frame.headers);
        return;
      }
      case 'chunk': {
        if (!this.known(pod, frame.stream)) return;
        const invocation = pod.running.get(frame.stream);
        if (invocation === undefined) return;
        invocation.credit -= frame.bytes.length;
        if (invocation.credit < 0) this.breakOff('violation', 'a chunk beyond its credit');
        else this.scheduler.onChunk(pod, invocation, frame.bytes);
        return;
      }
      case 'credit': {
        const sender = this.senders?.get(frame.stream);
        if (sender === undefined) return;
        sender.credit += frame.bytes;
        this.markDirty();
        return;
      }
      case 'ready':
        if (pod.source !== undefined && frame.digest !== digestOf(pod.source)) {
          this.breakOff('violation', 'ready with other code than it was sent');
        } else pods.ready(pod);
        return;
      case 'failed':
        pods.failed(pod, frame.code, frame.message);
        return;
      case 'draining':
        pods.drainingByItself(pod);
        return;
      case 'log': {
        if (!this.known(pod, frame.stream)) return;
        const invocation = pod.running.get(frame.stream);
        if (invocation !== undefined) this.scheduler.logs.add(invocation, frame);
        return;
      }
      case 'pong':
        return;
      default:
        this.breakOff('violation', `${frame.kind} from a pod`);
    }
  }

  /** False for a stream of an attempt that was given up; a stream that never was ends the socket (P5). */
  private known(pod: Pod, stream: number): boolean {
    if (stream <= pod.lastStream) return true;
    this.breakOff('violation', `stream ${stream} was never opened`);
    return false;
  }

  // ---- ends --------------------------------------------------------------------------------------------------------

  private breakOff(reason: CloseReason, detail: string): void {
    const { pod } = this;
    this.scheduler.ports.log({
      level: 'warn',
      message: 'pod broke the protocol',
      fields: {
        code: 'malformed_frame',
        detail,
        ...(pod !== null && { pod: pod.id, function: pod.fn.key }),
      },
    });
    this.close(reason);
    if (pod !== null) this.scheduler.pods.kill(pod, `it broke the protocol: ${detail}`);
  }

  /** The socket is gone, whoever closed it. */
  onClose(): void {
    const { pod } = this;
    this.shut();
    if (pod?.link === this) this.scheduler.pods.socketLost(pod, 'its socket closed');
  }

  private shut(): void {
    const { hello } = this;
    if (hello !== null) this.scheduler.pods.letGo(hello.uid, this);
    this.closed = true;
    this.hello = null;
    this.pod = null;
    this.out = null;
    this.senders = null;
    this.code = null;
    this.batch.code.delete(this);
    this.scheduler.wheel.clear(this);
  }

  /** P4 */
  onTimer(now: number): void {
    const { pod } = this;
    if (pod === null) {
      this.close(this.hello === null ? 'helloTimeout' : 'unidentified');
      return;
    }
    const idle = pod.load === 0 && pod.state === 'serving';
    if (this.awaitingPong && this.idleWhenPinged && idle) {
      this.close('unresponsive');
      this.scheduler.pods.kill(pod, `it did not answer a ping in ${this.settings.heartbeatMs} ms`);
      return;
    }
    this.awaitingPong = true;
    this.idleWhenPinged = idle;
    this.send({ kind: 'ping', nonce: ++this.nonce });
    this.scheduler.wheel.set(this, now + this.settings.heartbeatMs);
  }
}

/** Those of a pod that was launched for its function stand in its environment and its welcome. */
function limitsOf({ capacity, fn, grant }: Pod): HeaderPairs {
  if (grant === null) return [['capacity', String(capacity)]];
  const { graceMs, maxRequestBytes, maxResultBytes } = fn.record.spec;
  const { memoryBytes } = grant;
  const limits = { capacity, graceMs, maxRequestBytes, maxResultBytes, memoryBytes };
  return Object.entries(limits).map(([name, value]) => [name, String(value)]);
}

/** As frames write it. */
function digestOf(source: FunctionSource): string {
  return `sha256:${source.digest}`;
}

const HEADER_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
// A value that breaks out of its line would write headers, or a second response, in the handler's name. RFC 9110 5.5.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that must not stand there
const HEADER_VALUE = /^[^\u0000-\u0008\u000a-\u001f\u007f\u0100-\uffff]*$/;

function badHeader(headers: HeaderPairs): string | undefined {
  for (const [name, value] of headers) {
    if (!HEADER_NAME.test(name) || !HEADER_VALUE.test(value)) {
      return `header ${JSON.stringify(name.slice(0, 60))} is not one`;
    }
  }
  return undefined;
}

/**
 * One WebSocket to the control plane, from its dial to its end. Dialling again is the link's business (link.ts).
 *
 *   dialling ──upgraded──▶ greeting ──welcome──▶ open ──▶ closed
 *       └─────────────────────┴─────────────────────────────▲
 *
 * Invariants:
 *  N1. `hello` is the first frame, and nothing else goes out before `welcome`.
 *  N2. The owner hears of the end exactly once, and of nothing after it. The attempts still here are then aborted as lost.
 *  N3. Frames written in one turn of the event loop share messages, which leave with the next tick: it comes after all
 *      microtasks of the turn.
 *  N4. Silence counts only while the loop could read: a handler may block it for longer than any heartbeat, rightfully.
 *  N5. A frame that is malformed, or not allowed now, closes the connection with its code; an unknown kind is ignored.
 */
import type { Socket } from 'node:net';
import { decodeEach, encode, FrameError, toMessages } from '@simmer/protocol/codec';
import type {
  CloseReason,
  Code,
  ControlFrame,
  Frame,
  Hello,
  Invoke,
  PodFrame,
  Specialize,
  Welcome,
} from '@simmer/protocol/frames';
import { CLOSE } from '@simmer/protocol/frames';
import { MAX_FRAME_BYTES, SUBPROTOCOL } from '@simmer/protocol/limits';
import { POD_TLS_NAME } from '@simmer/protocol/runtime-environment';
import WebSocket from 'ws';
import type { Attempt } from './attempt.ts';
import type { Wire } from './outbox.ts';
import { Outbox } from './outbox.ts';
import { welcomeOf } from './specialization.ts';

/** From hello to welcome. On Kubernetes a hello may be held for 5 s until its pod is seen. */
const WELCOME_TIMEOUT_MS = 15_000;
/** How long the peer may take to echo a close. */
const CLOSE_TIMEOUT_MS = 1_000;
/** Silence is counted in half heartbeats: seven of them are more than three heartbeats whenever the first began. */
const TICKS_PER_HEARTBEAT = 2;
const SILENT_TICKS = 7;

const NORMAL_CLOSURE = 1000;
const SEND_OPTIONS = { binary: true, compress: false } as const;

/** How a connection ended. `fatal`: dialling again cannot help. */
export type ConnectionEnd =
  | { readonly kind: 'lost'; readonly reason: string; readonly uptimeMs: number }
  | { readonly kind: 'fatal'; readonly reason: string };

export interface ConnectionOwner {
  /** The first frame; asked for when the socket is there. */
  hello(connection: Connection): Hello;
  welcomed(connection: Connection, welcome: Welcome): void;
  /** False: it may not come now (N5). */
  invoke(connection: Connection, limits: Welcome, frame: Invoke): boolean;
  /** False: it may not come now (N5). */
  specialize(frame: Specialize): boolean;
  /** False: it is no piece of what is awaited (N5). */
  code(frame: Code): boolean;
  drain(graceMs: number): void;
  /** False: it cannot be followed (N5). */
  goaway(connection: Connection, address: string, session: string): boolean;
  ended(connection: Connection, end: ConnectionEnd): void;
}

type State =
  | { readonly kind: 'dialling' }
  | {
      readonly kind: 'greeting';
      readonly net: Socket;
      readonly timer: NodeJS.Timeout;
      freedSlots: number;
    }
  | {
      readonly kind: 'open';
      readonly net: Socket;
      readonly welcome: Welcome;
      readonly since: number;
      readonly watch: NodeJS.Timeout;
    }
  | { readonly kind: 'closed' };

const CLOSED: State = { kind: 'closed' };

/**
 * RFC 6455 makes clients mask what they send, so that a script in a browser cannot make a proxy between take its bytes
 * for HTTP. A pod is no browser and dials the control plane itself, so a mask of zeros keeps to the letter, and ws then
 * leaves the payload alone instead of rewriting each byte.
 */
function zeroMask(mask: Buffer): void {
  mask.fill(0);
}

/** @types/ws does not know these yet; `servername` goes on to tls.connect. */
type ClientOptions = WebSocket.ClientOptions & { closeTimeout?: number; servername?: string };

const DIAL_OPTIONS: ClientOptions = {
  perMessageDeflate: false,
  skipUTF8Validation: true,
  generateMask: zeroMask,
  maxPayload: MAX_FRAME_BYTES,
  closeTimeout: CLOSE_TIMEOUT_MS,
};

/** How an address is dialled. */
export interface DialOptions {
  /** PEM of the CA that vouches for a `wss:` address; '' for those that Node trusts. */
  readonly ca: string;
  /** From dial to HTTP upgrade. */
  readonly timeoutMs: number;
}

/**
 * Of a CA of our own every control plane has the same name, whatever address leads to it. Any other certificate must bear the
 * address's.
 */
function tlsOf(ca: string): ClientOptions {
  return ca === '' ? {} : { ca, servername: POD_TLS_NAME };
}

export class Connection implements Wire {
  readonly outbox: Outbox = new Outbox(this);
  private readonly attempts = new Map<number, Attempt>();
  private readonly owner: ConnectionOwner;
  private readonly ws: WebSocket;
  private state: State = { kind: 'dialling' };
  /** Frames not yet handed to the socket, and their bytes (N3). */
  private out: Uint8Array[] = [];
  private outBytes = 0;
  /** Half heartbeats in which nothing was heard. */
  private silentTicks = 0;
  private lastError = '';
  private leaving = false;

  constructor(address: string, owner: ConnectionOwner, { ca, timeoutMs }: DialOptions) {
    this.owner = owner;
    const options: ClientOptions = { ...DIAL_OPTIONS, ...tlsOf(ca), handshakeTimeout: timeoutMs };
    this.ws = new WebSocket(address, SUBPROTOCOL, options);
    this.ws.on('upgrade', (response) => this.upgraded(response.socket));
    this.ws.on('open', () => this.greet());
    this.ws.on('message', (data) => this.received(data as Buffer));
    this.ws.on('ping', () => {
      this.silentTicks = 0;
    });
    this.ws.on('error', (error) => {
      this.lastError = error.message;
    });
    this.ws.on('close', (code, reason) => this.closed(code, reason.toString()));
  }

  get isOpen(): boolean {
    return this.state.kind === 'open';
  }

  /** Sends a frame; dropped when the connection is not open. */
  send(frame: PodFrame): void {
    if (this.state.kind === 'open') this.write(frame);
  }

  /** An attempt of an earlier connection has ended, which this one's hello counted. */
  freeSlot(): void {
    if (this.state.kind === 'greeting') this.state.freedSlots++;
    else this.send(FREED_SLOT);
  }

  /** The attempt's `result` is sent, or never will be. */
  release(attempt: Attempt): void {
    this.attempts.delete(attempt.stream);
    if (this.leaving && this.attempts.size === 0) this.close();
  }

  /** Closes once the attempts here are through. */
  leave(): void {
    this.leaving = true;
    if (this.attempts.size === 0) this.close();
  }

  /** Closes politely; what was sent before still arrives. `done` runs when the peer has answered, or will not. */
  close(done?: () => void): void {
    if (done !== undefined) this.ws.once('close', done);
    if (this.state.kind === 'closed') {
      if (this.ws.readyState === WebSocket.CLOSED) done?.();
      return;
    }
    this.finish({ kind: 'lost', reason: 'closed by the pod', uptimeMs: this.uptimeMs });
    this.ws.close(NORMAL_CLOSURE);
  }

  /** Hands everything to the kernel now: the process is about to exit. */
  flushNow(): void {
    if (this.out.length > 0) this.flush();
  }

  // ---- Wire ----

  get unsentBytes(): number {
    return this.state.kind === 'open' ? this.state.net.writableLength + this.outBytes : 0;
  }

  onceDrained(callback: () => void): void {
    if (this.state.kind !== 'open') return;
    this.flushNow();
    const { net } = this.state;
    // Only a socket that is over its mark tells when it has drained.
    if (net.writableNeedDrain) net.once('drain', callback);
    else process.nextTick(callback);
  }

  // ---- receiving ----

  private received(data: Buffer): void {
    if (this.state.kind === 'closed') return;
    this.silentTicks = 0;
    try {
      decodeEach(data, this.takeOne);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.refuse('malformed', error.reason);
    }
  }

  private readonly takeOne = (frame: Frame | undefined): boolean => {
    if (frame !== undefined && !this.take(frame as ControlFrame)) {
      this.refuse('violation', `${frame.kind} is not allowed now`);
    }
    return this.state.kind !== 'closed';
  };

  /** False: not allowed in this state. */
  private take(frame: ControlFrame): boolean {
    const { state } = this;
    if (state.kind === 'greeting') return frame.kind === 'welcome' && this.welcomed(frame);
    if (state.kind !== 'open') return false;
    switch (frame.kind) {
      case 'invoke':
        return !this.attempts.has(frame.stream) && this.owner.invoke(this, state.welcome, frame);
      case 'ping':
        this.send({ kind: 'pong', nonce: frame.nonce });
        return true;
      case 'credit':
        this.outbox.grant(frame.stream, frame.bytes);
        return true;
      case 'input': {
        // A stream that is through: the pieces crossed its result.
        const body = this.attempts.get(frame.stream)?.requestBody;
        return body === undefined || body.push(frame.bytes, frame.end);
      }
      case 'cancel':
        this.attempts
          .get(frame.stream)
          ?.abort(frame.reason === 'timeout' ? 'timeout' : 'cancelled');
        this.outbox.drop(frame.stream);
        return true;
      case 'drain':
        this.owner.drain(frame.graceMs);
        return true;
      case 'goaway':
        return this.owner.goaway(this, frame.address, frame.session);
      case 'specialize':
        this.state = { ...state, welcome: welcomeOf(state.welcome, frame) };
        return this.owner.specialize(frame);
      case 'code':
        return this.owner.code(frame);
      default:
        // A pod's own frames.
        return false;
    }
  }

  /** The owner has accepted an `invoke`. */
  admit(attempt: Attempt): void {
    this.attempts.set(attempt.stream, attempt);
  }

  // ---- the way up ----

  private upgraded(net: Socket): void {
    if (this.state.kind !== 'dialling') return;
    const timer = setTimeout(
      () => this.refuse('unresponsive', 'no welcome in time'),
      WELCOME_TIMEOUT_MS,
    );
    this.state = { kind: 'greeting', net, timer, freedSlots: 0 };
  }

  private greet(): void {
    if (this.state.kind === 'greeting') this.write(this.owner.hello(this)); // N1
  }

  private welcomed(welcome: Welcome): boolean {
    if (this.state.kind !== 'greeting') return false;
    const { net, timer, freedSlots } = this.state;
    clearTimeout(timer);
    const watch = setInterval(this.tick, Math.max(1, welcome.heartbeatMs / TICKS_PER_HEARTBEAT));
    this.state = { kind: 'open', net, welcome, since: performance.now(), watch };
    for (let i = 0; i < freedSlots; i++) this.send(FREED_SLOT);
    this.owner.welcomed(this, welcome);
    return true;
  }

  // ---- the way down ----

  /** N4: the loop polls its sockets between two runs of a timer, so a block of any length counts as one tick. */
  private readonly tick = (): void => {
    if (++this.silentTicks < SILENT_TICKS || this.state.kind !== 'open') return;
    this.finish({ kind: 'lost', reason: CLOSE.unresponsive.reason, uptimeMs: this.uptimeMs });
    this.ws.terminate();
  };

  /** N5 */
  private refuse(why: CloseReason, detail: string): void {
    const { code, reason } = CLOSE[why];
    this.finish({ kind: 'lost', reason: `${reason}: ${detail}`, uptimeMs: this.uptimeMs });
    this.ws.close(code, `${reason}: ${detail}`.slice(0, MAX_REASON_CHARS));
  }

  private closed(code: number, reason: string): void {
    const fatal = Object.values(CLOSE).some((entry) => entry.code === code && entry.fatal);
    const why = `${code}${reason === '' ? '' : ` ${reason}`}`;
    if (fatal) this.finish({ kind: 'fatal', reason: why });
    else {
      const detail = this.lastError === '' ? why : this.lastError;
      this.finish({ kind: 'lost', reason: detail, uptimeMs: this.uptimeMs });
    }
  }

  /** N2 */
  private finish(end: ConnectionEnd): void {
    const { state } = this;
    if (state.kind === 'closed') return;
    this.flushNow();
    this.state = CLOSED;
    if (state.kind === 'greeting') clearTimeout(state.timer);
    if (state.kind === 'open') clearInterval(state.watch);
    this.outbox.dropAll();
    for (const attempt of this.attempts.values()) attempt.abort('lost');
    this.attempts.clear();
    this.owner.ended(this, end);
  }

  private get uptimeMs(): number {
    return this.state.kind === 'open' ? performance.now() - this.state.since : 0;
  }

  // ---- writing (N3) ----

  private write(frame: PodFrame): void {
    const bytes = encode(frame);
    if (this.out.push(bytes) === 1) process.nextTick(this.flush);
    this.outBytes += bytes.length;
  }

  private readonly flush = (): void => {
    const { out } = this;
    this.out = [];
    this.outBytes = 0;
    if (this.state.kind === 'open' || this.state.kind === 'greeting')
      toMessages(out, this.sendMessage);
  };

  private readonly sendMessage = (message: Uint8Array): void => {
    this.ws.send(message, SEND_OPTIONS);
  };
}

/** RFC 6455: a close frame's reason is 123 bytes at most. Ours are ASCII. */
const MAX_REASON_CHARS = 123;

const FREED_SLOT: PodFrame = {
  kind: 'result',
  stream: 0,
  outcome: 'cancelled',
  code: '',
  message: '',
  body: null,
};

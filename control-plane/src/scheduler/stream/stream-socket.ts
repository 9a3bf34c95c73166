/**
 * One client's WebSocket: messages in, requests by their ids, messages out.
 *
 *   open ──goaway──▶ leaving ──last request ended──▶ closed
 *     └──malformed, violation, not read, silent──────▶ closed
 *
 * Invariants:
 *  S1. At most MAX_REQUESTS are open; one more is answered with `stream_limit`, and so is one of a client that leaves its
 *      results unread. What it sends is bounded by credit, what it is sent by outbox.ts.
 *  S2. A socket that closes, whoever closes it, cancels what runs for it; what it enqueued goes on.
 *  S3. It is closed over silence, never over its age: nothing heard and nothing taken in the time between two pings.
 *  S4. Its credential is looked at again with each request and each ping: one that no longer holds ends the socket.
 *  S5. A message that cannot be read is its request's fault where it names one, and the socket's where not.
 */
import { decodeJson, encodeJson } from '@simmer/protocol/client-json';
import {
  CLIENT_TYPES,
  CLIENT_WINDOW_BYTES,
  type ClientMessage,
  MAX_TEXT_BYTES,
  MessageError,
  STREAM_CLOSE,
  type StreamCloseReason,
  type StreamMessage,
} from '@simmer/protocol/client-messages';
import { decodeMsgpack, encodeMsgpack } from '@simmer/protocol/client-msgpack';
import { problem } from '@simmer/protocol/errors';
import { type Access, Refused } from '../access/gate.ts';
import type { Known } from '../access/known.ts';
import { traceIdOf } from '../ids.ts';
import { errorsOf } from '../reply.ts';
import { TimerNode } from '../timing-wheel.ts';
import type { TurnBatch } from '../turn-batch.ts';
import type { WebSocket } from '../uws.ts';
import { Subscription } from './asks.ts';
import { MAX_HELD_BYTES } from './call.ts';
import type { Failure, OpenRequest, RequestPorts } from './open-request.ts';
import { Outbox } from './outbox.ts';
import type { StreamRequests, StreamRequestsPorts } from './stream-requests.ts';

export const MAX_REQUESTS = 256;
const RETRY_AFTER_SECONDS = 1;

export interface StreamSocketPorts extends StreamRequestsPorts {
  readonly batch: TurnBatch;
  readonly requests: StreamRequests;
  readonly bootId: string;
  readonly heartbeatMs: number;
  closed(socket: StreamSocket): void;
}

/** What a client showed: the values of the two headers; '' for one that did not come. */
export interface Credential {
  readonly authorization: string;
  readonly apiKey: string;
}

export class StreamSocket extends TimerNode implements RequestPorts {
  readonly outbox: Outbox;
  readonly binary: boolean;
  private known: Known;
  private readonly credential: Credential;
  private readonly ws: WebSocket<unknown>;
  private readonly ports: StreamSocketPorts;
  private readonly open = new Map<number, OpenRequest>();
  private state: 'open' | 'leaving' | 'closed' = 'open';
  /** Since the last ping. */
  private heard = true;

  constructor(
    ws: WebSocket<unknown>,
    binary: boolean,
    known: Known,
    credential: Credential,
    ports: StreamSocketPorts,
  ) {
    super();
    this.ws = ws;
    this.binary = binary;
    this.known = known;
    this.credential = credential;
    this.ports = ports;
    this.outbox = new Outbox(
      ws,
      ports.batch,
      binary,
      ports.scheduler.counters,
      (messages, unread) => this.onFlushed(messages, unread),
    );
    const { heartbeatMs, scheduler } = ports;
    this.send({
      type: 'hello',
      maxRequests: MAX_REQUESTS,
      windowBytes: CLIENT_WINDOW_BYTES,
      idleTimeoutMs: 2 * heartbeatMs,
    });
    scheduler.counters.addStream('sockets', 1);
    scheduler.wheel.set(this, scheduler.ports.now() + heartbeatMs);
  }

  // ---- RequestPorts ------------------------------------------------------------------------------------------------

  encode(message: StreamMessage): Uint8Array | string {
    return this.binary ? encodeMsgpack(message) : encodeJson(message);
  }

  opened(request: OpenRequest): void {
    this.open.set(request.id, request);
  }

  fail(request: OpenRequest, failure: Failure): void {
    if (request.payload !== null) this.outbox.drop(request.payload);
    this.sendError(request.id, failure);
    this.leave(request, failure.code === 'cancelled' ? 'cancelled' : 'failed');
  }

  ended(request: OpenRequest): void {
    this.leave(request, 'answered');
  }

  private leave(request: OpenRequest, how: 'answered' | 'failed' | 'cancelled'): void {
    if (this.open.get(request.id) !== request) return;
    this.open.delete(request.id);
    this.ports.scheduler.counters.addStream(how, 1);
    // Its last message goes first.
    if (this.state === 'leaving') this.outbox.markDirty();
  }

  private sendError(id: number, failure: Failure): void {
    const { code, detail, executionId, traceparent } = failure;
    const { attempts = 0, retryAfterSeconds = 0 } = failure;
    const body = problem(code, detail, {
      executionId,
      ...(attempts > 0 && { attempts }),
      ...errorsOf(failure.faults),
    });
    this.send({
      type: 'error',
      id,
      problem: JSON.stringify(body),
      ...(traceparent !== '' && { traceId: traceIdOf(traceparent) }),
      ...(retryAfterSeconds > 0 && { retryAfterSeconds }),
      ...(failure.replayed && { replayed: true }),
    });
  }

  private send(message: StreamMessage): void {
    if (this.state !== 'closed') this.outbox.send(this.encode(message));
  }

  // ---- reading -----------------------------------------------------------------------------------------------------

  onMessage(data: ArrayBuffer, isBinary: boolean): void {
    if (this.state === 'closed') return;
    this.heard = true;
    this.ports.scheduler.counters.addStream('received', 1);
    if (isBinary !== this.binary) {
      this.close('malformed', isBinary ? 'a binary message' : 'a text message');
      return;
    }
    if (!isBinary && data.byteLength > MAX_TEXT_BYTES) {
      this.close('tooBig', `a text message of over ${MAX_TEXT_BYTES} bytes`);
      return;
    }
    let message: StreamMessage;
    try {
      message = isBinary
        ? decodeMsgpack(new Uint8Array(data))
        : decodeJson(Buffer.from(data).toString());
      if (!CLIENT_TYPES.has(message.type)) throw new MessageError(`${message.type} from a client`);
    } catch (error) {
      if (!(error instanceof MessageError)) throw error;
      if (error.id === 0) this.close('malformed', error.reason);
      else this.refuseMessage(error.id, error.reason); // S5
      return;
    }
    this.onClientMessage(message as ClientMessage);
  }

  private onClientMessage(message: ClientMessage): void {
    switch (message.type) {
      case 'invoke':
      case 'enqueue':
      case 'request': {
        if (!this.mayBegin(message.id)) return;
        const no = this.ports.requests.take(message, this.known, this);
        if (no !== undefined) this.refuse(message.id, no);
        return;
      }
      case 'subscribe': {
        if (!this.mayBegin(message.id)) return;
        const { executions, bootId, gate, ids, scheduler } = this.ports;
        const no = gate.limit(this.known, scheduler.ports.now());
        if (no !== undefined) {
          this.refuse(message.id, { ...no, executionId: ids.next(), traceparent: '' });
          return;
        }
        const { id, executionId } = message;
        const one = new Subscription(id, executionId, this.known.caller, executions, bootId, this);
        this.opened(one);
        void one.look();
        return;
      }
      case 'data':
        this.onData(message.id, message.bytes, message.more === true);
        return;
      case 'credit': {
        this.open.get(message.id)?.grant(message.bytes);
        this.outbox.markDirty();
        return;
      }
      // An id that is not open has ended meanwhile.
      case 'cancel':
        this.open.get(message.id)?.cancel();
        return;
      case 'ping': {
        const { nonce } = message;
        this.send({ type: 'pong', ...(nonce !== undefined && { nonce }) });
      }
    }
  }

  private onData(id: number, bytes: Uint8Array, more: boolean): void {
    const request = this.open.get(id);
    const body = request?.body ?? null;
    if (request === undefined || body === null) return;
    if (bytes.length > body.credit) {
      this.close('violation', 'data beyond its credit');
      return;
    }
    this.ports.requests.data(request, bytes, more, (granted) => {
      body.credit += granted;
      this.send({ type: 'credit', id, bytes: granted });
    });
  }

  /** S4; false: it was closed. */
  private recheck(): boolean {
    const { authorization, apiKey } = this.credential;
    const access = this.ports.gate.callerOf(authorization, apiKey);
    if (!(access instanceof Promise)) return this.identify(access);
    // Until it is known, what was known holds.
    void access.then((later) => this.identify(later));
    return true;
  }

  private identify(access: Access): boolean {
    if (access instanceof Refused) this.close('unauthorized', '');
    else this.known = access;
    return !(access instanceof Refused);
  }

  /** S1 */
  private mayBegin(id: number): boolean {
    if (!this.recheck()) return false;
    const { scheduler } = this.ports;
    if (this.open.has(id)) {
      this.close('violation', `id ${id} is in use`);
      return false;
    }
    if (this.state === 'leaving' || scheduler.draining) {
      this.refuseWith(id, 'draining', 'This control plane is shutting down.');
      return false;
    }
    if (this.open.size >= MAX_REQUESTS) {
      this.refuseWith(id, 'stream_limit', `${MAX_REQUESTS} requests are open on this socket.`);
      return false;
    }
    const held = this.outbox.heldBytes;
    if (held <= MAX_HELD_BYTES) return true;
    const detail = `${held} bytes of results wait for this client to read them.`;
    this.refuseWith(id, 'stream_limit', detail);
    return false;
  }

  private refuseMessage(id: number, detail: string): void {
    const request = this.open.get(id);
    if (request === undefined) this.refuseWith(id, 'invalid_message', detail);
    else this.close('violation', detail);
  }

  private refuseWith(id: number, code: Failure['code'], detail: string): void {
    const retryAfterSeconds = code === 'invalid_message' ? 0 : RETRY_AFTER_SECONDS;
    const executionId = this.ports.ids.next();
    this.refuse(id, { executionId, traceparent: '', code, detail, retryAfterSeconds });
  }

  private refuse(id: number, failure: Failure): void {
    this.ports.scheduler.counters.addStream('refused', 1);
    this.sendError(id, failure);
  }

  // ---- ends --------------------------------------------------------------------------------------------------------

  /** What is open is answered; new requests go elsewhere. */
  goaway(): void {
    if (this.state !== 'open') return;
    this.state = 'leaving';
    this.send({ type: 'goaway' });
  }

  private onFlushed(messages: number, unread: boolean): void {
    this.ports.scheduler.counters.addStream('sent', messages);
    if (unread) this.cut();
    else if (this.state === 'leaving' && this.open.size === 0 && this.outbox.isEmpty) {
      this.close('goingAway', '');
    }
  }

  /** The client has taken something: one that reads slowly is alive, though its pong stands behind all that. */
  onDrain(): void {
    this.heard = true;
    this.outbox.markDirty();
  }

  onPong(): void {
    this.heard = true;
  }

  /** S3 */
  onTimer(now: number): void {
    const { heartbeatMs, scheduler } = this.ports;
    if (!this.heard) {
      this.cut();
      return;
    }
    if (!this.recheck()) return;
    this.heard = false;
    this.ws.ping();
    scheduler.wheel.set(this, now + heartbeatMs);
  }

  /** Without a farewell: it would not be read. */
  private cut(): void {
    if (this.state === 'closed') return;
    this.shut();
    this.ws.close();
  }

  close(reason: StreamCloseReason, detail: string): void {
    if (this.state === 'closed') return;
    const { code, reason: text } = STREAM_CLOSE[reason];
    this.shut();
    this.ws.end(code, detail === '' ? text : `${text}: ${detail}`.slice(0, 100));
  }

  /** The socket is gone, whoever closed it. */
  onClose(): void {
    this.shut();
  }

  /** S2 */
  private shut(): void {
    if (this.state === 'closed') return;
    const { scheduler } = this.ports;
    this.state = 'closed';
    this.outbox.close();
    scheduler.wheel.clear(this);
    scheduler.counters.addStream('sockets', -1);
    const open = [...this.open.values()];
    this.open.clear();
    scheduler.counters.addStream('cancelled', open.length);
    for (const request of open) request.gone();
    this.ports.closed(this);
  }
}

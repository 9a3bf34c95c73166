/**
 * One request of a client's WebSocket that runs a function now: its body as it comes in, its answer as it goes out.
 *
 * Invariants:
 *  C1. The client is told of its end once: by the last message of its answer, or by an error.
 *  C2. A raw answer's pod gets credit for what the client's socket took, so a slow reader slows its own handler.
 *  C3. A whole result that the client has no room for is not kept: the request fails.
 */
import { isUtf8 } from 'node:buffer';
import {
  CLIENT_WINDOW_BYTES,
  MAX_BINARY_BYTES,
  MAX_TEXT_BYTES,
  PIECE_BYTES,
  TEXT_PIECE_BYTES,
} from '@simmer/protocol/client-messages';
import type { ErrorCode } from '@simmer/protocol/errors';
import type { HeaderPairs } from '@simmer/protocol/frames';
import { HOP_BY_HOP } from '../hop-by-hop.ts';
import type { KeyedClient } from '../idempotency/answers.ts';
import type { KeyedCall } from '../idempotency/keyed-call.ts';
import { traceIdOf } from '../ids.ts';
import type { Invocation } from '../invocation.ts';
import type { Answered } from '../reply.ts';
import type { Scheduler } from '../scheduler.ts';
import type { InboundBody } from './inbound-body.ts';
import type { OpenRequest, RequestPorts } from './open-request.ts';
import { Payload, type PayloadMessages } from './outbox.ts';

/** Of whole results that wait for one client; the first is kept whatever its size. */
export const MAX_HELD_BYTES = 16_777_216;
/** What a message has around its payload and its headers, at most. */
const MESSAGE_BYTES = 1_024;
const MAX_TEXT_OUTPUT_BYTES = MAX_TEXT_BYTES - MESSAGE_BYTES;
/** Of a raw answer's headers, as they are written. */
const MAX_HEAD_BYTES = Math.min(MAX_TEXT_BYTES, MAX_BINARY_BYTES - PIECE_BYTES) - MESSAGE_BYTES;

const AFTER_OUTPUT = 0x7d; // }

export class Call implements KeyedClient, OpenRequest, PayloadMessages {
  readonly id: number;
  invocation!: Invocation;
  /** Of one with an idempotency key. */
  keyed: KeyedCall | null = null;
  body: InboundBody | null = null;
  payload: Payload | null = null;
  private readonly scheduler: Scheduler;
  private readonly ports: RequestPorts;
  private credit = CLIENT_WINDOW_BYTES;
  private ended = false;
  private replayed = false;
  /** Whose answer it is: another's where it is told again. */
  private answered: Answered | null = null;
  private status = 200;
  private headers: HeaderPairs = [];
  private headBytes = 0;
  private granted: ((bytes: number) => void) | null = null;

  constructor(id: number, scheduler: Scheduler, ports: RequestPorts) {
    this.id = id;
    this.scheduler = scheduler;
    this.ports = ports;
  }

  // ---- OpenRequest -------------------------------------------------------------------------------------------------

  grant(bytes: number): void {
    if (this.payload === null) this.credit += bytes;
    else this.payload.grant(bytes);
  }

  cancel(): void {
    this.failWith('cancelled', 'It was cancelled by request.');
    this.stop();
  }

  gone(): void {
    this.ended = true;
    this.stop();
  }

  private stop(): void {
    if (this.keyed === null) this.scheduler.clientGone(this.invocation);
    else this.keyed.clientGone();
  }

  // ---- KeyedClient -------------------------------------------------------------------------------------------------

  markReplayed(): void {
    this.replayed = true;
  }

  /** Nobody that waits for a result is told this. */
  accepted(): void {}

  // ---- Reply -------------------------------------------------------------------------------------------------------

  value(answered: Answered, pieces: readonly Uint8Array[] | null, last: Uint8Array): void {
    if (this.ended) return;
    this.answered = answered;
    const { outbox, binary } = this.ports;
    const bytes = answered.partBytes + last.length;
    const held = outbox.heldBytes;
    if (held > 0 && held + bytes > MAX_HELD_BYTES) {
      this.failWith('stream_limit', `${held} bytes of results wait for this client to read them.`);
    } else if (!binary) {
      this.textValue(Buffer.concat([...(pieces ?? []), last]));
    } else {
      for (const piece of pieces ?? []) this.give(piece.slice(), false);
      this.give(last.slice(), true);
    }
  }

  /** One message, or none. */
  private textValue(output: Uint8Array): void {
    if (output.length > MAX_TEXT_OUTPUT_BYTES) {
      const detail = `The result is ${output.length} bytes, of which a text message takes ${MAX_TEXT_OUTPUT_BYTES}: the subprotocol of msgpack takes all.`;
      this.failWith('result_too_large', detail);
    } else if (!isUtf8(output)) {
      // A browser would close the socket over it, and all that runs there.
      this.failWith('result_not_serializable', 'The result is not UTF-8.');
    } else {
      this.give(output, true);
    }
  }

  head(answered: Answered, status: number, headers: HeaderPairs): void {
    if (this.ended) return;
    this.answered = answered;
    this.status = status;
    this.headers = headers.filter(([name]) => !NOT_PASSED.has(name.toLowerCase()));
    const { binary } = this.ports;
    this.headBytes = binary
      ? this.headers.reduce((sum, [name, value]) => sum + 12 + 3 * (name.length + value.length), 0)
      : Buffer.byteLength(JSON.stringify(this.headers));
    if (this.headBytes <= MAX_HEAD_BYTES) return;
    this.failWith('result_too_large', 'The headers do not fit one message.');
    this.stop();
  }

  chunk(_answered: Answered, bytes: Uint8Array, granted: (bytes: number) => void): void {
    if (this.ended) return;
    this.granted = granted;
    this.give(bytes.slice(), false);
  }

  end(_answered: Answered, body: Uint8Array | null): void {
    if (!this.ended) this.give(body === null ? NOTHING : body.slice(), true);
  }

  fail(answered: Answered, code: ErrorCode, detail: string, retryAfterSeconds = 0): void {
    this.answered = answered;
    this.failWith(code, detail, retryAfterSeconds);
  }

  abort(_answered: Answered): void {
    this.failWith('response_broken', 'The answer broke off: its pod was lost, or its time over.');
  }

  private failWith(code: ErrorCode, detail: string, retryAfterSeconds = 0): void {
    if (this.ended) return;
    this.ended = true; // C1
    const answered = this.answered ?? this.invocation;
    const { id: executionId, traceparent, attempts, faults } = answered;
    const { replayed } = this;
    const failure = { executionId, traceparent, code, detail, attempts, retryAfterSeconds };
    this.ports.fail(this, { ...failure, replayed, faults });
  }

  private give(piece: Uint8Array, last: boolean): void {
    if (this.payload === null) {
      this.payload = new Payload(this, this.credit);
      this.ports.outbox.add(this.payload);
    }
    this.ports.outbox.give(this.payload, piece, last);
  }

  // ---- PayloadMessages ---------------------------------------------------------------------------------------------

  get firstBytes(): number {
    if (this.ports.binary) return PIECE_BYTES;
    if (this.invocation.form === 'value') return MAX_TEXT_OUTPUT_BYTES;
    const room = Math.floor(((MAX_TEXT_OUTPUT_BYTES - this.headBytes) / 4) * 3);
    return Math.min(TEXT_PIECE_BYTES, room);
  }

  get pieceBytes(): number {
    return this.ports.binary ? PIECE_BYTES : TEXT_PIECE_BYTES;
  }

  begin(piece: Uint8Array, more: boolean): Uint8Array | string {
    const { id: executionId, traceparent } = this.answered ?? this.invocation;
    const { form } = this.invocation;
    const traceId = traceIdOf(traceparent);
    const { id, ports, status, headers } = this;
    const rest = { ...(more && { more }), ...(this.replayed && { replayed: true }) };
    if (form === 'raw') {
      const body = piece.length > 0 ? { body: piece } : undefined;
      return ports.encode({
        ...({ type: 'response', id, executionId, traceId, status, headers } as const),
        ...body,
        ...rest,
      });
    }
    if (ports.binary) {
      return ports.encode({ type: 'result', id, executionId, traceId, output: piece, ...rest });
    }
    // The output's bytes are put in as the pod wrote them.
    const replayed = this.replayed ? '"replayed":true,' : '';
    const head = `{"type":"result","id":${id},"executionId":"${executionId}","traceId":"${traceId}",${replayed}"output":`;
    const message = Buffer.allocUnsafe(head.length + piece.length + 1);
    message.write(head, 'latin1');
    message.set(piece, head.length);
    message[message.length - 1] = AFTER_OUTPUT;
    return message;
  }

  next(bytes: Uint8Array, more: boolean): Uint8Array | string {
    return this.ports.encode({ type: 'data', id: this.id, bytes, ...(more && { more }) });
  }

  /** C2 */
  sent(bytes: number): void {
    if (bytes > 0) this.granted?.(bytes);
  }

  done(): void {
    this.ended = true;
    this.ports.ended(this);
  }
}

const NOTHING = new Uint8Array(0);

/** Of one hop only. */
const NOT_PASSED: ReadonlySet<string> = new Set([...HOP_BY_HOP, 'proxy-authenticate']);

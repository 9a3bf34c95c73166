/**
 * One request and what comes back for it.
 *
 *   waiting ──▶ sent ──▶ answering ──▶ done
 *      ▲         │
 *      └─ again ─┘   its connection was lost and it may be sent twice, or the server is going away
 *
 * Invariants:
 *  X1. It ends once: with its answer, an error, or the caller's signal.
 *  X2. Of its payload no byte is sent beyond the credit that the server gave.
 *  X3. Once a part of its answer has come it is never sent again.
 */
import { textOf } from '@simmer/protocol/client-json';
import {
  type ClientMessage,
  PIECE_BYTES,
  type ServerMessage,
  TEXT_PIECE_BYTES,
} from '@simmer/protocol/client-messages';
import { type Problem, SimmerError } from './errors.ts';

/** Where its messages go. */
export interface Wire {
  readonly binary: boolean;
  readonly windowBytes: number;
  send(message: ClientMessage): void;
  /** It has ended there. */
  forget(exchange: Exchange): void;
}

/** What its maker makes of the answer. */
export interface Receiver {
  /** The answer's first message; what of its payload came with it comes next. */
  begin(message: ServerMessage): void;
  /** A piece of its payload; `taken` says that there is room for as much again. */
  piece(bytes: Uint8Array, taken: () => void): void;
  end(): void;
  fail(error: unknown): void;
}

export type First = Extract<
  ClientMessage,
  { type: 'invoke' | 'enqueue' | 'request' | 'subscribe' }
>;

export class Exchange {
  readonly first: First;
  private readonly receiver: Receiver;
  /** What follows the first message under credit. */
  private readonly payload: Uint8Array;
  private state: 'waiting' | 'sent' | 'answering' | 'done' = 'waiting';
  private wire: Wire | null = null;
  private at = 0;
  private credit = 0;

  /** `payload`: of an invoke or enqueue its input, of a request its body. */
  constructor(first: First, payload: Uint8Array, receiver: Receiver) {
    this.first = first;
    this.payload = payload;
    this.receiver = receiver;
  }

  get isDone(): boolean {
    return this.state === 'done';
  }

  /** Whether to send it twice does no harm. */
  get isRepeatable(): boolean {
    if (this.state === 'answering') return false; // X3
    return this.first.type === 'subscribe' || this.first.idempotencyKey !== undefined;
  }

  // ---- out ---------------------------------------------------------------------------------------------------------

  send(wire: Wire): void {
    const { first, payload } = this;
    this.state = 'sent';
    this.wire = wire;
    const size = wire.binary ? PIECE_BYTES : TEXT_PIECE_BYTES;
    this.credit = wire.windowBytes;
    // A JSON payload in the JSON spelling is all in the message, which says so itself where it does not fit.
    const whole = !wire.binary && first.type !== 'request';
    const piece = whole ? payload : payload.subarray(0, size);
    this.at = piece.length;
    this.credit -= piece.length;
    const more = this.at < payload.length ? { more: true, length: payload.length } : undefined;
    if (first.type === 'subscribe') wire.send(first);
    else if (first.type === 'request') {
      wire.send({ ...first, ...(piece.length > 0 && { body: piece }), ...more });
    } else wire.send({ ...first, ...(payload.length > 0 && { input: piece }), ...more });
    this.pump(size);
  }

  private pump(size: number): void {
    const { wire, payload } = this;
    if (wire === null) return;
    while (this.credit > 0 && this.at < payload.length) {
      const bytes = payload.subarray(this.at, this.at + Math.min(size, this.credit));
      this.at += bytes.length;
      this.credit -= bytes.length;
      const more = this.at < payload.length ? { more: true } : undefined;
      wire.send({ type: 'data', id: this.first.id, bytes, ...more });
    }
  }

  /** Not to be had from this connection: it waits for another. */
  again(): void {
    this.state = 'waiting';
    this.wire = null;
  }

  /** Its caller does not want it any more. */
  cancel(reason: unknown): void {
    if (this.state === 'sent' || this.state === 'answering') {
      this.wire?.send({ type: 'cancel', id: this.first.id });
    }
    this.fail(reason);
    this.wire?.forget(this);
  }

  // ---- in ----------------------------------------------------------------------------------------------------------

  /** A message of its id. False: it is to be sent once more elsewhere, as may be if `leaving`. */
  onMessage(message: ServerMessage, leaving: boolean): boolean {
    if (this.state === 'done') return true;
    switch (message.type) {
      case 'credit':
        this.credit += message.bytes;
        this.pump(this.wire?.binary ? PIECE_BYTES : TEXT_PIECE_BYTES);
        return true;
      case 'error': {
        const problem = JSON.parse(textOf(message.problem)) as Problem;
        // Refused by one that is going away, before anything was done for it.
        const refused = problem.code === 'draining' && problem.attempts === undefined;
        if (leaving && refused && this.state === 'sent') return false;
        this.fail(new SimmerError(problem, message));
        return true;
      }
      case 'data':
        this.piece(message.bytes, message.more === true);
        return true;
      case 'result':
      case 'response':
      case 'accepted':
      case 'execution':
        this.state = 'answering';
        this.receiver.begin(message);
        if (message.type === 'accepted') this.end();
        else this.piece(payloadOf(message), message.more === true);
        return true;
      default:
        return true;
    }
  }

  private piece(bytes: Uint8Array, more: boolean): void {
    const { first, wire } = this;
    if (bytes.length > 0) {
      this.receiver.piece(bytes, () => {
        if (!this.isDone) wire?.send({ type: 'credit', id: first.id, bytes: bytes.length });
      });
    }
    if (!more) this.end();
  }

  private end(): void {
    this.state = 'done';
    this.receiver.end();
  }

  fail(error: unknown): void {
    if (this.isDone) return; // X1
    this.state = 'done';
    this.receiver.fail(error);
  }
}

const encoder = new TextEncoder();

function payloadOf(
  message: Extract<ServerMessage, { type: 'result' | 'response' | 'execution' }>,
): Uint8Array {
  if (message.type === 'response') return message.body ?? new Uint8Array(0);
  const json = message.type === 'result' ? message.output : message.execution;
  return typeof json === 'string' ? encoder.encode(json) : json;
}

/**
 * What goes to one client: messages at the end of the turn, and payloads in pieces, as the client gives credit and as its
 * socket takes them.
 *
 * Invariants:
 *  O1. uWebSockets.js drops what exceeds its backpressure limit, so that limit is off and ours are: no piece is handed to the
 *      socket while more than HIGH_WATER_BYTES wait in it, and one whose messages alone pile up past MAX_UNREAD_BYTES does
 *      not read and is closed.
 *  O2. A payload sends no byte beyond its credit, and payloads take turns piece by piece: none holds up another.
 *  O3. Whoever makes a payload as it is sent is told (`sent`) of what the socket took, and makes no more before.
 */
import type { ProcessCounters } from '../../shared/counters.ts';
import type { Flushable, TurnBatch } from '../turn-batch.ts';
import type { WebSocket } from '../uws.ts';

const HIGH_WATER_BYTES = 262_144;
const MAX_UNREAD_BYTES = 4_194_304;

/** How a payload's messages are made: the first that brings a piece of it, and the others. */
export interface PayloadMessages {
  /** The longest piece: of the first message, and of the others. */
  readonly firstBytes: number;
  readonly pieceBytes: number;
  begin(piece: Uint8Array, more: boolean): Uint8Array | string;
  next(piece: Uint8Array, more: boolean): Uint8Array | string;
  /** `bytes` of it were handed to the socket. */
  sent(bytes: number): void;
  /** All of it was. */
  done(): void;
}

/** A payload on its way out. What it is given is its own from then on. */
export class Payload {
  private pieces: Uint8Array[] = [];
  private readonly messages: PayloadMessages;
  private begun = false;
  private complete = false;
  private credit: number;
  private lastSize = 0;
  /** Bytes given and not yet handed to the socket. */
  heldBytes = 0;

  constructor(messages: PayloadMessages, credit: number) {
    this.messages = messages;
    this.credit = credit;
  }

  add(piece: Uint8Array, last: boolean): void {
    if (piece.length > 0) this.pieces.push(piece);
    this.heldBytes += piece.length;
    this.complete = last;
  }

  grant(bytes: number): void {
    this.credit += bytes;
  }

  /** The next message; undefined while there is no piece, or no credit for one. */
  take(): Uint8Array | string | undefined {
    const head = this.pieces[0];
    // The end of an empty payload, or of one whose last piece has gone, needs no credit.
    if (head === undefined ? !this.complete : this.credit === 0) return undefined;
    const whole = head ?? NOTHING;
    const { firstBytes, pieceBytes } = this.messages;
    const size = Math.min(whole.length, this.credit, this.begun ? pieceBytes : firstBytes);
    const piece = size === whole.length ? whole : whole.subarray(0, size);
    if (size === whole.length) this.pieces.shift();
    else this.pieces[0] = whole.subarray(size);
    this.credit -= size;
    this.heldBytes -= size;
    const more = !this.isThrough;
    const message = this.begun ? this.messages.next(piece, more) : this.messages.begin(piece, more);
    this.begun = true;
    this.lastSize = size;
    return message;
  }

  /** After the message of `take` was handed to the socket. */
  taken(): void {
    this.messages.sent(this.lastSize);
    if (this.isThrough) this.messages.done();
  }

  get isThrough(): boolean {
    return this.complete && this.pieces.length === 0;
  }
}

const NOTHING = new Uint8Array(0);

export class Outbox implements Flushable {
  private readonly ws: WebSocket<unknown>;
  private readonly batch: TurnBatch;
  private readonly binary: boolean;
  private readonly counters: ProcessCounters;
  /** After each write: how many messages it was, and whether too much waits to be read. */
  private readonly onFlushed: (messages: number, unread: boolean) => void;
  private sentMessages = 0;
  private messages: (Uint8Array | string)[] = [];
  /** In the order of their turns. */
  private payloads: Payload[] = [];
  /** Bytes of all payloads. */
  heldBytes = 0;
  private queued = false;
  private closed = false;

  constructor(
    ws: WebSocket<unknown>,
    batch: TurnBatch,
    binary: boolean,
    counters: ProcessCounters,
    onFlushed: (messages: number, unread: boolean) => void,
  ) {
    this.ws = ws;
    this.batch = batch;
    this.binary = binary;
    this.counters = counters;
    this.onFlushed = onFlushed;
  }

  send(message: Uint8Array | string): void {
    this.messages.push(message);
    this.markDirty();
  }

  add(payload: Payload): void {
    this.payloads.push(payload);
    this.markDirty();
  }

  /** What is left of it is not sent. */
  drop(payload: Payload): void {
    const at = this.payloads.indexOf(payload);
    if (at === -1) return;
    this.payloads.splice(at, 1);
    this.hold(-payload.heldBytes);
  }

  /** A payload may have more to send, or the socket more room. */
  markDirty(): void {
    if (this.queued || this.closed) return;
    this.queued = true;
    this.batch.addReply(this);
  }

  /** The next piece of a payload that was added, and whether it is the last. */
  give(payload: Payload, piece: Uint8Array, last: boolean): void {
    payload.add(piece, last);
    this.hold(piece.length);
    this.markDirty();
  }

  get isEmpty(): boolean {
    return this.messages.length === 0 && this.payloads.length === 0;
  }

  flush(): void {
    this.queued = false;
    if (this.closed) return;
    this.ws.cork(this.write);
    const unread = this.ws.getBufferedAmount() > MAX_UNREAD_BYTES; // O1
    this.onFlushed(this.sentMessages, unread);
  }

  private readonly write = (): void => {
    const { ws, binary, messages } = this;
    this.sentMessages = messages.length;
    this.messages = [];
    for (const message of messages) ws.send(message, binary);
    // O2: until none has sent anything for a whole round.
    let waiting = 0;
    while (waiting < this.payloads.length && ws.getBufferedAmount() <= HIGH_WATER_BYTES) {
      const payload = this.payloads.shift() as Payload;
      const before = payload.heldBytes;
      const message = payload.take();
      this.hold(payload.heldBytes - before);
      if (message === undefined) {
        waiting++;
        this.payloads.push(payload);
        continue;
      }
      waiting = 0;
      ws.send(message, binary);
      this.sentMessages++;
      if (!payload.isThrough) this.payloads.push(payload);
      payload.taken();
    }
  };

  private hold(bytes: number): void {
    this.heldBytes += bytes;
    this.counters.addStream('heldBytes', bytes);
  }

  close(): void {
    this.closed = true;
    this.hold(-this.heldBytes);
    this.messages = [];
    this.payloads = [];
  }
}

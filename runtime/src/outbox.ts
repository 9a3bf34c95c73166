/**
 * Bodies on their way out that are too large for one frame, or come in a stream: pieces under credit, a piece of each in
 * turn.
 *
 * Invariants:
 *  O1. A body sends no byte beyond its credit.
 *  O2. Bodies that can send take turns, so one large body holds its neighbours up by one piece.
 *  O3. At most SOCKET_BYTES of pieces wait in the socket, so a pong or a small result waits behind no more than that.
 */
import type { PodFrame } from '@simmer/protocol/frames';
import { INLINE_BODY_BYTES } from '@simmer/protocol/limits';

/** Two pieces: one on its way while the next is made ready. */
const SOCKET_BYTES = 2 * INLINE_BODY_BYTES;

const NOTHING = new Uint8Array(0);

/** What an outbox needs of its connection. */
export interface Wire {
  send(frame: PodFrame): void;
  /** Bytes that the socket has not handed to the kernel. */
  readonly unsentBytes: number;
  /** Calls back once when the socket has sent what it held. */
  onceDrained(callback: () => void): void;
}

type BodyState = 'open' | 'ending' | 'ended' | 'dropped';

/** One body. Made by Outbox.open. */
export class OutBody {
  readonly stream: number;
  private readonly outbox: Outbox;
  private state: BodyState = 'open';
  private credit: number;
  private readonly pieces: Uint8Array[] = [];
  private queued = false;
  private sent: ((ok: boolean) => void)[] = [];

  constructor(outbox: Outbox, stream: number, credit: number) {
    this.outbox = outbox;
    this.stream = stream;
    this.credit = credit;
  }

  /** Resolves when `bytes` have gone; false when nobody wants them any more. Their memory is ours until then. */
  write(bytes: Uint8Array): Promise<boolean> {
    return this.put(bytes, 'open');
  }

  /** As write, and marks the end of the body. */
  end(bytes: Uint8Array = NOTHING): Promise<boolean> {
    return this.put(bytes, 'ending');
  }

  private put(bytes: Uint8Array, next: BodyState): Promise<boolean> {
    if (this.state !== 'open') return Promise.resolve(false);
    this.state = next;
    // An empty piece says nothing unless it ends the body.
    if (bytes.length > 0 || next === 'ending') this.pieces.push(bytes);
    if (this.pieces.length === 0) return Promise.resolve(true);
    const done = new Promise<boolean>((resolve) => this.sent.push(resolve));
    this.offer();
    return done;
  }

  grant(bytes: number): void {
    this.credit += bytes;
    this.offer();
  }

  drop(): void {
    if (this.state === 'ended') return;
    this.state = 'dropped';
    this.pieces.length = 0;
    this.settle(false);
  }

  /** Sends one piece; true when another could follow at once. */
  sendPiece(wire: Wire): boolean {
    this.queued = false;
    const head = this.pieces[0];
    if (head === undefined) return false;
    const size = Math.min(head.length, INLINE_BODY_BYTES, this.credit);
    if (size === head.length) this.pieces.shift();
    else this.pieces[0] = head.subarray(size);
    this.credit -= size;
    const last = this.state === 'ending' && this.pieces.length === 0;
    const bytes = size === head.length ? head : head.subarray(0, size);
    wire.send({ kind: 'chunk', stream: this.stream, bytes, end: last });
    if (last) this.outbox.ended(this);
    if (last) this.state = 'ended';
    if (this.pieces.length === 0) this.settle(true);
    return this.canSend();
  }

  /** O1. The empty piece that ends a body needs no credit. */
  private canSend(): boolean {
    const head = this.pieces[0];
    return head !== undefined && (this.credit > 0 || head.length === 0);
  }

  private offer(): void {
    if (this.queued || !this.canSend()) return;
    this.queued = true;
    this.outbox.queue(this);
  }

  /** For Outbox.pump alone: back to the end of the queue. */
  requeue(): void {
    this.queued = true;
  }

  private settle(ok: boolean): void {
    const sent = this.sent;
    this.sent = [];
    for (const resolve of sent) resolve(ok);
  }
}

/** All such bodies of one connection. */
export class Outbox {
  private readonly wire: Wire;
  private readonly bodies = new Map<number, OutBody>();
  /** O2: who sends next. */
  private ready: OutBody[] = [];
  private waiting = false;

  constructor(wire: Wire) {
    this.wire = wire;
  }

  open(stream: number, credit: number): OutBody {
    const body = new OutBody(this, stream, credit);
    this.bodies.set(stream, body);
    return body;
  }

  /** The control plane has room for more. A stream that is through is none of our business. */
  grant(stream: number, bytes: number): void {
    this.bodies.get(stream)?.grant(bytes);
  }

  drop(stream: number): void {
    this.bodies.get(stream)?.drop();
    this.bodies.delete(stream);
  }

  dropAll(): void {
    for (const body of this.bodies.values()) body.drop();
    this.bodies.clear();
    this.ready = [];
  }

  ended(body: OutBody): void {
    this.bodies.delete(body.stream);
  }

  queue(body: OutBody): void {
    this.ready.push(body);
    this.pump();
  }

  private pump(): void {
    while (this.ready.length > 0 && !this.waiting) {
      if (this.wire.unsentBytes >= SOCKET_BYTES) {
        this.waiting = true; // O3
        this.wire.onceDrained(this.resume);
        return;
      }
      const body = this.ready.shift() as OutBody;
      if (body.sendPiece(this.wire)) {
        body.requeue();
        this.ready.push(body);
      }
    }
  }

  private readonly resume = (): void => {
    this.waiting = false;
    this.pump();
  };
}

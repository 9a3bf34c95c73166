/**
 * An HTTP/1.1 client that is in charge of each byte: what it sends and when, whether it reads, and what came that nobody
 * asked for.
 */
import { connect, type Socket } from 'node:net';

export interface Answer {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
  /** False: the connection ended before the answer did. */
  readonly complete: boolean;
}

/** `closed`: without a byte of an answer. `silent`: nothing (more) came in time. */
export type Reading =
  | { readonly kind: 'answer'; readonly answer: Answer }
  | { readonly kind: 'closed' }
  | { readonly kind: 'silent' };

export class Wire {
  private readonly socket: Socket;
  private buffer: Buffer = Buffer.alloc(0);
  private pieces: Buffer[] = [];
  private ended = false;
  private wake: () => void = () => {};
  /** When it last had a whole answer, on the clock of `performance.now`. */
  lastUsed = performance.now();

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (piece: Buffer) => {
      this.pieces.push(piece);
      this.wake();
    });
    const end = () => {
      this.ended = true;
      this.wake();
    };
    socket.on('error', end);
    socket.on('end', end);
    socket.on('close', end);
  }

  static open(port: number): Promise<Wire> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, noDelay: true });
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new Wire(socket));
      });
    });
  }

  get isClosed(): boolean {
    return this.ended;
  }

  /** Bytes that came and belong to no answer that was asked for. */
  get unasked(): number {
    return this.buffer.length + this.pieces.reduce((sum, piece) => sum + piece.length, 0);
  }

  send(data: Uint8Array | string): void {
    this.socket.write(data);
  }

  /** Reads no more: what comes fills the kernel's buffers and then the server's. */
  freeze(): void {
    this.socket.pause();
  }

  /** Hangs up, with a reset. */
  hangUp(): void {
    this.socket.resetAndDestroy();
  }

  close(): void {
    this.socket.destroy();
  }

  /** Waits for bytes; false when there will be none in time. */
  private async more(until: number): Promise<boolean> {
    if (this.pieces.length === 0 && !this.ended) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(0, until - performance.now()));
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.wake = () => {};
    }
    return this.pieces.length > 0;
  }

  private gather(): void {
    if (this.pieces.length === 0) return;
    this.buffer = Buffer.concat([this.buffer, ...this.pieces]);
    this.pieces = [];
  }

  /** Whether at least a byte of an answer came within this time. */
  async begins(withinMs: number): Promise<boolean> {
    return this.buffer.length > 0 || (await this.more(performance.now() + withinMs));
  }

  /** Reads one answer. `sipMs`: pauses this long after each piece. */
  async read(withinMs: number, sipMs = 0): Promise<Reading> {
    const until = performance.now() + withinMs;
    for (;;) {
      this.gather();
      const answer = parse(this.buffer, this.ended);
      if (answer !== undefined) {
        this.buffer = this.buffer.subarray(answer.length);
        this.lastUsed = performance.now();
        return { kind: 'answer', answer };
      }
      if (this.ended) return { kind: 'closed' };
      // Where it ends, what came may be an answer that was cut short.
      if (!(await this.more(until)) && !this.ended) return { kind: 'silent' };
      if (sipMs > 0) {
        this.socket.pause();
        await new Promise((resolve) => setTimeout(resolve, sipMs));
        this.socket.resume();
      }
    }
  }
}

/** The answer at the start of these bytes, and their number; undefined while more is needed. */
function parse(bytes: Buffer, ended: boolean): (Answer & { length: number }) | undefined {
  const endOfHead = bytes.indexOf('\r\n\r\n');
  if (endOfHead === -1) return undefined;
  const [statusLine = '', ...lines] = bytes.toString('latin1', 0, endOfHead).split('\r\n');
  const headers = new Map(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
    }),
  );
  const status = Number(statusLine.split(' ')[1]);
  const start = endOfHead + 4;
  const body =
    headers.get('transfer-encoding') === 'chunked'
      ? chunked(bytes, start)
      : plain(bytes, start, Number(headers.get('content-length') ?? 0));
  if (!body.complete && !ended) return undefined;
  return { status, headers, ...body };
}

interface Body {
  readonly body: Buffer;
  readonly complete: boolean;
  /** Where it ends. */
  readonly length: number;
}

function plain(bytes: Buffer, start: number, size: number): Body {
  const body = bytes.subarray(start, start + size);
  return { body, complete: body.length === size, length: start + body.length };
}

function chunked(bytes: Buffer, start: number): Body {
  const parts: Buffer[] = [];
  for (let at = start; ; ) {
    const line = bytes.indexOf('\r\n', at);
    if (line === -1) break;
    const size = Number.parseInt(bytes.toString('latin1', at, line), 16);
    const from = line + 2;
    if (bytes.length < from + size + 2) break;
    at = from + size + 2;
    if (size === 0) return { body: Buffer.concat(parts), complete: true, length: at };
    parts.push(bytes.subarray(from, from + size));
  }
  return { body: Buffer.concat(parts), complete: false, length: bytes.length };
}

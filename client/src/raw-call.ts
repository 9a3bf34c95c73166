/** A raw call's answer as it comes: its head, and its body, of which no more is asked for than is read. */
import type { ServerMessage } from '@simmer/protocol/client-messages';
import type { Receiver } from './exchange.ts';

export interface ResponseHead {
  readonly status: number;
  readonly headers: Headers;
  readonly executionId: string;
  readonly traceId: string | undefined;
  /** The answer to an earlier request of the same idempotency key. */
  readonly replayed: boolean;
}

interface Piece {
  readonly bytes: Uint8Array;
  readonly taken: () => void;
}

export class RawCall implements Receiver {
  /** Rejects as the call fails, if it does before its answer begins. */
  readonly head: Promise<ResponseHead>;
  private settle!: {
    readonly resolve: (head: ResponseHead) => void;
    readonly reject: (error: unknown) => void;
  };
  private readonly pieces: Piece[] = [];
  private ended = false;
  private failure: { readonly error: unknown } | undefined;
  private wake: (() => void) | undefined;
  private readonly onLeft: () => void;

  /** `onLeft`: its reader wants no more. */
  constructor(onLeft: () => void) {
    this.onLeft = onLeft;
    this.head = new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
    });
    // Whoever reads the body alone is told of the failure there.
    this.head.catch(() => {});
  }

  /** The body, once. A reader that leaves early cancels the call. */
  get body(): AsyncIterableIterator<Uint8Array> {
    return this.read();
  }

  async bytes(): Promise<Uint8Array> {
    const all: Uint8Array[] = [];
    for await (const piece of this.body) all.push(piece);
    return concat(all);
  }

  async text(): Promise<string> {
    return new TextDecoder().decode(await this.bytes());
  }

  async json<T = unknown>(): Promise<T> {
    return JSON.parse(await this.text()) as T;
  }

  private async *read(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        const piece = this.pieces.shift();
        if (piece !== undefined) {
          yield piece.bytes;
          // Its reader came back for more.
          piece.taken();
        } else if (this.failure !== undefined) throw this.failure.error;
        else if (this.ended) return;
        else {
          await new Promise<void>((resolve) => {
            this.wake = resolve;
          });
        }
      }
    } finally {
      if (!this.ended && this.failure === undefined) this.onLeft();
    }
  }

  // ---- Receiver ----------------------------------------------------------------------------------------------------

  begin(message: ServerMessage): void {
    if (message.type !== 'response') return;
    const { status, executionId, traceId, replayed = false } = message;
    const headers = new Headers(
      message.headers.map(([name, value]): [string, string] => [name, value]),
    );
    this.settle.resolve({ status, headers, executionId, traceId, replayed });
  }

  piece(bytes: Uint8Array, taken: () => void): void {
    this.pieces.push({ bytes, taken });
    this.wake?.();
  }

  end(): void {
    this.ended = true;
    this.wake?.();
  }

  fail(error: unknown): void {
    this.failure = { error };
    this.settle.reject(error);
    this.wake?.();
  }
}

export function concat(pieces: readonly Uint8Array[]): Uint8Array {
  const [only] = pieces;
  if (pieces.length === 1 && only !== undefined) return only;
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/**
 * A request body that was too large for its `invoke`: the rest comes as `input`, under credit.
 *
 *   waiting ──collect()──▶ collecting ──┐ end
 *      └─────stream()────▶ streaming ───┴───▶ done
 *
 * Invariants:
 *  B1. What the control plane may send is what was granted; more closes the connection. So a body that nobody reads
 *      holds one window at most, and one that is collected holds `maxBytes` at most.
 *  B2. Bytes are granted anew once they are consumed: when they arrive while collecting, when the reader takes them while
 *      streaming.
 */
type Waiting = {
  readonly resolve: (body: Buffer) => void;
  readonly reject: (reason: Error) => void;
};

type State =
  | { readonly kind: 'waiting' }
  | ({ readonly kind: 'collecting' } & Waiting)
  | { readonly kind: 'streaming'; readonly controller: ReadableStreamDefaultController<Uint8Array> }
  | { readonly kind: 'failed'; readonly reason: Error }
  | { readonly kind: 'done' };

export class RequestBody {
  private state: State = { kind: 'waiting' };
  private pieces: Uint8Array[] = [];
  private ended = false;
  private received: number;
  private granted: number;
  /** Wakes a reader that waits for the next piece. */
  private wake: (() => void) | undefined = undefined;
  private readonly maxBytes: number;
  private readonly grant: (bytes: number) => void;

  /** `windowBytes`: the first credit, of which `first` has used its part. */
  constructor(
    first: Uint8Array,
    windowBytes: number,
    maxBytes: number,
    grant: (bytes: number) => void,
  ) {
    this.received = first.length;
    this.granted = Math.max(windowBytes, first.length);
    this.maxBytes = maxBytes;
    this.grant = grant;
    if (first.length > 0) this.pieces.push(first);
  }

  /** A piece has come. False: the control plane has broken its bounds (B1). */
  push(bytes: Uint8Array, end: boolean): boolean {
    if (this.ended) return false;
    this.received += bytes.length;
    if (this.received > this.granted || this.received > this.maxBytes) return false;
    if (this.state.kind === 'failed') return true;
    if (bytes.length > 0) this.pieces.push(bytes);
    this.ended = end;
    if (this.state.kind === 'collecting') {
      this.consumed(bytes.length);
      if (end) this.state.resolve(this.finish());
    } else {
      this.wake?.();
    }
    return true;
  }

  /** The whole body. Rejects when the attempt is aborted first. */
  collect(): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.state.kind === 'failed') return reject(this.state.reason);
      this.state = { kind: 'collecting', resolve, reject };
      this.consumed(this.pieces.reduce((sum, piece) => sum + piece.length, 0));
      if (this.ended) resolve(this.finish());
    });
  }

  /** The body as it comes; read ahead by nothing, so that the reader's pace is the sender's. */
  stream(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          if (this.state.kind === 'failed') controller.error(this.state.reason);
          else this.state = { kind: 'streaming', controller };
        },
        pull: (controller) => this.pull(controller),
        cancel: () => this.discard(),
      },
      { highWaterMark: 0 },
    );
  }

  /** The attempt was aborted: whoever waits is told. */
  fail(reason: Error): void {
    const { state } = this;
    if (state.kind === 'failed' || state.kind === 'done') return;
    this.state = { kind: 'failed', reason };
    this.pieces = [];
    if (state.kind === 'collecting') state.reject(reason);
    if (state.kind === 'streaming') state.controller.error(reason);
    this.wake?.();
  }

  /** Nobody wants the rest. */
  discard(): void {
    this.fail(new Error('The invocation has ended'));
  }

  private async pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    while (this.state.kind === 'streaming') {
      const piece = this.pieces.shift();
      if (piece !== undefined) {
        controller.enqueue(piece);
        this.consumed(piece.length);
        return;
      }
      if (this.ended) {
        this.state = { kind: 'done' };
        controller.close();
        return;
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  /** B2 */
  private consumed(bytes: number): void {
    if (this.ended || bytes === 0) return;
    this.granted += bytes;
    this.grant(bytes);
  }

  private finish(): Buffer {
    const pieces = this.pieces;
    this.pieces = [];
    this.state = { kind: 'done' };
    return Buffer.concat(pieces);
  }
}

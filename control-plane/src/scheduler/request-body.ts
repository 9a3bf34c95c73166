/**
 * A request's body that arrives in several pieces. uWebSockets.js neuters each chunk when its callback returns, so it is copied once:
 * into a buffer of the declared length, or as parts where none was declared.
 */
export class RequestBody {
  private readonly declared: number | undefined;
  private whole: Buffer | null = null;
  private parts: Buffer[] | null = null;
  private received = 0;

  /** `declared`: Content-Length, or undefined with chunked encoding. */
  constructor(declared: number | undefined) {
    this.declared = declared;
  }

  get length(): number {
    return this.received;
  }

  /** Copies the chunk; the whole body once `isLast`. */
  add(chunk: ArrayBuffer, isLast: boolean): Uint8Array | undefined {
    const bytes = new Uint8Array(chunk);
    if (this.declared !== undefined) {
      this.whole ??= Buffer.allocUnsafeSlow(this.declared);
      this.whole.set(bytes, this.received);
    } else if (bytes.length > 0) {
      this.parts ??= [];
      this.parts.push(Buffer.from(bytes));
    }
    this.received += bytes.length;
    if (!isLast) return undefined;
    return this.whole ?? Buffer.concat(this.parts ?? []);
  }
}

/** A body that came in one piece; small ones share a slab. */
export function copyOf(chunk: ArrayBuffer): Uint8Array {
  const body = Buffer.allocUnsafe(chunk.byteLength);
  body.set(new Uint8Array(chunk));
  return body;
}

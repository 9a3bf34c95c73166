import type { HttpResponse } from './uws.ts';

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

/** Beyond what has come: a system call for each piece would cost more than what it holds. */
const GROWTH_BYTES = 1_048_576;

/** A body that came in one piece; small ones share a slab. */
export function copyOf(chunk: ArrayBuffer): Uint8Array {
  const body = Buffer.allocUnsafe(chunk.byteLength);
  body.set(new Uint8Array(chunk));
  return body;
}

/** ES2024, which Node has and the types of ES2023 do not. */
const Growable = SharedArrayBuffer as unknown as new (
  bytes: number,
  options: { maxByteLength: number },
) => SharedArrayBuffer & { grow(bytes: number): void };

/**
 * A large body that goes to the other thread: straight into memory that both share, which grows as it comes, so that it is neither joined
 * nor copied here. What a client announces and does not send costs nothing.
 */
export function collectShared(
  res: HttpResponse,
  declared: number,
  max: number,
  done: (body: Uint8Array | undefined) => void,
): void {
  let memory: InstanceType<typeof Growable> | undefined;
  let length = 0;
  const take = (chunk: ArrayBuffer, isLast: boolean) => {
    memory ??= new Growable(0, { maxByteLength: max });
    const end = length + chunk.byteLength;
    if (end > memory.byteLength) memory.grow(Math.min(max, end + GROWTH_BYTES));
    new Uint8Array(memory, length, chunk.byteLength).set(new Uint8Array(chunk));
    length = end;
    return isLast ? new Uint8Array(memory, 0, length) : undefined;
  };
  takeWithin(res, declared, max, take, done);
}

/** Calls back once: with the whole body, or undefined where it is over `max`; never where the client goes before. */
export function collect(
  res: HttpResponse,
  declared: number,
  max: number,
  done: (body: Uint8Array | undefined) => void,
): void {
  const body = new RequestBody(undefined);
  takeWithin(res, declared, max, (chunk, isLast) => body.add(chunk, isLast), done);
}

/** Hands on what comes, within `max`; `take` gives the whole with its last piece. */
function takeWithin(
  res: HttpResponse,
  declared: number,
  max: number,
  take: (chunk: ArrayBuffer, isLast: boolean) => Uint8Array | undefined,
  done: (body: Uint8Array | undefined) => void,
): void {
  // What is read no further is dropped by uWebSockets.js once the answer is there.
  if (declared > max) {
    done(undefined);
    return;
  }
  let length = 0;
  let finished = false;
  res.onData((chunk, isLast) => {
    if (finished) return;
    length += chunk.byteLength;
    finished = isLast || length > max;
    if (length > max) {
      done(undefined);
      return;
    }
    const whole = take(chunk, isLast);
    if (whole !== undefined) done(whole);
  });
}

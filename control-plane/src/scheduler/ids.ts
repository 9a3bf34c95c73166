/** Ids that the warm path makes: cheap, and unique beyond this process. */
import { randomFillSync } from 'node:crypto';

/** Made this many at a time: a call into OpenSSL for each would cost more than the rest of an invocation's ids. */
const TRACES_PER_BATCH = 256;
const TRACE_ID_BYTES = 16;
const SPAN_ID_BYTES = 8;
/** 00-<trace id>-<span id>-01 */
const TRACEPARENT_CHARS = 55;

let traces = '';
let nextTrace = 0;
/** Of the trace that was drawn last: its serial number, signed and of 32 bits, and its text. */
let lastSerial = -1;
let lastText = '';

function randomHex(bytes: number): string {
  return randomFillSync(Buffer.allocUnsafe(bytes)).toString('hex');
}

/** Where the digits of the two ids stand in a traceparent; the other characters of a batch never change. */
const TRACE_ID_AT = 3;
const SPAN_ID_AT = TRACE_ID_AT + TRACE_ID_BYTES * 2 + 1;
const HEX_DIGITS = Buffer.from('0123456789abcdef');
const BYTES_OF_BOTH = TRACE_ID_BYTES + SPAN_ID_BYTES;
/** The bytes of the traces drawn last, by serial number, for `copyTrace`. A power of two; 48 KiB stay in the processor's cache. */
const TRACES_KEPT = 2_048;
const keptMemory = new ArrayBuffer(TRACES_KEPT * BYTES_OF_BOTH);
const keptInts = new Int32Array(keptMemory);
const BATCH_BYTES = TRACES_PER_BATCH * BYTES_OF_BOTH;
let random = Buffer.from(keptMemory, 0, BATCH_BYTES);
const drawn = Buffer.from(
  `00-${'0'.repeat(TRACE_ID_BYTES * 2)}-${'0'.repeat(SPAN_ID_BYTES * 2)}-01`.repeat(
    TRACES_PER_BATCH,
  ),
);

function drawTraces(): void {
  const first = (lastSerial + 1) & (TRACES_KEPT - 1);
  random = Buffer.from(keptMemory, first * BYTES_OF_BOTH, BATCH_BYTES);
  randomFillSync(random);
  let from = 0;
  for (let at = 0; at < drawn.length; at += TRACEPARENT_CHARS) {
    from = writeHex(from, TRACE_ID_BYTES, at + TRACE_ID_AT);
    from = writeHex(from, SPAN_ID_BYTES, at + SPAN_ID_AT);
  }
  traces = drawn.toString('latin1');
  nextTrace = 0;
}

/** Writes random bytes as digits; returns where the next begin. */
function writeHex(from: number, bytes: number, at: number): number {
  for (let i = 0; i < bytes; i++) {
    const byte = random[from + i] as number;
    drawn[at + 2 * i] = HEX_DIGITS[byte >>> 4] as number;
    drawn[at + 2 * i + 1] = HEX_DIGITS[byte & 0xf] as number;
  }
  return from + bytes;
}

/** A W3C trace context header for a request that brought none; sampled, because we know of no one who decided otherwise. */
export function newTraceparent(): string {
  if (nextTrace >= traces.length) drawTraces();
  const from = nextTrace;
  nextTrace += TRACEPARENT_CHARS;
  lastSerial = (lastSerial + 1) | 0;
  lastText = traces.slice(from, nextTrace);
  return lastText;
}

const NO_SERIAL = -1;

/** Tells `copyTrace` which it is, where it was the last to be drawn: to compare with it costs nothing, it is the same string. */
export function serialOfTrace(traceparent: string): number {
  return traceparent === lastText ? lastSerial : NO_SERIAL;
}

/**
 * Puts a trace id into four integers, as its bytes are. False where it was not drawn here, or too long ago. (To read its digits
 * from the text costs 200 ns: V8 goes through the batch that it was cut from for each.)
 */
export function copyTrace(serial: number, to: Int32Array, at: number): boolean {
  const age = (lastSerial - serial) | 0;
  if (serial === NO_SERIAL || age < 0 || age >= TRACES_KEPT - TRACES_PER_BATCH) return false;
  const from = (serial & (TRACES_KEPT - 1)) * (BYTES_OF_BOTH / 4);
  to[at] = keptInts[from] as number;
  to[at + 1] = keptInts[from + 1] as number;
  to[at + 2] = keptInts[from + 2] as number;
  to[at + 3] = keptInts[from + 3] as number;
  return true;
}

const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}/;
const TRACE_ID = /^(?!0{32}$)[0-9a-f]{32}$/;

/**
 * The request's trace context: its `traceparent` where that is valid, else one made of its `x-trace-id` (32 hex
 * digits), else a new one. Version and flags of others are passed on as they came (W3C Trace Context 4.3).
 */
export function traceparentOf(traceparent: string, traceId: string): string {
  if (traceparent.length >= 55 && TRACEPARENT.test(traceparent)) return traceparent;
  if (traceId.length === 32 && TRACE_ID.test(traceId)) {
    return `00-${traceId}-${randomHex(SPAN_ID_BYTES)}-01`;
  }
  return newTraceparent();
}

export function traceIdOf(traceparent: string): string {
  return traceparent.slice(3, 35);
}

/** Execution ids carry the boot id: an id of an earlier process can be told from one that never was. */
export class ExecutionIds {
  private readonly prefix: string;
  private given = 0;
  constructor(bootId: string) {
    this.prefix = `${bootId}-`;
  }
  next(): string {
    this.given++;
    return this.prefix + this.given;
  }

  /** The number in the last. */
  get last(): number {
    return this.given;
  }

  idOf(number: number): string {
    return this.prefix + number;
  }

  /** Whether it is one of those. */
  mayHaveMade(id: string): boolean {
    const number = id.startsWith(this.prefix) ? sequenceOf(id) : Number.NaN;
    return number > 0 && number <= this.given && id === this.idOf(number);
  }
}

/** 12 characters of a-z and 0-9: fits a pod name, and two processes sharing one are not to be expected. */
export function newBootId(): string {
  let id = '';
  while (id.length < 12) id += BigInt(`0x${randomHex(8)}`).toString(36);
  return id.slice(0, 12);
}

/** The number in an id: those of one process are counted. NaN for what is none. */
export function sequenceOf(id: string): number {
  return Number(id.slice(id.lastIndexOf('-') + 1));
}

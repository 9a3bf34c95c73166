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

function randomHex(bytes: number): string {
  return randomFillSync(Buffer.allocUnsafe(bytes)).toString('hex');
}

/** Where the digits of the two ids stand in a traceparent; the other characters of a batch never change. */
const TRACE_ID_AT = 3;
const SPAN_ID_AT = TRACE_ID_AT + TRACE_ID_BYTES * 2 + 1;
const HEX_DIGITS = Buffer.from('0123456789abcdef');
const random = Buffer.alloc(TRACES_PER_BATCH * (TRACE_ID_BYTES + SPAN_ID_BYTES));
const drawn = Buffer.from(
  `00-${'0'.repeat(TRACE_ID_BYTES * 2)}-${'0'.repeat(SPAN_ID_BYTES * 2)}-01`.repeat(
    TRACES_PER_BATCH,
  ),
);

function drawTraces(): void {
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
  return traces.slice(from, nextTrace);
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
  private last = 0;
  constructor(bootId: string) {
    this.prefix = `${bootId}-`;
  }
  next(): string {
    this.last++;
    return this.prefix + this.last;
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

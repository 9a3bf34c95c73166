/** Ids that the warm path makes: cheap, and unique beyond this process. */
import { randomFillSync } from 'node:crypto';

/** Random bytes are drawn this many at a time: a call into OpenSSL each would cost more than the rest of the id. */
const POOL_BYTES = 4_096;
const TRACE_ID_BYTES = 16;
const SPAN_ID_BYTES = 8;

let hex = '';
let position = 0;

function randomHex(bytes: number): string {
  if (position + bytes * 2 > hex.length) {
    hex = randomFillSync(Buffer.allocUnsafe(POOL_BYTES)).toString('hex');
    position = 0;
  }
  const start = position;
  position += bytes * 2;
  return hex.slice(start, position);
}

/** A W3C trace context header for a request that brought none; sampled, because we know of no one who decided otherwise. */
export function newTraceparent(): string {
  return `00-${randomHex(TRACE_ID_BYTES)}-${randomHex(SPAN_ID_BYTES)}-01`;
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
    return this.prefix + this.last.toString(36);
  }
}

/** 12 characters of a-z and 0-9: fits a pod name, and two processes sharing one are not to be expected. */
export function newBootId(): string {
  let id = '';
  while (id.length < 12) id += BigInt(`0x${randomHex(8)}`).toString(36);
  return id.slice(0, 12);
}

/**
 * An invocation's answer over HTTP. Gathers what is to be written and writes it corked at the end of the turn.
 *
 *   waiting ──▶ whole ──▶ done            one write: status, headers, body
 *      └──▶ headed ──▶ streaming ──▶ done    a raw response whose body comes in pieces
 *
 * Invariants:
 *  H1. `res` is never touched once the client has gone (`gone`) or the response has ended: uWebSockets.js throws.
 *  H2. Credit for a piece is granted when the client's socket took it, so a slow reader slows its own handler and holds
 *      at most one window of memory.
 *  H3. Every answer carries X-Execution-Id, and X-Trace-Id where there is a trace.
 *  H4. While the house closes connections, each answer says so. One with a body ends its own as well; for the others that
 *      would make uWebSockets.js write a length, or write into a stream.
 */
import { STATUS_CODES } from 'node:http';
import type { ErrorCode } from '@simmer/protocol/errors';
import { problem } from '@simmer/protocol/errors';
import type { HeaderPairs } from '@simmer/protocol/frames';
import type { Refused } from './access/access.ts';
import { HOP_BY_HOP } from './hop-by-hop.ts';
import type { KeyedClient } from './idempotency/answers.ts';
import { traceIdOf } from './ids.ts';
import { letGo } from './let-go.ts';
import { type Answered, errorsOf } from './reply.ts';
import type { Flushable, TurnBatch } from './turn-batch.ts';
import type { HttpResponse } from './uws.ts';

const STATUS_LINES: ReadonlyMap<number, string> = new Map(
  Object.entries(STATUS_CODES).map(([code, text]) => [Number(code), `${code} ${text}`]),
);
export function statusLine(status: number): string {
  return STATUS_LINES.get(status) ?? `${status} Status ${status}`;
}

/** Ours, or of one hop only: a handler's are not passed on. */
const NOT_PASSED: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  'content-length',
  'date',
  'proxy-authenticate',
  'idempotent-replayed',
  'x-execution-id',
  'x-trace-id',
]);

const JSON_TYPE = 'application/json';
// The answer's bytes around its id and its output, which is put in as the pod wrote it.
const BEFORE_ID = Buffer.from('{"executionId":"');
const AFTER_ID = Buffer.from('","status":"succeeded","output":');
const AFTER_OUTPUT = 0x7d; // }

/** RFC 6750 */
const CHALLENGE: HeaderPairs = [['www-authenticate', 'Bearer realm="simmer"']];

const NO_HEADERS: HeaderPairs = [];
const NO_PIECES: readonly Uint8Array[] = [];

// The reply whose cork callback runs: one function for all saves a closure each. Corking is synchronous.
let flushing: HttpReply;
const writeFlushing = (): void => flushing.write();

/** Whether clients are to come back on new connections. */
export interface House {
  readonly closesConnections: boolean;
}

export class HttpReply implements KeyedClient, Flushable {
  private readonly res: HttpResponse;
  private readonly batch: TurnBatch;
  private readonly isHead: boolean;
  private readonly house: House;
  private executionId = '';
  private traceId = '';
  private state: 'waiting' | 'whole' | 'headed' | 'streaming' | 'done' = 'waiting';
  private gone = false;
  private queued = false;
  private status = 200;
  private headers: HeaderPairs = NO_HEADERS;
  private contentType = '';
  /** Further header lines of ours, each behind its CRLF. */
  private lines = '';
  private isShared = false;
  private body: Uint8Array | string = '';
  private retryAfter = 0;
  private replayed = false;
  /** Pieces not yet written; their grants; whether the end follows them. */
  private pieces: readonly Uint8Array[] = NO_PIECES;
  private ungranted = 0;
  private granted: ((bytes: number) => void) | null = null;
  private blocked = false;
  private ending = false;

  constructor(res: HttpResponse, batch: TurnBatch, isHead: boolean, house: House) {
    this.res = res;
    this.batch = batch;
    this.isHead = isHead;
    this.house = house;
  }

  /** The client's socket closed (H1). */
  onAborted(): void {
    this.gone = true;
    this.pieces = NO_PIECES;
  }

  // ---- Reply -------------------------------------------------------------------------------------------------------

  value(invocation: Answered, pieces: readonly Uint8Array[] | null, last: Uint8Array): void {
    const { id } = invocation;
    const start = BEFORE_ID.length + id.length + AFTER_ID.length;
    const body = Buffer.allocUnsafe(start + invocation.partBytes + last.length + 1);
    body.set(BEFORE_ID);
    let at = BEFORE_ID.length;
    for (let i = 0; i < id.length; i++) body[at++] = id.charCodeAt(i);
    body.set(AFTER_ID, at);
    at = start;
    for (const piece of pieces ?? NO_PIECES) {
      body.set(piece, at);
      at += piece.length;
    }
    body.set(last, at);
    body[at + last.length] = AFTER_OUTPUT;
    this.contentType = JSON_TYPE;
    this.whole(invocation, 200, body);
  }

  head(invocation: Answered, status: number, headers: HeaderPairs): void {
    this.identify(invocation);
    this.status = status;
    this.headers = headers;
    this.state = 'headed';
  }

  chunk(invocation: Answered, bytes: Uint8Array, granted: (bytes: number) => void): void {
    if (this.state === 'waiting') this.head(invocation, 200, []);
    this.granted = granted;
    this.pieces = [...this.pieces, new Uint8Array(bytes)];
    this.markDirty();
  }

  end(invocation: Answered, body: Uint8Array | null): void {
    if (this.state === 'streaming' || this.pieces.length > 0) {
      if (body !== null && body.length > 0) this.pieces = [...this.pieces, new Uint8Array(body)];
      this.ending = true;
      this.markDirty();
    } else {
      // Not slice: of a Buffer that is a view, and what is written here is let go of (letGo), another's answer with it.
      this.whole(invocation, this.status, body === null ? '' : new Uint8Array(body));
    }
  }

  fail(invocation: Answered, code: ErrorCode, detail: string, retryAfterSeconds = 0): void {
    this.failWith(invocation.id, invocation.traceparent, code, detail, {
      attempts: invocation.attempts,
      retryAfterSeconds,
      faults: invocation.faults,
    });
  }

  abort(_invocation: Answered): void {
    if (this.gone || this.state === 'done') return;
    this.state = 'done';
    this.gone = true;
    this.res.close();
  }

  markReplayed(): void {
    this.replayed = true;
  }

  /** Headers for whatever it will answer. Values are ours: nothing of a stranger's without a check. */
  addHeaders(headers: HeaderPairs): void {
    for (const [name, value] of headers) this.lines += `\r\n${name}: ${value}`;
  }

  accepted(id: string, traceparent: string, status: string): void {
    const body = `${JSON.stringify({ executionId: id, status })}\n`;
    this.answer(id, traceparent, 202, JSON_TYPE, body, [['location', `/v1/executions/${id}`]]);
  }

  /** Headers that say which pages may read it. A handler's own are not passed on: two of them a browser takes for none. */
  shareWith(headers: HeaderPairs): void {
    this.addHeaders(headers);
    this.isShared = true;
  }

  // ---- answers without an invocation -------------------------------------------------------------------------------

  /** Why who calls is not let in, or the request not taken. */
  refuse(executionId: string, traceparent: string, no: Refused): void {
    this.addHeaders(no.headers);
    const { retryAfterSeconds } = no;
    this.failWith(executionId, traceparent, no.code, no.detail, { retryAfterSeconds });
  }

  /** Problem details, for what was refused before it became an invocation as well. */
  failWith(
    executionId: string,
    traceparent: string,
    code: ErrorCode,
    detail: string,
    more: {
      attempts?: number;
      retryAfterSeconds?: number;
      headers?: HeaderPairs;
      faults?: Answered['faults'];
    } = {},
  ): void {
    const attempts = more.attempts ?? 0;
    const p = problem(code, detail, {
      executionId,
      ...(attempts > 0 && { attempts }),
      ...errorsOf(more.faults),
    });
    this.retryAfter = more.retryAfterSeconds ?? 0;
    if (code === 'unauthenticated') this.addHeaders(CHALLENGE);
    const body = JSON.stringify(p);
    const type = 'application/problem+json';
    this.answer(executionId, traceparent, p.status, type, body, more.headers);
  }

  answer(
    executionId: string,
    traceparent: string,
    status: number,
    contentType: string,
    body: Uint8Array | string,
    headers: HeaderPairs = NO_HEADERS,
  ): void {
    this.headers = headers;
    this.executionId = executionId;
    this.traceId = traceparent === '' ? '' : traceIdOf(traceparent);
    this.contentType = contentType;
    this.finish(status, body);
  }

  private whole(invocation: Answered, status: number, body: Uint8Array | string): void {
    this.identify(invocation);
    this.finish(status, body);
  }

  private finish(status: number, body: Uint8Array | string): void {
    this.status = status;
    this.body = body;
    this.state = 'whole';
    this.markDirty();
  }

  private identify(invocation: Answered): void {
    this.executionId = invocation.id;
    this.traceId = traceIdOf(invocation.traceparent);
  }

  // ---- writing -----------------------------------------------------------------------------------------------------

  private markDirty(): void {
    if (this.queued || this.gone) return;
    this.queued = true;
    this.batch.addReply(this);
  }

  flush(): void {
    this.queued = false;
    if (this.gone || this.state === 'done') return;
    flushing = this;
    this.res.cork(writeFlushing);
    if (this.ungranted > 0 && !this.blocked) this.grant();
  }

  /** Called corked. */
  write(): void {
    const { body, pieces } = this;
    if (this.state === 'whole') this.writeWhole();
    else this.writePieces();
    // uWebSockets.js has written them, or has copies.
    letGo(body);
    pieces.forEach(letGo);
  }

  private writeWhole(): void {
    const { res, body, status } = this;
    const close = this.house.closesConnections; // H4
    const bodiless = this.isHead || status === 204 || status === 304;
    this.state = 'done';
    this.writeHead(close && bodiless);
    // Empty: it was not made for a HEAD, which tells nothing of its length.
    if (this.isHead) this.endHead(this.declaredLength() ?? (body.length || undefined));
    else if (bodiless) res.endWithoutBody();
    else res.end(body, close);
    this.body = '';
  }

  private writePieces(): void {
    const { res, pieces } = this;
    if (this.state === 'headed') {
      this.state = 'streaming';
      this.writeHead(this.house.closesConnections);
      res.onWritable(() => this.onWritable());
    }
    this.pieces = NO_PIECES;
    if (!this.isHead) {
      for (const piece of pieces) {
        if (!res.write(piece)) this.blocked = true;
      }
    }
    for (const piece of pieces) this.ungranted += piece.length;
    if (this.ending) {
      this.state = 'done';
      if (this.isHead) this.endHead(this.declaredLength());
      else res.end();
    }
  }

  private onWritable(): boolean {
    this.blocked = false;
    if (!this.gone) this.grant();
    return true;
  }

  /** H2 */
  private grant(): void {
    const bytes = this.ungranted;
    if (bytes === 0) return;
    this.ungranted = 0;
    this.granted?.(bytes);
  }

  /**
   * Each call into uWebSockets.js costs about a quarter of a microsecond, so our own headers go in one: the value carries
   * the further lines. What stands in it is ours (ids, a trace id that was checked, a fixed type, a number).
   */
  private writeHead(close: boolean): void {
    const { res } = this;
    if (this.status !== 200) res.writeStatus(statusLine(this.status));
    for (const [name, value] of this.headers) {
      const key = name.toLowerCase();
      if (NOT_PASSED.has(key) || (this.isShared && key.startsWith('access-control-'))) continue;
      res.writeHeader(name, value);
    }
    let lines = this.executionId;
    if (this.traceId !== '') lines += `\r\nx-trace-id: ${this.traceId}`;
    if (this.contentType !== '') lines += `\r\ncontent-type: ${this.contentType}`;
    if (this.retryAfter > 0) lines += `\r\nretry-after: ${this.retryAfter}`;
    if (this.replayed) lines += '\r\nidempotent-replayed: true';
    if (this.lines !== '') lines += this.lines;
    if (close) lines += '\r\nconnection: close';
    res.writeHeader('x-execution-id', lines);
  }

  /**
   * The length goes as a header of ours: told to `endWithoutBody`, uWebSockets.js waits for that many bytes and takes the
   * connection's next request for a pipelined one, which it cuts off.
   */
  private endHead(length: number | undefined): void {
    if (length !== undefined) this.res.writeHeader('content-length', String(length));
    this.res.endWithoutBody();
  }

  /** What a HEAD handler says its body would have been. */
  private declaredLength(): number | undefined {
    const pair = this.headers.find(([name]) => name.toLowerCase() === 'content-length');
    const length = pair === undefined ? Number.NaN : Number(pair[1]);
    return Number.isSafeInteger(length) && length >= 0 ? length : undefined;
  }
}

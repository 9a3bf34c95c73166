/** Rare requests of the public port: handed to the control thread by message, answered when it answers. */
import type { HeaderPairs } from '@simmer/protocol/frames';
import { INLINE_BODY_BYTES } from '@simmer/protocol/limits';
import type { Caller } from '../shared/caller.ts';
import type { HttpResponseMessage, PodSnapshot, ToControl } from '../shared/messages.ts';
import type { HttpReply } from './http-reply.ts';
import type { Answered } from './reply.ts';
import { TimerNode, type TimingWheel } from './timing-wheel.ts';

/** The control thread answers from memory; past this (beside what a write may wait) it hangs, and /healthz says so too. */
const ANSWER_TIMEOUT_MS = 10_000;
/** Requests that may wait for it at once. */
const MAX_PENDING = 256;
/** Of these, such as may wait long: they leave room for the others. */
const MAX_WAITING = 128;

export interface AdminRequest {
  /** Its X-Execution-Id. */
  readonly requestId: string;
  readonly caller: Caller;
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly contentType: string;
  /** '' where there is none. */
  readonly ifMatch: string;
  /** RFC 9530; '' likewise. */
  readonly contentDigest: string;
  /** How long its answer may wait for what it is to tell: 0 for what is answered at once. */
  readonly waitMs: number;
  /** null where the operation takes none. */
  readonly body: Uint8Array | null;
}

class Pending extends TimerNode {
  readonly executionId: string;
  readonly reply: HttpReply;
  readonly waits: boolean;
  readonly done: () => void;
  private readonly expire: () => void;
  constructor(
    executionId: string,
    reply: HttpReply,
    waits: boolean,
    done: () => void,
    expire: () => void,
  ) {
    super();
    this.executionId = executionId;
    this.reply = reply;
    this.waits = waits;
    this.done = done;
    this.expire = expire;
  }
  onTimer(): void {
    this.expire();
  }
}

/** How much of a large answer waits for its client at once. */
const WINDOW_BYTES = 262_144;
/** No invocation's answer. */
const UNTRIED = { traceparent: '', attempts: 0, partBytes: 0 } as const;

/** As the client takes it: written at once it would be copied whole, and hold up every call meanwhile. */
function answerInPieces(
  reply: HttpReply,
  answered: Answered,
  status: number,
  headers: HeaderPairs,
  body: Uint8Array,
): void {
  let at = 0;
  let ended = false;
  const send = (bytes: number): void => {
    const end = Math.min(at + bytes, body.length);
    for (; at < end; at += INLINE_BODY_BYTES) {
      const piece = body.subarray(at, Math.min(at + INLINE_BODY_BYTES, body.length));
      reply.chunk(answered, piece, send);
    }
    if (at < body.length || ended) return;
    ended = true;
    reply.end(answered, null);
  };
  reply.head(answered, status, headers);
  send(WINDOW_BYTES);
}

export class AdminRequests {
  private readonly pending = new Map<number, Pending>();
  private waiting = 0;
  private last = 0;
  private readonly wheel: TimingWheel;
  private readonly now: () => number;
  private readonly post: (message: ToControl) => void;
  private readonly podSnapshot: () => PodSnapshot[];

  constructor(
    wheel: TimingWheel,
    now: () => number,
    post: (message: ToControl) => void,
    podSnapshot: () => PodSnapshot[],
  ) {
    this.wheel = wheel;
    this.now = now;
    this.post = post;
    this.podSnapshot = podSnapshot;
  }

  /** `answered` is called once the request's body is needed no more. */
  forward(reply: HttpReply, request: AdminRequest, answered: () => void): void {
    const executionId = request.requestId;
    const waits = request.waitMs > 0;
    if (this.pending.size >= MAX_PENDING || (waits && this.waiting >= MAX_WAITING)) {
      const detail = 'Too many requests wait for the control thread.';
      reply.failWith(executionId, '', 'overloaded', detail, { retryAfterSeconds: 1 });
      answered();
      return;
    }
    const requestId = ++this.last;
    const pending = new Pending(executionId, reply, waits, answered, () => {
      this.take(requestId);
      const detail = 'The control thread did not answer.';
      reply.failWith(executionId, '', 'internal_error', detail);
    });
    this.pending.set(requestId, pending);
    if (waits) this.waiting++;
    this.wheel.set(pending, this.now() + request.waitMs + ANSWER_TIMEOUT_MS);
    const { caller, method, path, query, contentType, ifMatch, contentDigest, body } = request;
    const pods = path.startsWith('/v1/pools') ? this.podSnapshot() : [];
    this.post({
      ...{ type: 'http-request', requestId, executionId, caller, method, path, query },
      ...{ contentType, ifMatch, contentDigest, body, pods },
    });
  }

  answered(message: HttpResponseMessage): void {
    const pending = this.take(message.requestId);
    if (pending === undefined) return;
    this.wheel.clear(pending);
    const { status, contentType, body } = message;
    const headers = message.headers as HeaderPairs | undefined;
    const { executionId, reply } = pending;
    if (typeof body === 'string') {
      reply.answer(executionId, '', status, contentType, body, headers);
    } else {
      const all: HeaderPairs = [...(headers ?? []), ['content-type', contentType]];
      answerInPieces(reply, { id: executionId, ...UNTRIED }, status, all, body);
    }
  }

  private take(requestId: number): Pending | undefined {
    const pending = this.pending.get(requestId);
    if (pending === undefined) return undefined;
    this.pending.delete(requestId);
    if (pending.waits) this.waiting--;
    pending.done();
    return pending;
  }
}

/**
 * Where an invocation's answer goes: what the core knows of the client. The HTTP form of it is http-reply.ts; async
 * callers have executions/execution.ts, those on a WebSocket stream/call.ts. Called by the core only, each end exactly once (I1 of invocation.ts).
 */
import type { ErrorCode, Problem } from '@simmer/protocol/errors';
import type { HeaderPairs } from '@simmer/protocol/frames';

/** What a reply needs to know of the execution that it answers: an invocation, or what is left of one that ended before. */
export interface Answered {
  readonly id: string;
  readonly traceparent: string;
  readonly attempts: number;
  /** Of the pieces that `value` is told, all together. */
  readonly partBytes: number;
  /** Fields of its input or output that are wrong: JSON Pointers, and what is wrong with each. */
  readonly faults?: HeaderPairs | null | undefined;
}

/** As a problem document has them. */
export function errorsOf(faults: HeaderPairs | null | undefined): Pick<Problem, 'errors'> {
  return faults ? { errors: faults.map(([path, message]) => ({ path, message })) } : {};
}

export interface Reply {
  /**
   * The whole result of a `value` invocation, as JSON: the pieces that came before its end, if any, then `last`. All are
   * views: copy what is kept past the call.
   */
  value(answered: Answered, pieces: readonly Uint8Array[] | null, last: Uint8Array): void;
  /** A raw response begins. Nothing has gone to the client yet; its body or first piece follows. */
  head(answered: Answered, status: number, headers: HeaderPairs): void;
  /**
   * A piece of a raw response; `body` is a view. Once the client has taken it, `granted` is to be called with its
   * length, so that the pod may send as much again.
   */
  chunk(answered: Answered, body: Uint8Array, granted: (bytes: number) => void): void;
  /** The raw response is complete; `body` (a view) is its whole body where no chunk came. */
  end(answered: Answered, body: Uint8Array | null): void;
  /** It failed before anything went to the client. `retryAfterSeconds` where trying again makes sense. */
  fail(answered: Answered, code: ErrorCode, detail: string, retryAfterSeconds?: number): void;
  /** It failed after its head or a chunk went to the client: cut the response short. */
  abort(answered: Answered): void;
}

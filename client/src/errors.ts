/** What a request fails with. */

/** RFC 9457 problem details, as Simmer answers them; further fields belong to the code. */
export interface Problem {
  readonly type?: string;
  readonly title?: string;
  readonly status?: number;
  readonly code: string;
  readonly detail: string;
  readonly executionId?: string;
  readonly attempts?: number;
  readonly [field: string]: unknown;
}

/**
 * `code` is one of docs/errors.md, or of this client's own: `connection_lost` (the socket closed before the answer; whether it
 * ran is not known), `client_closed`, `message_too_large` (over 64 KiB with the JSON spelling), `protocol_error`.
 */
export class SimmerError extends Error {
  override readonly name = 'SimmerError';
  readonly code: string;
  /** HTTP status; 0 for this client's own codes. */
  readonly status: number;
  readonly problem: Problem;
  readonly executionId: string | undefined;
  readonly traceId: string | undefined;
  /** Try again after so long. */
  readonly retryAfterSeconds: number | undefined;
  /** The error is that of an earlier request of the same idempotency key. */
  readonly replayed: boolean;

  constructor(
    problem: Problem,
    more: {
      readonly traceId?: string | undefined;
      readonly retryAfterSeconds?: number | undefined;
      readonly replayed?: boolean | undefined;
    } = {},
  ) {
    super(problem.detail);
    this.code = problem.code;
    this.status = problem.status ?? 0;
    this.problem = problem;
    this.executionId = problem.executionId;
    this.traceId = more.traceId;
    this.retryAfterSeconds = more.retryAfterSeconds;
    this.replayed = more.replayed ?? false;
  }
}

export function connectionLost(detail: string): SimmerError {
  return new SimmerError({ code: 'connection_lost', detail });
}

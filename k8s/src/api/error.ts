/** What the API server refuses, or that it cannot be reached: one error, told apart by `code` and `reason`. */

/** What was asked, for the message and for RBAC's words. */
export interface Asked {
  /** RBAC's verb: get, list, watch, create, update, patch, delete. */
  readonly verb: string;
  /** `pods`, `functions.simmer.dev/status`; '' where it is no resource. */
  readonly resource: string;
  /** '' where it belongs to none. */
  readonly namespace: string;
  readonly name?: string;
}

/** `metav1.StatusCause`: a field, and a sentence. */
export interface Cause {
  readonly field: string;
  readonly reason: string;
}

export class ApiError extends Error {
  /** `unreachable`: no answer came; a write may have happened all the same. `refused`: the API server said no. */
  readonly code: 'unreachable' | 'refused';
  /** HTTP status; 0 where no answer came. */
  readonly status: number;
  /** `NotFound`, `Forbidden`, `AlreadyExists`, `Conflict`, `Invalid`, ... (`metav1.Status.reason`); `Unreachable`. */
  readonly reason: string;
  /** A role lacks the permission that the message names. (A quota or an admission plugin is `Forbidden` as well.) */
  readonly denied: boolean;
  /** What the API server asks to wait before the next try; 0 where it says nothing. */
  readonly retryAfterMs: number;
  /** Of an `Invalid` object: what is wrong where. */
  readonly causes: readonly Cause[];

  constructor(
    code: 'unreachable' | 'refused',
    status: number,
    reason: string,
    message: string,
    denied = false,
    retryAfterMs = 0,
    causes: readonly Cause[] = [],
  ) {
    super(message);
    this.name = 'ApiError';
    this.code = code;
    this.status = status;
    this.reason = reason;
    this.denied = denied;
    this.retryAfterMs = retryAfterMs;
    this.causes = causes;
  }
}

export function unreachable(asked: Asked, cause: string): ApiError {
  return new ApiError(
    'unreachable',
    0,
    'Unreachable',
    `the API server cannot be reached to ${phrase(asked)}: ${cause}`,
  );
}

const DEFAULT_REASONS: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  409: 'Conflict',
  410: 'Expired',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};
const MAX_TEXT = 1_024;

/** The error of an answer that is no success. `body`: a metav1.Status, or whatever a proxy says. */
export function refused(asked: Asked, status: number, body: string, retryAfterMs = 0): ApiError {
  const said = parseStatus(body);
  const reason = said.reason || DEFAULT_REASONS[status] || `Status${status}`;
  // The authorizer's words; a quota or an admission plugin that refuses has others. A watch tells nothing but the status.
  const denied =
    status === 403 && (asked.verb === 'watch' || /\bcannot \w+ resource\b/.test(said.message));
  const what = denied
    ? `no permission to ${phrase(asked)} (verb "${asked.verb}", resource "${asked.resource}", ${scope(asked)})`
    : `cannot ${phrase(asked)}`;
  const words = said.message || `HTTP ${status}`;
  const message = `${what}: ${words}`;
  return new ApiError('refused', status, reason, message, denied, retryAfterMs, said.causes);
}

/** It may work when asked again later, as it stands. */
export function isTransient(error: unknown): boolean {
  return (
    error instanceof ApiError &&
    (error.code === 'unreachable' || error.status === 429 || error.status >= 500)
  );
}

export function isReason(error: unknown, reason: string): boolean {
  return error instanceof ApiError && error.reason === reason;
}

function scope(asked: Asked): string {
  return asked.namespace === '' ? 'cluster-wide' : `namespace "${asked.namespace}"`;
}

function phrase(asked: Asked): string {
  const name = asked.name === undefined ? '' : ` ${asked.name}`;
  const where = asked.namespace === '' ? '' : ` in namespace ${asked.namespace}`;
  return `${asked.verb} ${asked.resource}${name}${where}`;
}

interface Said {
  readonly reason: string;
  readonly message: string;
  readonly causes: readonly Cause[];
}

function parseStatus(body: string): Said {
  try {
    const value = JSON.parse(body) as { [part: string]: unknown } | null;
    const details = value?.['details'] as { causes?: unknown } | null | undefined;
    const causes = Array.isArray(details?.causes) ? details.causes : [];
    return {
      reason: textOf(value?.['reason']),
      message: textOf(value?.['message']).slice(0, MAX_TEXT),
      causes: causes.map((cause: { field?: unknown; message?: unknown } | null) => ({
        field: textOf(cause?.field),
        reason: textOf(cause?.message).slice(0, MAX_TEXT),
      })),
    };
  } catch {
    return { reason: '', message: body.trim().slice(0, MAX_TEXT), causes: [] };
  }
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

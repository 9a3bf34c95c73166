/**
 * The registry of errors: every code that Simmer answers, logs or counts, with its HTTP status and its title.
 * docs/errors.md is made from it (`make docs`), and a test holds the two together.
 *
 * Answers are RFC 9457 problem details: `{type, title, status, code, detail, executionId?, attempts?, errors?}`.
 */

export interface ErrorDefinition {
  /** HTTP status of the answer. */
  readonly status: number;
  /** RFC 9457 `title`: the same for every occurrence. */
  readonly title: string;
  /** For docs/errors.md: when it happens and what the caller can do. */
  readonly help: string;
}

export const ERRORS = {
  // ---- the request ----
  route_not_found: {
    status: 404,
    title: 'No such route',
    help: 'The path is not part of the API. See the list of routes in the quickstart.',
  },
  method_not_allowed: {
    status: 405,
    title: 'Method not allowed',
    help: 'The route exists, but not for this method; the `Allow` header names those it has.',
  },
  invalid_function_name: {
    status: 400,
    title: 'Not a function name',
    help: 'A function is named by `name` or `name.namespace`, DNS labels of at most 40 characters: a-z, 0-9 and hyphens, beginning and ending with a letter or digit.',
  },
  function_not_found: {
    status: 404,
    title: 'No such function',
    help: 'No function of this name is registered. `GET /v1/functions` lists them.',
  },
  function_deleted: {
    status: 404,
    title: 'The function was deleted',
    help: 'The function was deleted while the invocation waited for a pod.',
  },
  pool_not_found: {
    status: 404,
    title: 'No such pool',
    help: 'No pool of this name exists. `GET /v1/pools` lists them.',
  },
  payload_too_large: {
    status: 413,
    title: 'Request body too large',
    help: "The body is over the function's `maxRequestBytes`. Send less, or raise the limit in the manifest.",
  },
  invalid_timeout: {
    status: 400,
    title: 'Bad X-Timeout-Ms',
    help: "The header must be a whole number of milliseconds from 1 to the platform's `max-timeout-ms`.",
  },
  invalid_retries: {
    status: 400,
    title: 'Bad X-Max-Retries',
    help: 'The header must be a whole number from 0 to 100.',
  },
  invalid_json: {
    status: 400,
    title: 'Body is not JSON',
    help: 'The body of `:invoke` must be a JSON object `{"input": ..., "metadata": {...}}`; so must a raw body sent with a JSON content type to a default-export handler be JSON.',
  },
  invalid_envelope: {
    status: 400,
    title: 'Not an invocation envelope',
    help: 'The body of `:invoke` is JSON, but not an object, or its `metadata` is not an object.',
  },
  invalid_callback_url: {
    status: 400,
    title: 'Bad callbackUrl',
    help: "`callbackUrl` must be an absolute http or https URL of at most 2048 characters, without a user name or password, and must not lead to this machine or to link-local, multicast or metadata addresses unless the operator's `callback-allow` names them.",
  },
  invalid_message: {
    status: 400,
    title: 'Not a message',
    help: 'A message on `/v1/stream` names a request but cannot be one: the detail names the field and what it may be. Messages that name no request close the WebSocket with 4400.',
  },
  bad_input: {
    status: 400,
    title: 'The handler refused the input',
    help: 'The handler threw an error whose `code` is `bad_input` (`ctx.badInput(message)` makes one). The detail is its message.',
  },
  // ---- access ----
  unauthenticated: {
    status: 401,
    title: 'Credentials are needed',
    help: 'The request shows no API key and no token, or one that is not known, has expired or was revoked. Send `Authorization: Bearer KEY`, or `X-Api-Key: KEY`.',
  },
  forbidden: {
    status: 403,
    title: 'Not allowed',
    help: 'The credentials hold, but not for this: they lack the scope that the detail names, or their function patterns do not cover the function (whether there is one of that name or not).',
  },
  rate_limited: {
    status: 429,
    title: 'Too many requests',
    help: "More requests came than the caller's or the function's `rateLimit` allows. Try again after `Retry-After`; `RateLimit-Limit`, `-Remaining` and `-Reset` tell of the limit that was met.",
  },
  identity_provider_unavailable: {
    status: 503,
    title: 'The token cannot be checked now',
    help: "The keys that the token is to be checked with could not be fetched from `jwt-jwks` or the issuer's discovery document; the log says why. API keys go on.",
  },
  invalid_input: {
    status: 400,
    title: 'The input does not fit its schema',
    help: "The input breaks the function's `inputSchema`. `errors` tells where (`path`, a JSON Pointer into the input) and why. The handler was not called.",
  },
  // ---- capacity ----
  queue_full: {
    status: 429,
    title: "The function's queue is full",
    help: 'As many invocations wait as `queue.maxLength` or `queue.maxBytes` allows. Try again after `Retry-After`.',
  },
  overloaded: {
    status: 429,
    title: "The platform's queues are full",
    help: 'All functions together hold as many bytes as `max-queued-bytes` allows. Try again after `Retry-After`.',
  },
  deadline_unreachable: {
    status: 429,
    title: 'The wait would outlast the deadline',
    help: 'The estimated wait in the queue is longer than the time the invocation has. Try again after `Retry-After`, or give it more time.',
  },
  no_capacity: {
    status: 503,
    title: 'No pod can be had',
    help: 'The function has no pod and may not launch one: its pods crash before they are ready, or the backend refuses to launch. The detail says which.',
  },
  draining: {
    status: 503,
    title: 'Shutting down',
    help: 'This control plane accepts no new work, or ended before the invocation did. Try again: another one may answer.',
  },
  upgrade_required: {
    status: 426,
    title: 'Only for WebSockets',
    help: '`/v1/stream` was asked for by a plain request. Open it as a WebSocket.',
  },
  unknown_subprotocol: {
    status: 400,
    title: 'Subprotocol not spoken',
    help: 'A WebSocket to `/v1/stream` offered subprotocols, and none of them is `simmer.client.v1.json` or `simmer.client.v1.msgpack`.',
  },
  stream_limit: {
    status: 429,
    title: 'Too much at once on one WebSocket',
    help: 'As many requests are open on the WebSocket as may be, or more results wait for the client than are held for it. Read what has come, then send it again; or use another WebSocket.',
  },
  executions_full: {
    status: 429,
    title: 'Too many executions',
    help: 'As many asynchronous executions that have not ended are kept as `executions-max` or `executions-max-bytes` allows. Try again after `Retry-After`.',
  },
  // ---- idempotency keys ----
  invalid_idempotency_key: {
    status: 400,
    title: 'Bad Idempotency-Key',
    help: 'The header must be 1 to 255 printable ASCII characters.',
  },
  idempotency_key_reused: {
    status: 422,
    title: 'The key belongs to another request',
    help: 'The `Idempotency-Key` came before, with another route, method, path, query, content type or body. Use a new key for a new request.',
  },
  idempotent_result_unavailable: {
    status: 409,
    title: 'The result cannot be replayed',
    help: 'The request of this `Idempotency-Key` was run, but its answer was streamed, was too large to be kept, or has made room for others. It is not run again.',
  },
  idempotency_keys_full: {
    status: 429,
    title: 'Too many idempotency keys',
    help: 'As many keys of calls that still run are kept as `idempotency-keys-max` or `idempotency-keys-max-bytes` allows, or too many calls wait for the answer to another of their key. Try again after `Retry-After`.',
  },
  // ---- executions ----
  execution_not_found: {
    status: 404,
    title: 'No such execution',
    help: 'No execution of this id is known: it never was, or is long gone.',
  },
  execution_evicted: {
    status: 410,
    title: 'The execution is kept no longer',
    help: 'It ended, and was dropped after `executions-max-age-ms` or to make room for others.',
  },
  lost_in_restart: {
    status: 410,
    title: 'The execution was lost in a restart',
    help: 'Its id was given by an earlier process. Executions are kept in memory only; if it matters, enqueue it again.',
  },
  execution_ended: {
    status: 409,
    title: 'The execution has ended',
    help: 'It cannot be cancelled any more. `GET` it for how it ended.',
  },
  dead_letter_not_found: {
    status: 404,
    title: 'No such dead letter',
    help: 'No dead letter of this id is kept: it never was, was replayed or deleted, or made room for younger ones.',
  },
  dead_letter_busy: {
    status: 409,
    title: 'The dead letter is being replayed',
    help: 'Another request replays it at this moment.',
  },
  callback_failed: {
    status: 502,
    title: 'The callback was not taken',
    help: 'In dead letters: the receiver of a callback did not answer 2xx to any attempt, or none was made. The detail is what came of the last; the execution itself ended, and is at `GET /v1/executions/{id}`. Replay the letter once the receiver is well.',
  },
  invalid_query: {
    status: 400,
    title: 'Bad query parameter',
    help: 'The detail names the parameter and what it may be.',
  },
  // ---- writes of functions ----
  invalid_manifest: {
    status: 400,
    title: 'Invalid manifest',
    help: 'A manifest does not parse, breaks its schema, or names what is not there; `issues` has each field with the reason. Of a file or an object the log says the same; the functions already running go on.',
  },
  function_exists: {
    status: 409,
    title: 'The function exists',
    help: '`POST /v1/functions` makes new ones only. `PUT /v1/functions/{name}` replaces.',
  },
  function_not_ready: {
    status: 422,
    title: 'The function does not serve',
    help: 'The change is applied and stays so, but no pod of the new revision gets ready, or the registry refuses what it names; the detail says why. Pods of the earlier revision, where there are any, go on serving.',
  },
  precondition_failed: {
    status: 412,
    title: 'The function is another by now',
    help: 'Its `ETag` is none of those in `If-Match`. `GET` it again, and decide anew.',
  },
  write_conflict: {
    status: 409,
    title: 'Others write it, too',
    help: 'The function is written by others at the same time, or is still being deleted: its last pods drain. Try again.',
  },
  manifest_not_writable: {
    status: 409,
    title: 'The manifest cannot be written here',
    help: 'The function stands in a file that holds more than its manifest, is a link or cannot be read as it stands. Change that file; the detail names it.',
  },
  registry_read_only: {
    status: 409,
    title: 'Functions cannot be written',
    help: 'The folder of functions is read-only for the control plane.',
  },
  write_refused: {
    status: 403,
    title: 'The cluster refuses the write',
    help: 'The control plane has no permission to write Function objects in the namespace, or a quota or an admission plugin says no; the detail is what the API server said.',
  },
  registry_unavailable: {
    status: 503,
    title: 'The registry cannot be written now',
    help: 'The API server cannot be reached, or the folder of functions cannot be written. Whether the change was made is uncertain: `GET` the function, and try again.',
  },
  // ---- code ----
  invalid_bundle: {
    status: 400,
    title: 'The code cannot be used',
    help: 'It is neither a module in UTF-8 nor a gzipped tar; or the archive is broken, grows over its bounds, holds a link, a path that leads out of it or a native addon (which needs an image), or lacks the module that `spec.handler` names. The detail says which.',
  },
  digest_mismatch: {
    status: 400,
    title: 'The bytes are not those of the digest',
    help: "The body's SHA-256 is not the one in `Content-Digest`: it was changed on its way, or the header is not as RFC 9530 has it.",
  },
  unsupported_media_type: {
    status: 415,
    title: 'Not a kind of code',
    help: 'The `Content-Type` must be `text/javascript` or `application/javascript` for one module, `application/gzip` for a gzipped tar.',
  },
  code_not_found: {
    status: 404,
    title: 'The function has no code here',
    help: 'Its code is a file beside its manifest or stands in its image; or it is not in force, as `spec.source` names what is not there.',
  },
  code_store_full: {
    status: 507,
    title: 'No room for more code',
    help: 'What functions name fills `code-store-max-bytes`. Delete functions, or raise the limit.',
  },
  code_store_unavailable: {
    status: 503,
    title: 'Code cannot be stored',
    help: 'The folder `code-store` is read-only or full, or on Kubernetes the ConfigMaps cannot be written; the detail says which. Nothing was changed.',
  },
  // ---- the attempt ----
  function_error: {
    status: 500,
    title: 'The handler failed',
    help: "The handler threw or rejected. The detail is its name and message; the stack stands in the pod's log.",
  },
  function_exited: {
    status: 500,
    title: 'The handler ended its process',
    help: 'The handler called `process.exit`, or an error escaped it outside its promise and ended the pod.',
  },
  memory_exceeded: {
    status: 500,
    title: 'The handler took too much memory',
    help: 'The process of the handler grew over the memory limit of its function, and was ended. So was everything else that ran in it.',
  },
  result_not_serializable: {
    status: 500,
    title: 'The result cannot be sent',
    help: 'What the handler returned has no JSON form (a cycle, a BigInt, a function), or its Response broke while it was read.',
  },
  invalid_output: {
    status: 500,
    title: 'The output does not fit its schema',
    help: "What the handler returned breaks the function's `outputSchema`: `errors` tells where and why. Not retried: it is the handler's fault, and it has done its work.",
  },
  result_too_large: {
    status: 500,
    title: 'The result is too large',
    help: "The result is over the function's `maxResultBytes`.",
  },
  timeout: {
    status: 504,
    title: 'Timed out',
    help: 'The deadline passed. The detail says whether the invocation was still waiting for a pod or running.',
  },
  cancelled: {
    status: 499,
    title: 'Cancelled',
    help: 'The client closed its connection before the answer, or the execution was cancelled by request. Counted and logged.',
  },
  pod_lost: {
    status: 502,
    title: 'The pod was lost',
    help: 'The pod that ran the invocation exited, was killed, or lost its connection, and so did those of its retries, where it had any. It may have run in part.',
  },
  response_broken: {
    status: 502,
    title: 'The answer broke off',
    help: 'On `/v1/stream`: the handler failed, timed out or was lost after a part of its answer had gone to the client. Over HTTP the connection is cut instead.',
  },
  over_capacity: {
    status: 503,
    title: 'The pod is full',
    help: 'The pod was given more invocations than it takes. A fault of the control plane: please report it.',
  },
  internal_error: {
    status: 500,
    title: 'Internal error',
    help: "A fault of Simmer's own. The log has a line with this execution id.",
  },
  // ---- pods and configuration: they stand in logs, in a pool\'s `lastFailure`, and in close reasons ----
  handler_not_loaded: {
    status: 503,
    title: 'The handler does not load',
    help: 'The module was not found, threw while it was loaded, or exports no handler.',
  },
  launch_failed: {
    status: 503,
    title: 'The pod could not be launched',
    help: "The backend refused or failed to start it; the detail is the backend's reason.",
  },
  exited_before_ready: {
    status: 503,
    title: 'The pod exited before it was ready',
    help: 'Its process ended during its start; the detail has the exit code or signal and the last line it printed.',
  },
  ready_timeout: {
    status: 503,
    title: 'The pod did not get ready in time',
    help: 'It was launched but not ready within `startup-timeout-ms`, and was killed.',
  },
  malformed_frame: {
    status: 502,
    title: 'Malformed frame',
    help: 'A peer of the pod link sent bytes that are not a frame; its socket was closed with 4400.',
  },
  unauthorized_pod: {
    status: 502,
    title: 'Pod refused',
    help: "A connection to the pod port showed no valid credential, a spent one, or another pod's; its socket was closed with 4401 or 4403.",
  },
  invalid_option: {
    status: 400,
    title: 'Invalid option',
    help: 'A configuration option is unknown or its value is not allowed; the start ends with its name, the value and what is allowed.',
  },
} as const satisfies Record<string, ErrorDefinition>;

export type ErrorCode = keyof typeof ERRORS;

/** True for a code of the registry: what a pod sends is text until this has said so. */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERRORS, code);
}

/** An error with a code of the registry. Recognise it by `code`, not by instanceof: it crosses threads. */
export class SimmerError extends Error {
  override readonly name = 'SimmerError';
  readonly code: ErrorCode;
  constructor(code: ErrorCode, detail: string, options?: ErrorOptions) {
    super(detail, options);
    this.code = code;
  }
}

/** RFC 9457 problem details, as they are answered. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
  readonly detail: string;
  readonly executionId?: string;
  /** Attempts that were made, where there were any. */
  readonly attempts?: number;
  /** What is wrong with a manifest, field by field. */
  readonly issues?: readonly { readonly field: string; readonly reason: string }[];
  /** Fields that are wrong: JSON Pointers into the value, and what is wrong with each. */
  readonly errors?: readonly { readonly path: string; readonly message: string }[];
}

/** `type` is a stable URI reference to the code's section of docs/errors.md. */
export function problem(
  code: ErrorCode,
  detail: string,
  more: Pick<Problem, 'executionId' | 'attempts' | 'issues' | 'errors'> = {},
): Problem {
  const { status, title } = ERRORS[code];
  return { type: `/docs/errors#${code}`, title, status, code, detail, ...more };
}

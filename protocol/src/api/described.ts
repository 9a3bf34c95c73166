/** What the OpenAPI document says of each operation beyond its route: for people, its parameters, its answers, its error codes. */
import type { TSchema } from 'typebox';
import { Type } from 'typebox';
import type { ErrorCode } from '../errors.ts';
import { EXECUTION_MODES, EXECUTION_STATUSES } from '../executions.ts';
import { FunctionManifestSchema } from '../manifest.ts';
import * as views from './views.ts';

export interface Parameter {
  readonly in: 'path' | 'query' | 'header';
  readonly name: string;
  readonly description: string;
  readonly schema: TSchema;
}

export interface Answer {
  readonly description: string;
  /** By content type; none: no body. */
  readonly content?: Readonly<Record<string, TSchema>>;
  /** Beyond those that every answer may carry. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Described {
  readonly id: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  readonly parameters?: readonly Parameter[];
  readonly body?: {
    readonly required: boolean;
    readonly content: Readonly<Record<string, TSchema>>;
  };
  /** By status. */
  readonly answers: Readonly<Record<number, Answer>>;
  /** Beyond those of every operation. */
  readonly errors: readonly ErrorCode[];
  /** A request that the server makes, to a URL that the caller gave. */
  readonly callback?: Callback;
}

export interface Callback {
  readonly id: string;
  /** Where the URL stands: a runtime expression (OpenAPI 3.1.1 4.8.20.4). */
  readonly to: string;
  readonly summary: string;
  readonly description: string;
  readonly headers: readonly Parameter[];
  readonly content: Readonly<Record<string, TSchema>>;
  /** What the receiver's answers mean, by status or range. */
  readonly answers: Readonly<Record<string, string>>;
}

const JSON_TYPE = 'application/json';
const json = (schema: TSchema) => ({ [JSON_TYPE]: schema });
const bytes = Type.Unsafe<unknown>({});

// ---- parameters --------------------------------------------------------------------------------------------------

const functionName: Parameter = {
  in: 'path',
  name: 'name',
  description:
    'A function of the namespace `default`; `name.namespace` is one of another namespace.',
  schema: Type.String(),
};
const poolName: Parameter = { ...functionName, description: "The pool's function, or WarmPool." };
const executionId: Parameter = {
  in: 'path',
  name: 'id',
  description: 'As an answer told it: `executionId`.',
  schema: Type.String(),
};
const deadLetterId: Parameter = { ...executionId, description: 'Of the letter: its `id`.' };
const query = (name: string, description: string, schema: TSchema): Parameter => ({
  ...{ in: 'query', name, description, schema },
});
const header = (name: string, description: string, schema: TSchema): Parameter => ({
  ...{ in: 'header', name, description, schema },
});
const page = [
  query('limit', 'How many a page holds.', Type.Integer({ minimum: 1, maximum: 500, default: 50 })),
  query('cursor', 'The `next` of an earlier page.', Type.String()),
];
const manifest = (schema: TSchema) => ({ [JSON_TYPE]: schema, 'application/yaml': schema });
const written = [
  query(
    'wait',
    'How long the answer may wait until the change serves, in seconds; `false` for not at all. 202 once that has passed.',
    Type.Integer({ minimum: 0, maximum: 120, default: 30 }),
  ),
];
const ifMatch = header(
  'If-Match',
  'Only if the function has one of these `ETag`s; `*` for any.',
  Type.String(),
);
const ETAG = { ETag: 'Of the function as it is told of here.' };
const PENDING =
  'The change is made, and stays so, but did not serve within `wait`; the answer says what is missing.';
const ofFunction = query('function', 'Only those of this function.', Type.String());
const invocation = [
  functionName,
  header(
    'X-Timeout-Ms',
    "Time for the call; with `:enqueue` for each attempt. The manifest's `timeoutMs` where absent.",
    Type.Integer({ minimum: 1 }),
  ),
  header(
    'X-Max-Retries',
    "Attempts that may follow the first. The manifest's `retry.maxRetries` where absent.",
    Type.Integer({ minimum: 0, maximum: 100 }),
  ),
  header(
    'Idempotency-Key',
    'Of all requests of the same caller to the function that bring it, one is run; the others get its answer.',
    Type.String({ minLength: 1, maxLength: 255, pattern: '^[ -~]*$' }),
  ),
  header('traceparent', 'The trace that the call belongs to (W3C Trace Context).', Type.String()),
  header('X-Trace-Id', 'The trace, where there is no `traceparent`.', Type.String()),
];

// ---- errors ------------------------------------------------------------------------------------------------------

/** A function that may be called, by its name. */
const FINDING: readonly ErrorCode[] = ['invalid_function_name', 'function_not_found'];
/** Before an invocation is taken, and in its stead. */
const ADMISSION: readonly ErrorCode[] = [
  ...FINDING,
  'invalid_timeout',
  'invalid_retries',
  'payload_too_large',
  'queue_full',
  'overloaded',
  'deadline_unreachable',
  'no_capacity',
  'invalid_idempotency_key',
  'idempotency_key_reused',
  'idempotency_keys_full',
];
/** What may become of an attempt. */
const ATTEMPT: readonly ErrorCode[] = [
  'function_deleted',
  'bad_input',
  'invalid_input',
  'invalid_output',
  'function_error',
  'function_exited',
  'memory_exceeded',
  'result_not_serializable',
  'result_too_large',
  'timeout',
  'pod_lost',
  'over_capacity',
  'idempotent_result_unavailable',
];
/** What may become of a write of a function. */
const WRITE: readonly ErrorCode[] = [
  'invalid_function_name',
  'invalid_manifest',
  'invalid_query',
  'payload_too_large',
  'precondition_failed',
  'write_conflict',
  'manifest_not_writable',
  'registry_read_only',
  'write_refused',
  'registry_unavailable',
];
const EXECUTION: readonly ErrorCode[] = [
  'execution_not_found',
  'execution_evicted',
  'lost_in_restart',
];

const LETTER: readonly ErrorCode[] = ['dead_letter_not_found', 'lost_in_restart'];
const REPLAY: readonly ErrorCode[] = [
  'function_not_found',
  'dead_letter_busy',
  'queue_full',
  'overloaded',
  'deadline_unreachable',
  'no_capacity',
  'executions_full',
];

// ---- callbacks ---------------------------------------------------------------------------------------------------

const ENDED: Callback = {
  id: 'executionEnded',
  to: '{$request.body#/callbackUrl}',
  summary: 'The end of the execution, told to its callback URL',
  description:
    'Sent again, as the same delivery, until it is taken. The signature is an HMAC-SHA-256 over timestamp, a dot, and the body, with the key of `getCallbackKey`.',
  headers: [
    header('X-Execution-Id', 'The execution.', Type.String()),
    header('Idempotency-Key', 'The same for every delivery of this callback.', Type.String()),
    header('X-Simmer-Timestamp', 'When it was signed: Unix seconds.', Type.String()),
    header(
      'X-Simmer-Signature',
      'The signature in hex.',
      Type.String({ pattern: '^v1=[0-9a-f]{64}$' }),
    ),
    header('traceparent', 'The trace of the execution.', Type.String()),
  ],
  content: json(views.ExecutionSchema),
  answers: {
    '2XX': 'It is taken.',
    '3XX': '307 and 308 are followed. Others: it is given up.',
    '4XX': '408, 425 and 429: it is sent again, after `Retry-After`. Others: it is given up.',
    '5XX': 'It is sent again.',
  },
};

// ---- operations --------------------------------------------------------------------------------------------------

/** By method and path, as they stand in OPERATIONS. */
export const DESCRIBED: Readonly<Record<string, Described>> = {
  'POST /v1/functions/{name}:invoke': {
    id: 'invoke',
    tag: 'Invocations',
    summary: 'Call a function and wait for its result',
    parameters: invocation,
    body: { required: false, content: json(views.EnvelopeSchema) },
    answers: { 200: { description: 'The result.', content: json(views.InvokedSchema) } },
    errors: [...ADMISSION, ...ATTEMPT, 'invalid_json', 'invalid_envelope', 'cancelled'],
  },
  'POST /v1/functions/{name}:enqueue': {
    id: 'enqueue',
    tag: 'Invocations',
    summary: 'Accept a call; its result is kept',
    parameters: invocation,
    body: { required: false, content: json(views.EnqueuedSchema) },
    answers: {
      202: {
        description: 'It is kept, and has its place in the queue.',
        content: json(views.AcceptedSchema),
        headers: { Location: 'Where it can be asked for.' },
      },
    },
    errors: [
      ...ADMISSION,
      'invalid_json',
      'invalid_envelope',
      'invalid_callback_url',
      'executions_full',
      'timeout',
      'execution_evicted',
    ],
    callback: ENDED,
  },
  'ANY /fn/{name}/{path...}': {
    id: 'raw',
    tag: 'Invocations',
    summary: 'Call a function by any HTTP request',
    description:
      'Method, path below the name, query, headers and body go to the handler as they are; its own status, headers and body come back. A `fetch` handler answers with any status; a problem document is ours where its `code` is one of these.',
    parameters: [
      ...invocation,
      {
        ...{ in: 'path', name: 'path', description: 'Any path, which may be empty.' },
        schema: Type.String(),
      },
    ],
    body: { required: false, content: { '*/*': bytes } },
    answers: {
      200: { description: "The handler's answer.", content: { '*/*': bytes } },
    },
    errors: [...ADMISSION, ...ATTEMPT, 'invalid_json', 'cancelled'],
  },
  'GET /v1/functions': {
    id: 'listFunctions',
    tag: 'Functions',
    summary: 'All functions',
    answers: { 200: { description: 'By name.', content: json(views.FunctionListSchema) } },
    errors: [],
  },
  'GET /v1/functions/{name}': {
    id: 'getFunction',
    tag: 'Functions',
    summary: 'One function: its spec and how it does',
    parameters: [functionName],
    answers: {
      200: { description: 'The function.', content: json(views.FunctionSchema), headers: ETAG },
    },
    errors: FINDING,
  },
  'GET /v1/functions/{name}/callback-key': {
    id: 'getCallbackKey',
    tag: 'Functions',
    summary: 'The key that signs the callbacks of a function',
    parameters: [functionName],
    answers: { 200: { description: 'The key.', content: json(views.CallbackKeySchema) } },
    errors: FINDING,
  },
  'POST /v1/functions': {
    id: 'createFunction',
    tag: 'Functions',
    summary: 'Make a function',
    description: 'Answered once it serves, or with the reason why it does not.',
    parameters: written,
    body: { required: true, content: manifest(FunctionManifestSchema) },
    answers: {
      201: {
        description: 'It serves.',
        content: json(views.FunctionSchema),
        headers: { ...ETAG, Location: 'Where it can be asked for.' },
      },
      202: {
        description: PENDING,
        content: json(views.PendingFunctionSchema),
        headers: { ...ETAG, Location: 'Where it can be asked for.' },
      },
    },
    errors: [...WRITE, 'function_exists', 'function_not_ready'],
  },
  'PUT /v1/functions/{name}': {
    id: 'putFunction',
    tag: 'Functions',
    summary: 'Replace a function, or make it',
    description:
      'Answered once the change serves, or with the reason why it does not. Pods of the earlier revision serve until those of the new one are ready.',
    parameters: [functionName, ...written, ifMatch],
    body: { required: true, content: manifest(views.FunctionReplacementSchema) },
    answers: {
      200: { description: 'It serves.', content: json(views.FunctionSchema), headers: ETAG },
      201: {
        description: 'It is new, and serves.',
        content: json(views.FunctionSchema),
        headers: { ...ETAG, Location: 'Where it can be asked for.' },
      },
      202: {
        description: PENDING,
        content: json(views.PendingFunctionSchema),
        headers: { ...ETAG, Location: 'Where it can be asked for, if it is new.' },
      },
    },
    errors: [...WRITE, 'function_not_ready'],
  },
  'GET /v1/functions/{name}/code': {
    id: 'getCode',
    tag: 'Functions',
    summary: 'The code of a function, as its pods get it',
    description: 'Where the manifest holds or names it; not where it is in an image or a file.',
    parameters: [functionName],
    answers: {
      200: {
        description: 'A module, or a gzipped tar.',
        content: { 'text/javascript': Type.String(), 'application/gzip': bytes },
        headers: { 'Content-Digest': 'Of the body (RFC 9530): `sha-256=:BASE64:`.' },
      },
    },
    errors: [...FINDING, 'code_not_found'],
  },
  'PUT /v1/functions/{name}/code': {
    id: 'putCode',
    tag: 'Functions',
    summary: 'Give a function new code',
    description:
      'Kept by its SHA-256, and named by `spec.source.bundle` of the function, which must exist. Answered once it serves, or with the reason why it does not, as a change of its manifest is.',
    parameters: [
      functionName,
      ...written,
      ifMatch,
      header(
        'Content-Digest',
        'Of the body (RFC 9530); another is refused.',
        Type.String({ examples: ['sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:'] }),
      ),
    ],
    body: {
      required: true,
      content: {
        'text/javascript': Type.String(),
        'application/javascript': Type.String(),
        'application/gzip': bytes,
      },
    },
    answers: {
      200: { description: 'It serves.', content: json(views.FunctionSchema), headers: ETAG },
      202: {
        description: PENDING,
        content: json(views.PendingFunctionSchema),
        headers: ETAG,
      },
    },
    errors: [
      ...WRITE,
      'function_not_found',
      'function_not_ready',
      'unsupported_media_type',
      'invalid_bundle',
      'digest_mismatch',
      'code_store_full',
      'code_store_unavailable',
      'overloaded',
    ],
  },
  'DELETE /v1/functions/{name}': {
    id: 'deleteFunction',
    tag: 'Functions',
    summary: 'Delete a function',
    description: 'What waits for it is still served.',
    parameters: [functionName, ...written, ifMatch],
    answers: {
      204: { description: 'It is gone.' },
      202: { description: PENDING, content: json(views.PendingRemovalSchema) },
    },
    errors: [...WRITE.filter((code) => code !== 'payload_too_large'), 'function_not_found'],
  },
  'GET /v1/pools': {
    id: 'listPools',
    tag: 'Pools',
    summary: 'All pools',
    answers: { 200: { description: 'By name.', content: json(views.PoolListSchema) } },
    errors: [],
  },
  'GET /v1/pools/{name}': {
    id: 'getPool',
    tag: 'Pools',
    summary: 'One pool, with its pods',
    parameters: [
      poolName,
      query(
        'kind',
        'Which, where a function and a WarmPool have the same name.',
        Type.Enum(['Function', 'WarmPool']),
      ),
    ],
    answers: { 200: { description: 'The pool.', content: json(views.PoolSchema) } },
    errors: ['invalid_function_name', 'pool_not_found'],
  },
  'GET /v1/executions': {
    id: 'listExecutions',
    tag: 'Executions',
    summary: 'Executions that are kept, newest first',
    parameters: [
      ofFunction,
      query('mode', 'Only those of it.', Type.Enum([...EXECUTION_MODES])),
      query('status', 'Only those with it.', Type.Enum([...EXECUTION_STATUSES])),
      ...page,
    ],
    answers: { 200: { description: 'A page.', content: json(views.ExecutionListSchema) } },
    errors: ['invalid_query'],
  },
  'GET /v1/executions/{id}': {
    id: 'getExecution',
    tag: 'Executions',
    summary: 'One execution: how it is, its attempts, its result',
    description: 'One that has not ended is answered 200, too: look at its `status`.',
    parameters: [
      executionId,
      query(
        'wait',
        'How long to wait for its end, in seconds.',
        Type.Integer({ minimum: 0, maximum: 60, default: 0 }),
      ),
    ],
    answers: { 200: { description: 'The execution.', content: json(views.ExecutionSchema) } },
    errors: [...EXECUTION, 'invalid_query'],
  },
  'GET /v1/executions/{id}/logs': {
    id: 'getExecutionLogs',
    tag: 'Executions',
    summary: 'What its handler printed',
    description: 'Of a synchronous call for a short while only.',
    parameters: [executionId],
    answers: { 200: { description: 'The lines.', content: json(views.ExecutionLogsSchema) } },
    errors: [...EXECUTION],
  },
  'DELETE /v1/executions/{id}': {
    id: 'cancelExecution',
    tag: 'Executions',
    summary: 'Cancel an execution, wherever it is',
    parameters: [executionId],
    answers: {
      200: { description: 'As it is now: cancelled.', content: json(views.ExecutionSchema) },
    },
    errors: [...EXECUTION, 'execution_ended'],
  },
  'GET /v1/dead-letters': {
    id: 'listDeadLetters',
    tag: 'Dead letters',
    summary: 'Dead letters that are kept, newest first',
    parameters: [ofFunction, ...page],
    answers: { 200: { description: 'A page.', content: json(views.DeadLetterListSchema) } },
    errors: ['invalid_query'],
  },
  'GET /v1/dead-letters/{id}': {
    id: 'getDeadLetter',
    tag: 'Dead letters',
    summary: 'One dead letter: its request, its attempts, its last error',
    parameters: [deadLetterId],
    answers: { 200: { description: 'The letter.', content: json(views.DeadLetterSchema) } },
    errors: LETTER,
  },
  'POST /v1/dead-letters/{id}:replay': {
    id: 'replayDeadLetter',
    tag: 'Dead letters',
    summary: 'Try it again',
    description: 'Its request becomes a new execution; the letter goes once that is accepted.',
    parameters: [deadLetterId],
    answers: {
      202: {
        description: 'The new execution.',
        content: json(views.AcceptedSchema),
        headers: { Location: 'Where it can be asked for.' },
      },
    },
    errors: [...LETTER, ...REPLAY],
  },
  'DELETE /v1/dead-letters/{id}': {
    id: 'deleteDeadLetter',
    tag: 'Dead letters',
    summary: 'Delete a dead letter',
    parameters: [deadLetterId],
    answers: { 204: { description: 'It is gone.' } },
    errors: LETTER,
  },
  'POST /v1/dead-letters:replay': {
    id: 'replayDeadLetters',
    tag: 'Dead letters',
    summary: "Try all of a function's again, oldest first",
    description: 'Until one is refused; an error only where none was accepted.',
    parameters: [query('function', 'Whose.', Type.String())],
    answers: {
      202: { description: 'The new executions.', content: json(views.ReplayedSchema) },
    },
    errors: ['invalid_query', ...REPLAY],
  },
  'DELETE /v1/dead-letters': {
    id: 'deleteDeadLetters',
    tag: 'Dead letters',
    summary: "Delete all of a function's",
    parameters: [query('function', 'Whose.', Type.String())],
    answers: { 200: { description: 'How many.', content: json(views.DeletedSchema) } },
    errors: ['invalid_query', 'function_not_found'],
  },
  'GET /v1/stream': {
    id: 'stream',
    tag: 'Invocations',
    summary: 'Many calls on one WebSocket',
    description:
      'A WebSocket with the subprotocol `simmer.client.v1.json` or `simmer.client.v1.msgpack`; docs/stream.md has its messages, which carry the problem documents of these operations. A browser, which can set no header, offers its credential as a further subprotocol: `simmer.bearer.` and the base64url of it.',
    parameters: [header('Sec-WebSocket-Protocol', 'What the client offers.', Type.String())],
    answers: {
      101: { description: 'It is a WebSocket from here on.', headers: { Upgrade: 'websocket' } },
    },
    errors: ['upgrade_required', 'unknown_subprotocol'],
  },
  'GET /openapi.json': {
    id: 'getOpenApi',
    tag: 'Documentation',
    summary: 'This document',
    answers: {
      200: { description: 'OpenAPI 3.1.', content: json(Type.Unsafe({ type: 'object' })) },
    },
    errors: [],
  },
  'GET /docs': {
    id: 'getDocs',
    tag: 'Documentation',
    summary: 'This document as a page, which needs no other server',
    answers: { 200: { description: 'HTML.', content: { 'text/html': bytes } } },
    errors: [],
  },
  'GET /docs/{file}': {
    id: 'getDocsFile',
    tag: 'Documentation',
    summary: 'What the page is made of; `errors` describes each error code',
    parameters: [
      { in: 'path', name: 'file', description: 'A file of the page.', schema: Type.String() },
    ],
    answers: {
      200: {
        description: 'The file.',
        content: { 'text/html': bytes, 'text/css': bytes, 'text/javascript': bytes },
      },
    },
    errors: [],
  },
};

/** Of every operation, besides what the HTTP parser answers by itself. */
export const EVERYWHERE: readonly ErrorCode[] = ['draining'];

/** Of those that need a scope, where callers have to show who they are. */
export const BY_ACCESS: readonly ErrorCode[] = [
  ...(['unauthenticated', 'forbidden', 'rate_limited', 'overloaded'] as const),
  'identity_provider_unavailable',
];

/** Of those that the control thread answers, besides. */
export const BY_CONTROL: readonly ErrorCode[] = ['overloaded', 'internal_error', 'route_not_found'];
/** Of those that the scheduler thread answers, besides. */
export const BY_SCHEDULER: readonly ErrorCode[] = ['internal_error'];

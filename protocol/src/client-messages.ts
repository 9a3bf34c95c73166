/**
 * The messages of `/v1/stream`, the WebSocket of clients: what each means, its fields and their units. docs/stream.md is the
 * prose a client in another language is written from.
 *
 * One set of messages, two spellings, told apart by the subprotocol:
 *   simmer.client.v1.json      a text message is one JSON object; JSON payloads stand in it as they are, bytes as base64
 *   simmer.client.v1.msgpack   a binary message is one msgpack map of the same names; payloads and bytes are `bin`
 *
 * Rules for all:
 *  - `id` is the client's, from 1, and free for another request once its own has ended.
 *  - A message that brings a payload brings all of it, or its first piece and `more`; `data` brings the others. Every byte
 *    of a payload counts against the credit of its id, from the first.
 *  - A request ends with its answer (`result`, `response`, `accepted`, `execution`), with that's last `data`, or with `error`.
 */
import type { HeaderPairs } from './frames.ts';

export const CLIENT_JSON = 'simmer.client.v1.json';
export const CLIENT_MSGPACK = 'simmer.client.v1.msgpack';
/** Offered by a client that cannot set headers: the rest is its credential, in base64url. Never chosen by the server. */
export const BEARER_PROTOCOL = 'simmer.bearer.';
export const STREAM_PATH = '/v1/stream';

/** The longest text message, either way. */
export const MAX_TEXT_BYTES = 65_536;
/** The longest binary message, either way: a piece, and its headers. */
export const MAX_BINARY_BYTES = 131_072;
/** The longest piece of a payload in one message; as base64 it has to fit a text message. */
export const PIECE_BYTES = 65_536;
export const TEXT_PIECE_BYTES = 45_000;
/** Each payload's first credit, both ways. */
export const CLIENT_WINDOW_BYTES = 262_144;

/** JSON: its text, or the bytes of that. */
export type JsonText = string | Uint8Array;

/** What requests of a function share. */
export interface CallOptions {
  /** Of the default namespace, or `name.namespace`. */
  readonly function: string;
  /** As X-Timeout-Ms. */
  readonly timeoutMs?: number | undefined;
  /** As X-Max-Retries. */
  readonly maxRetries?: number | undefined;
  /** As Idempotency-Key. */
  readonly idempotencyKey?: string | undefined;
  /** W3C Trace Context. */
  readonly traceparent?: string | undefined;
  /** Of the whole payload, in bytes, where it comes in pieces and that is known. */
  readonly length?: number | undefined;
  readonly more?: boolean | undefined;
}

/** client -> server: run it; ends with `result` or `error`. */
export interface ClientInvoke extends CallOptions {
  readonly type: 'invoke';
  readonly id: number;
  /** In pieces (`more`) with msgpack only. */
  readonly input?: JsonText | undefined;
  readonly metadata?: JsonText | undefined;
}

/** client -> server: run it later; ends with `accepted` or `error`. */
export interface ClientEnqueue extends CallOptions {
  readonly type: 'enqueue';
  readonly id: number;
  readonly input?: JsonText | undefined;
  readonly metadata?: JsonText | undefined;
  readonly callbackUrl?: string | undefined;
}

/** client -> server: a raw call, as `/fn/{name}{path}` takes it; ends with `response` or `error`. */
export interface ClientRequest extends CallOptions {
  readonly type: 'request';
  readonly id: number;
  readonly method: string;
  /** Below the function, with its query; begins with a slash. */
  readonly path: string;
  readonly headers?: HeaderPairs | undefined;
  readonly body?: Uint8Array | undefined;
}

/** both ways: the next piece of a payload. */
export interface ClientData {
  readonly type: 'data';
  readonly id: number;
  readonly bytes: Uint8Array;
  readonly more?: boolean | undefined;
}

/** client -> server: the answer is not wanted any more. It ends with `error`, code `cancelled`, unless its answer is on its way. */
export interface ClientCancel {
  readonly type: 'cancel';
  readonly id: number;
}

/** both ways: there is room for so many bytes more of this id's payload. */
export interface ClientCredit {
  readonly type: 'credit';
  readonly id: number;
  readonly bytes: number;
}

/** client -> server: tell of the end of an asynchronous execution; ends with `execution` or `error`. */
export interface ClientSubscribe {
  readonly type: 'subscribe';
  readonly id: number;
  readonly executionId: string;
}

/** client -> server: answer with `pong`. For clients whose WebSocket cannot ping. */
export interface ClientPing {
  readonly type: 'ping';
  readonly nonce?: number | undefined;
}

/** server -> client: the first message. */
export interface ServerHello {
  readonly type: 'hello';
  /** Requests that may be open at once. */
  readonly maxRequests: number;
  readonly windowBytes: number;
  /** A socket on which nothing moves for so long, pings and their answers included, is closed. Milliseconds. */
  readonly idleTimeoutMs: number;
}

interface Answer {
  readonly id: number;
  readonly executionId: string;
  readonly traceId?: string | undefined;
  /** As the header Idempotent-Replayed. */
  readonly replayed?: boolean | undefined;
}

/** server -> client: the handler's output. */
export interface ServerResult extends Answer {
  readonly type: 'result';
  readonly output: JsonText;
  readonly more?: boolean | undefined;
}

/** server -> client: the handler's HTTP answer. */
export interface ServerResponse extends Answer {
  readonly type: 'response';
  readonly status: number;
  readonly headers: HeaderPairs;
  readonly body?: Uint8Array | undefined;
  readonly more?: boolean | undefined;
}

/** server -> client: as the 202 of `:enqueue`. */
export interface ServerAccepted extends Answer {
  readonly type: 'accepted';
  readonly status: string;
}

/** server -> client: an execution that has ended, as `GET /v1/executions/{id}` answers it. */
export interface ServerExecution {
  readonly type: 'execution';
  readonly id: number;
  readonly execution: JsonText;
  readonly more?: boolean | undefined;
}

/** server -> client: the request failed, whatever of its answer has come. */
export interface ServerError {
  readonly type: 'error';
  readonly id: number;
  /** RFC 9457 problem details. */
  readonly problem: JsonText;
  readonly traceId?: string | undefined;
  /** As Retry-After. */
  readonly retryAfterSeconds?: number | undefined;
  readonly replayed?: boolean | undefined;
}

/** server -> client: dial again for new requests. What is open is answered here, then this socket is closed with 1001. */
export interface ServerGoaway {
  readonly type: 'goaway';
}

/** server -> client: answers `ping`. */
export interface ServerPong {
  readonly type: 'pong';
  readonly nonce?: number | undefined;
}

export type ClientMessage =
  | ClientInvoke
  | ClientEnqueue
  | ClientRequest
  | ClientData
  | ClientCancel
  | ClientCredit
  | ClientSubscribe
  | ClientPing;
export type ServerMessage =
  | ServerHello
  | ServerResult
  | ServerResponse
  | ServerAccepted
  | ServerExecution
  | ServerError
  | ClientData
  | ClientCredit
  | ServerGoaway
  | ServerPong;
export type StreamMessage = ClientMessage | ServerMessage;

/** Close codes beside those of RFC 6455. */
export const STREAM_CLOSE = {
  goingAway: { code: 1001, reason: 'going away' },
  tooBig: { code: 1009, reason: 'message too large' },
  malformed: { code: 4400, reason: 'malformed message' },
  unauthorized: { code: 4401, reason: 'the credential is no longer valid' },
  violation: { code: 4422, reason: 'message not allowed in this state' },
} as const;
export type StreamCloseReason = keyof typeof STREAM_CLOSE;

// ---- what is checked ---------------------------------------------------------------------------------------------

/** How a field is written and what it may be; a trailing `?`: it may be left out. */
export type FieldKind =
  | 'id'
  | 'uint'
  | 'uint?'
  | 'token'
  | 'token?'
  | 'path'
  | 'bool?'
  | 'pairs'
  | 'pairs?'
  | 'json'
  | 'json?'
  | 'bytes'
  | 'bytes?';

type FieldsOf<T extends StreamMessage['type']> = Readonly<
  Record<Exclude<keyof Extract<StreamMessage, { type: T }>, 'type'>, FieldKind>
>;

const CALL = {
  function: 'token',
  timeoutMs: 'uint?',
  maxRetries: 'uint?',
  idempotencyKey: 'token?',
  traceparent: 'token?',
  length: 'uint?',
  more: 'bool?',
} as const;
const ANSWER = { id: 'id', executionId: 'token', traceId: 'token?', replayed: 'bool?' } as const;

export const FIELDS: { readonly [T in StreamMessage['type']]: FieldsOf<T> } = {
  invoke: { id: 'id', ...CALL, input: 'json?', metadata: 'json?' },
  enqueue: { id: 'id', ...CALL, input: 'json?', metadata: 'json?', callbackUrl: 'token?' },
  request: {
    id: 'id',
    ...CALL,
    method: 'token',
    path: 'path',
    headers: 'pairs?',
    body: 'bytes?',
  },
  data: { id: 'id', bytes: 'bytes', more: 'bool?' },
  cancel: { id: 'id' },
  credit: { id: 'id', bytes: 'uint' },
  subscribe: { id: 'id', executionId: 'token' },
  ping: { nonce: 'uint?' },
  hello: { maxRequests: 'uint', windowBytes: 'uint', idleTimeoutMs: 'uint' },
  result: { ...ANSWER, output: 'json', more: 'bool?' },
  response: { ...ANSWER, status: 'uint', headers: 'pairs', body: 'bytes?', more: 'bool?' },
  accepted: { ...ANSWER, status: 'token' },
  execution: { id: 'id', execution: 'json', more: 'bool?' },
  error: {
    id: 'id',
    problem: 'json',
    traceId: 'token?',
    retryAfterSeconds: 'uint?',
    replayed: 'bool?',
  },
  goaway: {},
  pong: { nonce: 'uint?' },
};

export const CLIENT_TYPES: ReadonlySet<string> = new Set<ClientMessage['type']>([
  'invoke',
  'enqueue',
  'request',
  'data',
  'cancel',
  'credit',
  'subscribe',
  'ping',
]);

/** A name, id, code or URL. */
export const MAX_CLIENT_TOKEN_CHARS = 4_096;
export const MAX_HEADERS = 1_024;

/** Why bytes are no message. `id`: of the request that they are about, where that much could be read; else 0. */
export class MessageError extends Error {
  readonly code = 'malformed_message';
  readonly reason: string;
  readonly id: number;
  constructor(reason: string, id = 0) {
    super(`malformed message: ${reason}`);
    this.reason = reason;
    this.id = id;
  }
}

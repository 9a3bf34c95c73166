/**
 * The frames of the pod protocol, `simmer.v1`: what each means, its fields and their units.
 *
 * On the wire a frame is one msgpack array `[kind, ...fields]`; a binary WebSocket message holds one or several, one
 * after the other. Fields stand in the order in which the interfaces below declare them. Encoding and checking is in codec.ts;
 * docs/protocol.md is the prose a runtime in another language is written from.
 */

/** Ordered pairs, names in lower case; a name may stand more than once (`set-cookie`). */
export type HeaderPairs = readonly (readonly [name: string, value: string])[];

/** Frame kinds as they stand on the wire. */
export const KIND = {
  hello: 1,
  ready: 2,
  failed: 3,
  head: 4,
  chunk: 5,
  result: 6,
  log: 7,
  credit: 8,
  pong: 9,
  draining: 10,
  welcome: 32,
  specialize: 33,
  code: 34,
  invoke: 35,
  input: 36,
  cancel: 37,
  ping: 38,
  drain: 39,
  goaway: 40,
} as const;

/** How an attempt ended; on the wire its index in this list. */
export const OUTCOMES = ['ok', 'error', 'bad_input', 'timeout', 'cancelled', 'too_large'] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** How a payload is to be read; on the wire its index. `value`: a JSON envelope; `raw`: an HTTP request. */
export const FORMS = ['value', 'raw'] as const;
export type Form = (typeof FORMS)[number];

/** Severity of a log line; on the wire its index. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** pod -> control plane: the first frame of every connection; nothing else is accepted before it. */
export interface Hello {
  readonly kind: 'hello';
  /** PROTOCOL_VERSION of the sender. */
  readonly version: number;
  /** The launch token of a first connection, or the session of an earlier `welcome`. */
  readonly credential: string;
  /** The identity the launcher gave the pod (the pod's UID on Kubernetes). */
  readonly uid: string;
  /** HMAC-SHA-256, base64url, with the pool's key over credential, uid and bootId; empty where there is no pool key. */
  readonly proof: string;
  /** Random, made once a process: tells a reconnect of this process from another process with its credential. */
  readonly bootId: string;
  /** `node`, `python`, ... and its version, for people. */
  readonly runtime: string;
  readonly runtimeVersion: string;
  /** Invocations that the pod is willing to run at once. */
  readonly capacity: number;
  /** Attempts of earlier connections that still run here; each one's end is told by `result` on stream 0. */
  readonly inFlight: number;
}

/** pod -> control plane: the handler is loaded and `invoke` may come. `digest`: of the code that was loaded, or empty. */
export interface Ready {
  readonly kind: 'ready';
  readonly digest: string;
}

/** pod -> control plane: the handler did not load. The pod exits by itself afterwards. */
export interface Failed {
  readonly kind: 'failed';
  readonly code: string;
  readonly message: string;
}

/** pod -> control plane: a raw response begins. At most one a stream, before any of its chunks. */
export interface Head {
  readonly kind: 'head';
  readonly stream: number;
  /** HTTP status, 200 to 599. */
  readonly status: number;
  readonly headers: HeaderPairs;
}

/** pod -> control plane: a piece of a body, at most INLINE_BODY_BYTES, counted against the stream's credit. */
export interface Chunk {
  readonly kind: 'chunk';
  readonly stream: number;
  readonly bytes: Uint8Array;
  /** No further piece comes; the `result` still does. */
  readonly end: boolean;
}

/** What a failed attempt asks of the next. Each is left out where it says nothing. */
export interface RetryHint {
  /** False: no other attempt may follow. */
  readonly retryable?: boolean | undefined;
  /** The next attempt comes after this delay instead of the policy's backoff; null: the policy's. */
  readonly retryAfterMs?: number | null | undefined;
}

/** What a failed attempt's result may say beyond how it ended. */
export interface ResultDetails extends RetryHint {
  /** Of `invalid_input` and `invalid_output`: JSON Pointers into the value, and what is wrong with each. */
  readonly errors?: HeaderPairs | undefined;
}

/** pod -> control plane: the attempt has ended and its slot is free. Exactly one a stream. */
export interface Result extends ResultDetails {
  readonly kind: 'result';
  readonly stream: number;
  readonly outcome: Outcome;
  /** A code of the error registry, or empty with `ok`. */
  readonly code: string;
  readonly message: string;
  /** The whole body where it is at most INLINE_BODY_BYTES and no chunk was sent; JSON for `value`. */
  readonly body: Uint8Array | null;
}

/** pod -> control plane: a line the handler printed. Sent only within `welcome.logBytes`. */
export interface Log {
  readonly kind: 'log';
  readonly stream: number;
  readonly level: LogLevel;
  readonly text: string;
  /** Something is missing: the rest of the text, or the lines after it. Left out where nothing is. */
  readonly cut?: boolean | undefined;
}

/** both ways: the receiver of a stream's body has room for this many bytes more. */
export interface Credit {
  readonly kind: 'credit';
  readonly stream: number;
  readonly bytes: number;
}

/** pod -> control plane: answers `ping`, with its nonce. */
export interface Pong {
  readonly kind: 'pong';
  readonly nonce: number;
}

/** pod -> control plane: send nothing more; what runs is finished, then the pod exits 0. */
export interface Draining {
  readonly kind: 'draining';
}

/** control plane -> pod: the hello was accepted. */
export interface Welcome {
  readonly kind: 'welcome';
  /** Shown as `hello.credential` by every later connection of this process. */
  readonly session: string;
  /** A ping comes at least this often; a pod that hears nothing for three of them dials again. Milliseconds. */
  readonly heartbeatMs: number;
  readonly maxRequestBytes: number;
  readonly maxResultBytes: number;
  /** Each stream's first credit, both ways, in bytes. The inlined first piece counts. */
  readonly windowBytes: number;
  /** Bytes of `log` text wanted for each attempt; 0: none. */
  readonly logBytes: number;
  /** JSON Schema (2020-12) that inputs and outputs are held against, as JSON; empty, or left out: none. */
  readonly inputSchema?: string | undefined;
  readonly outputSchema?: string | undefined;
}

/** control plane -> pod of a generic pool: become this function. Its `code` follows unless the pod holds `digest`. */
export interface Specialize {
  readonly kind: 'specialize';
  readonly session: string;
  /** namespace/name */
  readonly function: string;
  readonly env: HeaderPairs;
  readonly secrets: HeaderPairs;
  /** The module to load, relative to the code's root. */
  readonly entry: string;
  /** `sha256:<hex>` of the code. */
  readonly digest: string;
  /** Named limits as decimal strings: `capacity`, `graceMs`, `memoryBytes`, `maxRequestBytes`, `maxResultBytes`. */
  readonly limits: HeaderPairs;
  /** As in `welcome`; a pod that got them there is not told again. */
  readonly inputSchema?: string | undefined;
  readonly outputSchema?: string | undefined;
}

/** control plane -> pod: a piece of the code that `specialize` named, in order of `offset`. */
export interface Code {
  readonly kind: 'code';
  readonly digest: string;
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly end: boolean;
}

/** control plane -> pod: run one attempt. */
export interface Invoke {
  readonly kind: 'invoke';
  /** Numbers the attempt on this connection: from 1, never used twice. */
  readonly stream: number;
  readonly executionId: string;
  /** From 1. */
  readonly attempt: number;
  /** Milliseconds that remain to the attempt when the frame is written. */
  readonly budgetMs: number;
  readonly form: Form;
  /** HTTP method and target (path below the function, with query); empty with `value`. */
  readonly method: string;
  readonly target: string;
  /** With `value` only `traceparent`. */
  readonly headers: HeaderPairs;
  /** The body, or its first piece. */
  readonly body: Uint8Array;
  /** More pieces follow as `input`. */
  readonly more: boolean;
}

/** control plane -> pod: a further piece of a request body, counted against the stream's credit. */
export interface Input {
  readonly kind: 'input';
  readonly stream: number;
  readonly bytes: Uint8Array;
  readonly end: boolean;
}

/** control plane -> pod: abort the attempt's signal; its `result` is still due. */
export interface Cancel {
  readonly kind: 'cancel';
  readonly stream: number;
  /** `timeout`, `client_closed`, `cancelled` */
  readonly reason: string;
}

/** control plane -> pod: answer with `pong`. */
export interface Ping {
  readonly kind: 'ping';
  readonly nonce: number;
}

/** control plane -> pod: finish what runs within `graceMs`, then exit 0. */
export interface Drain {
  readonly kind: 'drain';
  readonly graceMs: number;
}

/** control plane -> pod: dial `address` with `session` for new work; finish the old work here. */
export interface Goaway {
  readonly kind: 'goaway';
  readonly address: string;
  readonly session: string;
}

export type PodFrame =
  | Hello
  | Ready
  | Failed
  | Head
  | Chunk
  | Result
  | Log
  | Credit
  | Pong
  | Draining;
export type ControlFrame =
  | Welcome
  | Specialize
  | Code
  | Invoke
  | Input
  | Credit
  | Cancel
  | Ping
  | Drain
  | Goaway;
export type Frame = PodFrame | ControlFrame;
export type FrameKind = Frame['kind'];

/** WebSocket close codes of the pod link. A pod that is closed with a fatal one exits non-zero: dialling again cannot help. */
export const CLOSE = {
  malformed: { code: 4400, fatal: false, reason: 'malformed frame' },
  unauthorized: { code: 4401, fatal: true, reason: 'unknown, expired or spent credential' },
  forbidden: { code: 4403, fatal: true, reason: 'credential belongs to another pod' },
  unidentified: { code: 4404, fatal: false, reason: 'no such pod is known yet' },
  helloTimeout: { code: 4408, fatal: false, reason: 'no hello in time' },
  replaced: { code: 4409, fatal: false, reason: 'a newer socket of this session took its place' },
  gone: { code: 4410, fatal: true, reason: 'this pod is not wanted any more' },
  unresponsive: { code: 4412, fatal: false, reason: 'missed its heartbeats' },
  version: { code: 4426, fatal: true, reason: 'protocol version not supported' },
  violation: { code: 4422, fatal: false, reason: 'frame not allowed in this state' },
  shutdown: { code: 4503, fatal: false, reason: 'control plane is shutting down' },
} as const;
export type CloseReason = keyof typeof CLOSE;

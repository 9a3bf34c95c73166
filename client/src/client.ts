/**
 * Calls functions of Simmer over one WebSocket. For Node 22 and browsers; README.md has the guide.
 *
 *     const simmer = new SimmerClient('http://localhost:8080');
 *     await simmer.invoke('echo', { hello: 'world' });
 *
 * Invariants:
 *  S1. A request that may have reached the server is sent again only where that does no harm: it has an idempotency key, or
 *      only asks. All others fail with `connection_lost`.
 *  S2. Dialling again waits a random time that grows with each failure (full jitter), and is given up in the end.
 */
import { type ServerMessage, STREAM_PATH } from '@simmer/protocol/client-messages';
import { Connection, type ConnectionOwner } from './connection.ts';
import { connectionLost, SimmerError } from './errors.ts';
import { Exchange, type First, type Receiver } from './exchange.ts';
import { concat, RawCall } from './raw-call.ts';

export { type Problem, SimmerError } from './errors.ts';
export { RawCall, type ResponseHead } from './raw-call.ts';

export interface SimmerClientOptions {
  /** An API key, or a JWT. Sent as a subprotocol, since browsers can set no header; never in the URL. */
  readonly key?: string;
  /** `msgpack` takes payloads of any size, `json` is easy to watch and takes 64 KiB a message. */
  readonly spelling?: 'msgpack' | 'json';
  /** Between two attempts to connect: up to `baseMs`, twice that after the next failure, and so on up to `maxMs`. */
  readonly backoff?: { readonly baseMs?: number; readonly maxMs?: number };
  /** Failures to connect in a row after which what waits fails. */
  readonly maxAttempts?: number;
}

/** Of one request. */
export interface RequestOptions {
  readonly signal?: AbortSignal;
  /** Time for the call; with `enqueue` for each attempt. Milliseconds. */
  readonly timeoutMs?: number;
  /** Attempts that may follow the first. */
  readonly maxRetries?: number;
  /** Of the requests that bring the same key one runs; with one, a lost connection does not fail the request. */
  readonly idempotencyKey?: string;
  /** W3C Trace Context. */
  readonly traceparent?: string;
}
export interface InvokeOptions extends RequestOptions {
  readonly metadata?: Readonly<Record<string, unknown>>;
}
export interface EnqueueOptions extends InvokeOptions {
  /** Gets the end of the execution. */
  readonly callbackUrl?: string;
}
export interface RawOptions extends RequestOptions {
  /** GET where there is no body, else POST. */
  readonly method?: string;
  readonly headers?: Headers | Readonly<Record<string, string>> | [string, string][];
  readonly body?: string | Uint8Array;
}

export interface Result<T> {
  readonly output: T;
  readonly executionId: string;
  readonly traceId: string | undefined;
  /** The answer to an earlier request of the same idempotency key. */
  readonly replayed: boolean;
}
export interface Accepted {
  readonly executionId: string;
  readonly status: string;
  readonly replayed: boolean;
}
/** As `GET /v1/executions/{id}` answers it. */
export interface Execution {
  readonly executionId: string;
  readonly status: string;
  readonly output?: unknown;
  readonly [field: string]: unknown;
}

const BASE_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 10_000;
const MAX_ATTEMPTS = 8;
/** Close code of a credential that does not hold (any more). */
const UNAUTHORIZED = 4401;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const NOTHING = new Uint8Array(0);

export class SimmerClient {
  private readonly url: string;
  private readonly options: SimmerClientOptions;
  private connection: Connection | null = null;
  /** Those that go on until their last answer, beside the present one. */
  private readonly leaving = new Set<Connection>();
  /** In the order in which they are to be sent. */
  private waiting: Exchange[] = [];
  private lastId = 0;
  private failures = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private closed = false;

  /** `url`: http(s) or ws(s), of the public port. */
  constructor(url: string | URL, options: SimmerClientOptions = {}) {
    const target = new URL(url);
    target.protocol = target.protocol.replace(/^http/, 'ws');
    target.pathname = target.pathname.replace(/\/$/, '') + STREAM_PATH;
    target.search = '';
    this.url = target.href;
    this.options = options;
  }

  /** The handler's output. Rejects with a SimmerError, or with the signal's reason. */
  async invoke<T = unknown>(
    name: string,
    input?: unknown,
    options: InvokeOptions = {},
  ): Promise<T> {
    return (await this.call<T>(name, input, options)).output;
  }

  /** As `invoke`, with what is known of the execution. */
  async call<T = unknown>(
    name: string,
    input?: unknown,
    options: InvokeOptions = {},
  ): Promise<Result<T>> {
    const first = { type: 'invoke', id: this.nextId(), ...called(name, options) } as const;
    const { message, bytes } = await this.whole(first, jsonOf(input), options.signal);
    const {
      executionId,
      traceId,
      replayed = false,
    } = message as ServerMessage & { type: 'result' };
    return { output: JSON.parse(decoder.decode(bytes)) as T, executionId, traceId, replayed };
  }

  /** Accepted: it runs, or will, whatever becomes of this connection. `executionEnd` tells how it ended. */
  async enqueue(name: string, input?: unknown, options: EnqueueOptions = {}): Promise<Accepted> {
    const { callbackUrl } = options;
    const first = {
      ...({ type: 'enqueue', id: this.nextId(), ...called(name, options) } as const),
      ...(callbackUrl !== undefined && { callbackUrl }),
    };
    const { message } = await this.whole(first, jsonOf(input), options.signal);
    const {
      executionId,
      status,
      replayed = false,
    } = message as ServerMessage & {
      type: 'accepted';
    };
    return { executionId, status, replayed };
  }

  /** Waits for the end of an asynchronous execution, across lost connections. */
  async executionEnd(
    executionId: string,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<Execution> {
    const first = { type: 'subscribe', id: this.nextId(), executionId } as const;
    const { bytes } = await this.whole(first, NOTHING, options.signal);
    return JSON.parse(decoder.decode(bytes)) as Execution;
  }

  /** An HTTP request to the function; `path` begins with a slash and may have a query. */
  request(name: string, path = '/', options: RawOptions = {}): RawCall {
    const body = typeof options.body === 'string' ? encoder.encode(options.body) : options.body;
    const headers = [...new Headers(options.headers as Headers)];
    const method = options.method ?? (body === undefined ? 'GET' : 'POST');
    const first = {
      ...({ type: 'request', id: this.nextId(), ...called(name, options), method, path } as const),
      ...(headers.length > 0 && { headers }),
    };
    let stop = (): void => {};
    const call = new RawCall(() => stop());
    stop = this.begin(first, body ?? NOTHING, call, options.signal);
    return call;
  }

  /** Ends all connections; what had no answer fails with `client_closed`. */
  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    this.connection?.close();
    for (const connection of this.leaving) connection.close();
    this.failWaiting(clientClosed());
  }

  // ---- requests ----------------------------------------------------------------------------------------------------

  private nextId(): number {
    return ++this.lastId;
  }

  /** The answer's first message, and all of its payload. */
  private whole(
    first: First,
    payload: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<{ message: ServerMessage; bytes: Uint8Array }> {
    return new Promise((resolve, reject) => {
      const pieces: Uint8Array[] = [];
      let message: ServerMessage;
      const receiver: Receiver = {
        begin(begun) {
          message = begun;
        },
        piece(bytes, taken) {
          pieces.push(bytes);
          taken();
        },
        end: () => resolve({ message, bytes: concat(pieces) }),
        fail: reject,
      };
      this.begin(first, payload, receiver, signal);
    });
  }

  /** Returns how to give it up. */
  private begin(
    first: First,
    payload: Uint8Array,
    receiver: Receiver,
    signal: AbortSignal | undefined,
  ): () => void {
    const exchange = new Exchange(first, payload, {
      begin: (message) => receiver.begin(message),
      piece: (bytes, taken) => receiver.piece(bytes, taken),
      end: () => {
        signal?.removeEventListener('abort', onAbort);
        receiver.end();
      },
      fail: (error) => {
        signal?.removeEventListener('abort', onAbort);
        receiver.fail(error);
      },
    });
    const giveUp = (reason: unknown): void => {
      exchange.cancel(reason);
      this.waiting = this.waiting.filter((one) => one !== exchange);
    };
    const onAbort = (): void => giveUp(signal?.reason);
    if (this.closed) exchange.fail(clientClosed());
    else if (signal?.aborted) exchange.fail(signal.reason);
    else {
      signal?.addEventListener('abort', onAbort);
      this.waiting.push(exchange);
      this.pump();
    }
    return () => giveUp(new SimmerError({ code: 'cancelled', detail: 'Its answer was not read.' }));
  }

  private pump(): void {
    if (this.waiting.length === 0 || this.closed) return;
    if (this.connection === null) {
      if (this.timer === undefined) this.dial();
      return;
    }
    while (this.connection?.hasRoom) {
      const exchange = this.waiting.shift();
      if (exchange === undefined) return;
      this.connection.start(exchange);
    }
  }

  // ---- connections -------------------------------------------------------------------------------------------------

  private dial(): void {
    this.timer = undefined;
    const { spelling = 'msgpack', key } = this.options;
    this.connection = new Connection(this.url, spelling === 'msgpack', key, this.owner);
  }

  private readonly owner: ConnectionOwner = {
    ready: () => {
      this.failures = 0;
      this.pump();
    },
    leaving: (connection) => {
      if (this.connection === connection) this.connection = null;
      this.leaving.add(connection);
      this.pump();
    },
    refused: (exchange) => {
      exchange.again();
      this.waiting.unshift(exchange);
    },
    closed: (connection, open, code, reason) => this.onClosed(connection, open, code, reason),
  };

  private onClosed(
    connection: Connection,
    open: readonly Exchange[],
    code: number,
    reason: string,
  ): void {
    const wasCurrent = this.connection === connection;
    if (wasCurrent) this.connection = null;
    this.leaving.delete(connection);
    const why = `The connection was lost (${code}${reason === '' ? '' : `: ${reason}`}).`;
    const again: Exchange[] = [];
    for (const exchange of open) {
      if (this.closed) exchange.fail(clientClosed());
      else if (code !== UNAUTHORIZED && exchange.isRepeatable) {
        exchange.again();
        again.push(exchange);
      } else exchange.fail(code === UNAUTHORIZED ? unauthenticated(reason) : connectionLost(why)); // S1
    }
    this.waiting = [...again, ...this.waiting];
    if (this.closed || !wasCurrent) {
      this.pump();
      return;
    }
    this.failures++;
    if (code === UNAUTHORIZED) this.failWaiting(unauthenticated(reason));
    else if (this.failures >= (this.options.maxAttempts ?? MAX_ATTEMPTS)) {
      this.failures = 0;
      this.failWaiting(
        connectionLost(`${why} It was tried ${this.options.maxAttempts ?? MAX_ATTEMPTS} times.`),
      );
    } else if (this.waiting.length > 0) this.redial();
  }

  /** S2 */
  private redial(): void {
    const { baseMs = BASE_BACKOFF_MS, maxMs = MAX_BACKOFF_MS } = this.options.backoff ?? {};
    const most = Math.min(maxMs, baseMs * 2 ** (this.failures - 1));
    this.timer = setTimeout(() => this.dial(), Math.random() * most);
  }

  private failWaiting(error: SimmerError): void {
    const waiting = this.waiting;
    this.waiting = [];
    for (const exchange of waiting) exchange.fail(error);
  }
}

function clientClosed(): SimmerError {
  return new SimmerError({ code: 'client_closed', detail: 'The client was closed.' });
}

function unauthenticated(reason: string): SimmerError {
  const detail = reason === '' ? 'The credential does not hold.' : reason;
  return new SimmerError({ code: 'unauthenticated', status: 401, detail });
}

function jsonOf(input: unknown): Uint8Array {
  const text = input === undefined ? undefined : JSON.stringify(input);
  return text === undefined ? NOTHING : encoder.encode(text);
}

/** What is given of it. */
function called(name: string, options: InvokeOptions) {
  const { timeoutMs, maxRetries, idempotencyKey, traceparent, metadata } = options;
  return {
    function: name,
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(maxRetries !== undefined && { maxRetries }),
    ...(idempotencyKey !== undefined && { idempotencyKey }),
    ...(traceparent !== undefined && { traceparent }),
    ...(metadata !== undefined && { metadata: JSON.stringify(metadata) }),
  };
}

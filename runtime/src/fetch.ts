/** Calls a `fetch` handler: makes its Request, checks its Response. Node loads its fetch classes (30 ms) at first touch. */
import type { HeaderPairs } from '@simmer/protocol/frames';
import type { Attempt } from './attempt.ts';
import { contentType } from './content-type.ts';
import type { Context } from './context.ts';
import type { Executor } from './executor.ts';
import type { Failure } from './failure.ts';
import { describe, failure, stackOf } from './failure.ts';
import type { FetchHandler } from './handler.ts';
import { firstHeader } from './raw-request.ts';

type RequestBodyInit = NonNullable<NonNullable<ConstructorParameters<typeof Request>[1]>['body']>;

/** Touches the classes, so that loading them is not left to the first call. Cheap when they are. */
export function warmFetch(): void {
  void new Response(new Request('http://warm/').body);
}

/**
 * Resolves with the handler's Response. Undefined: the attempt has failed already. Rejects with what the handler threw.
 * `target` begins with a slash.
 */
export async function callFetch(
  executor: Executor,
  attempt: Attempt,
  handler: FetchHandler,
  ctx: Context,
  method: string,
  target: string,
  pairs: HeaderPairs,
  body: ReadableStream<Uint8Array> | Uint8Array | string | undefined,
): Promise<Response | undefined> {
  let request: Request;
  try {
    const hasBody = body !== undefined && method !== 'GET' && method !== 'HEAD';
    request = new Request(urlOf(attempt, target, firstHeader(pairs, 'host')), {
      method,
      headers: headersOf(pairs),
      signal: attempt.signal,
      ...(hasBody ? { body: body as RequestBodyInit, duplex: 'half' } : {}),
    });
  } catch (error) {
    // CONNECT, TRACE and TRACK have no Request in the fetch standard.
    executor.fail(attempt, failure('bad_input', 'bad_input', (error as Error).message));
    return undefined;
  }
  const response = await handler(request, ctx);
  if (isResponse(response)) return response;
  throw new TypeError('fetch must return a Response');
}

/** Of undici's own copy, of a polyfill or of Node: by its shape. */
function isResponse(value: unknown): value is Response {
  const response = value as Partial<Response> | null | undefined;
  return (
    typeof response === 'object' &&
    response !== null &&
    typeof response.status === 'number' &&
    response.status >= 200 &&
    response.status <= 599 &&
    typeof response.headers?.[Symbol.iterator] === 'function'
  );
}

function urlOf(attempt: Attempt, target: string, host: string | undefined): string {
  if (host !== undefined && URL.canParse(`http://${host}${target}`))
    return `http://${host}${target}`;
  const [namespace, name] = attempt.host.functionKey.split('/');
  return `http://${name}.${namespace}${target}`;
}

/** Header values are bytes; those past Latin-1 came as UTF-8 and go back to what was on the wire. */
function headersOf(pairs: HeaderPairs): Headers {
  const headers = new Headers();
  for (const [name, value] of pairs) {
    try {
      headers.append(name, value);
    } catch {
      headers.append(name, Buffer.from(value).toString('latin1'));
    }
  }
  return headers;
}

/** What `:invoke` answers of a Response. */
export interface ResponseValue {
  readonly status: number;
  /** By lower-case name; `set-cookie` is a list. */
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  /** Parsed where the content type is JSON, text where it is text, base64 otherwise; null where there is none. */
  readonly body: unknown;
  readonly bodyEncoding?: 'base64';
}

/** Reads the Response whole. Undefined: it was too large, or its body broke, and the attempt has failed with that. */
export async function responseAsValue(
  executor: Executor,
  attempt: Attempt,
  response: Response,
): Promise<ResponseValue | undefined> {
  const { maxResultBytes } = attempt.limits;
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  const read = await readBody(executor, attempt, response, (piece) => {
    bytes += piece.length;
    if (bytes > maxResultBytes) {
      executor.fail(
        attempt,
        failure('too_large', 'result_too_large', `over ${maxResultBytes} bytes`),
      );
      return false;
    }
    pieces.push(piece);
    return true;
  });
  if (!read) return undefined;
  return describeResponse(response, Buffer.concat(pieces));
}

function describeResponse(response: Response, bytes: Buffer): ResponseValue {
  const headers: Record<string, string | string[]> = {};
  for (const [name, value] of response.headers) {
    if (name === 'set-cookie') headers[name] = [...(headers[name] ?? []), value];
    else headers[name] = value;
  }
  const { status } = response;
  if (bytes.length === 0) return { status, headers, body: null };
  const type = contentType(response.headers.get('content-type') ?? undefined);
  if (type.kind === 'json') {
    try {
      return { status, headers, body: JSON.parse(bytes.toString()) };
    } catch {
      // It says it is JSON and is not: text shows what it is.
      return { status, headers, body: bytes.toString() };
    }
  }
  if (type.kind === 'text') return { status, headers, body: bytes.toString() };
  return { status, headers, body: bytes.toString('base64'), bodyEncoding: 'base64' };
}

/**
 * Hands the Response's body to `take`, a piece at a time; it may ask to wait, and returns false to stop. Resolves with
 * true when all of it was taken; otherwise the attempt has failed or was stopped.
 *
 * An abort cancels the body: a Response whose source does not listen to the signal would hold its slot for ever.
 */
export async function readBody(
  executor: Executor,
  attempt: Attempt,
  response: Response,
  take: (piece: Uint8Array) => boolean | Promise<boolean>,
): Promise<boolean> {
  if (response.body === null || response.body === undefined) return true;
  let reader: ReadableStreamDefaultReader<unknown>;
  try {
    reader = response.body.getReader();
  } catch (error) {
    executor.fail(attempt, unreadable(error));
    return false;
  }
  const cancel = () => void reader.cancel(attempt.signal.reason).catch(() => {});
  attempt.signal.addEventListener('abort', cancel, { once: true });
  if (attempt.signal.aborted) cancel();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (attempt.state.kind !== 'running') {
        executor.fail(attempt, unreadable('stopped'));
        return false;
      }
      if (done) return true;
      if (!(value instanceof Uint8Array)) throw new TypeError('a piece of it is not bytes');
      if (!(await take(value))) {
        cancel();
        // Where it was not `take` that failed the attempt, it was stopped.
        executor.fail(attempt, unreadable('stopped'));
        return false;
      }
    }
  } catch (error) {
    executor.log.write('error', describe(error), { stack: stackOf(error) }, attempt);
    executor.fail(attempt, unreadable(error));
    return false;
  } finally {
    attempt.signal.removeEventListener('abort', cancel);
  }
}

function unreadable(error: unknown): Failure {
  const message = `the Response's body broke: ${describe(error)}`;
  return failure('error', 'result_not_serializable', message);
}

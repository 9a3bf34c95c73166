/**
 * The raw form: an HTTP request through `/fn/...`, answered by a `fetch` handler with its Response, or by a default one
 * with a value that becomes a body. With both exports, `fetch` answers it.
 */
import type { HeaderPairs, Invoke } from '@simmer/protocol/frames';
import { INLINE_BODY_BYTES } from '@simmer/protocol/limits';
import type { Attempt } from './attempt.ts';
import { isStopped } from './attempt.ts';
import { contentType } from './content-type.ts';
import { Context } from './context.ts';
import type { Executor } from './executor.ts';
import { failure } from './failure.ts';
import { callFetch, readBody } from './fetch.ts';
import type { FetchHandler, Handlers, ValueHandler } from './handler.ts';
import type { OutBody } from './outbox.ts';
import { firstHeader, RawRequest } from './raw-request.ts';
import { acceptInput, acceptOutput } from './validation.ts';
import { sendWhole, serialize, tooLarge, utf8 } from './value.ts';

const NO_METADATA: Readonly<Record<string, unknown>> = Object.freeze({});

/** Headers of one hop, which mean nothing past it. */
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding', 'upgrade']);

export function runRaw(
  executor: Executor,
  attempt: Attempt,
  frame: Invoke,
  handlers: Handlers,
): void {
  if (handlers.fetch !== undefined) {
    executor.runAs(attempt, respond, executor, attempt, frame, handlers.fetch);
    return;
  }
  const handler = handlers.value as ValueHandler;
  if (attempt.requestBody === undefined) {
    executor.runAs(attempt, call, executor, attempt, frame, handler, frame.body);
    return;
  }
  attempt.requestBody.collect().then(
    (body) => executor.runAs(attempt, call, executor, attempt, frame, handler, body),
    (reason) => executor.threw(attempt, reason),
  );
}

// ---- fetch ----

function respond(executor: Executor, attempt: Attempt, frame: Invoke, handler: FetchHandler): void {
  const { method, headers } = frame;
  const target = rooted(frame.target);
  const body = attempt.requestBody?.stream() ?? (frame.body.length > 0 ? frame.body : undefined);
  const ctx = new Context(attempt, NO_METADATA, new RawRequest(method, target, headers));
  callFetch(executor, attempt, handler, ctx, method, target, headers, body)
    .then((response) => response && sendResponse(executor, attempt, response))
    .catch((error) => executor.threw(attempt, error));
}

/**
 * The head at once, then the body as it comes. Pieces that come within one turn of the event loop are held back until its
 * end, so that a small complete body travels in the result.
 */
async function sendResponse(
  executor: Executor,
  attempt: Attempt,
  response: Response,
): Promise<void> {
  const { connection, stream, limits } = attempt;
  if (attempt.state.kind !== 'running') {
    executor.fail(attempt, failure('error', 'function_error', 'stopped'));
    return;
  }
  if (response.bodyUsed || response.body?.locked) {
    const message = 'the body of the Response was read already';
    executor.fail(attempt, failure('error', 'result_not_serializable', message));
    return;
  }
  const headers: HeaderPairs = [...response.headers].filter(([name]) => !HOP_BY_HOP.has(name));
  connection.send({ kind: 'head', stream, status: response.status, headers });

  let held: Uint8Array[] = [];
  let heldBytes = 0;
  let out: OutBody | undefined;
  let turn: NodeJS.Immediate | undefined;
  const flush = (): Promise<boolean> => {
    clearImmediate(turn);
    out ??= connection.outbox.open(stream, limits.windowBytes);
    const bytes = held.length === 1 ? (held[0] as Uint8Array) : Buffer.concat(held);
    held = [];
    heldBytes = 0;
    return out.write(bytes);
  };
  const all = await readBody(executor, attempt, response, (piece) => {
    held.push(piece);
    heldBytes += piece.length;
    if (out !== undefined || heldBytes > INLINE_BODY_BYTES) return flush();
    turn ??= setImmediate(() => attempt.state.kind === 'running' && void flush());
    return true;
  });
  clearImmediate(turn);
  if (!all) return;
  if (out === undefined) {
    executor.succeed(attempt, heldBytes === 0 ? null : Buffer.concat(held));
    return;
  }
  await out.end();
  executor.succeed(attempt, null);
}

// ---- default export ----

function call(
  executor: Executor,
  attempt: Attempt,
  frame: Invoke,
  handler: ValueHandler,
  body: Uint8Array,
): void {
  let input: unknown;
  try {
    input = inputOf(body, firstHeader(frame.headers, 'content-type'));
  } catch (error) {
    executor.fail(attempt, failure('bad_input', 'invalid_json', (error as Error).message));
    return;
  }
  if (!acceptInput(executor, attempt, input)) return;
  const request = new RawRequest(frame.method, rooted(frame.target), frame.headers);
  const ctx = new Context(attempt, NO_METADATA, request);
  let returned: unknown;
  try {
    returned = handler(input, ctx);
  } catch (error) {
    executor.threw(attempt, error);
    return;
  }
  Promise.resolve(returned).then(
    (output) => sendOutput(executor, attempt, output),
    (error) => executor.threw(attempt, error),
  );
}

/** JSON becomes a value, text a string, anything else bytes; nothing, undefined. @throws {SyntaxError} for broken JSON. */
function inputOf(body: Uint8Array, header: string | undefined): unknown {
  if (body.length === 0) return undefined;
  const type = contentType(header);
  switch (type.kind) {
    case 'json':
      return JSON.parse(utf8(body));
    case 'text':
      return decodeText(body, type.charset);
    case 'bytes':
      return body;
  }
}

/** Bytes where Node does not know the charset. */
function decodeText(body: Uint8Array, charset: string): unknown {
  if (charset === 'utf-8' || charset === 'utf8') return utf8(body);
  try {
    return new TextDecoder(charset).decode(body);
  } catch {
    return body;
  }
}

const NULL = Buffer.from('null');

/** And back: a string is text, bytes are bytes, undefined is no content, anything else JSON. */
function sendOutput(executor: Executor, attempt: Attempt, output: unknown): void {
  if (output === undefined) {
    if (!acceptOutput(executor, attempt, NULL)) return;
    sendHead(attempt, 204, undefined);
    executor.succeed(attempt, null);
    return;
  }
  const whole = bytesOf(output);
  if (whole !== undefined) {
    if (!acceptOutput(executor, attempt, undefined)) return;
    reply(executor, attempt, 'application/octet-stream', whole);
  } else if (typeof output === 'string') {
    const { output: checked } = executor.validation;
    if (checked && !acceptOutput(executor, attempt, Buffer.from(JSON.stringify(output)))) return;
    reply(executor, attempt, 'text/plain; charset=utf-8', Buffer.from(output));
  } else {
    const json = serialize(executor, attempt, output);
    if (json === undefined || !acceptOutput(executor, attempt, json)) return;
    reply(executor, attempt, 'application/json', json);
  }
}

function reply(executor: Executor, attempt: Attempt, type: string, bytes: Uint8Array): void {
  const { maxResultBytes } = attempt.limits;
  if (bytes.length > maxResultBytes) {
    executor.fail(attempt, tooLarge(bytes.length, maxResultBytes));
    return;
  }
  sendHead(attempt, 200, type);
  sendWhole(executor, attempt, bytes);
}

/** None once the attempt was stopped: then its failure is the whole answer. */
function sendHead(attempt: Attempt, status: number, type: string | undefined): void {
  if (isStopped(attempt.state)) return;
  const headers: HeaderPairs = type === undefined ? [] : [['content-type', type]];
  attempt.connection.send({ kind: 'head', stream: attempt.stream, status, headers });
}

function bytesOf(output: unknown): Uint8Array | undefined {
  if (output instanceof Uint8Array) return output;
  if (output instanceof ArrayBuffer) return new Uint8Array(output);
  if (!ArrayBuffer.isView(output)) return undefined;
  return new Uint8Array(output.buffer, output.byteOffset, output.byteLength);
}

function rooted(target: string): string {
  return target.startsWith('/') ? target : `/${target}`;
}

/**
 * The value form: a JSON envelope `{input, metadata}` in, the handler's output as JSON out. This is the warm path: what
 * the common call does not need is not made.
 */
import { envelopeFault } from '@simmer/protocol/envelope';
import type { Invoke } from '@simmer/protocol/frames';
import { INLINE_BODY_BYTES } from '@simmer/protocol/limits';
import type { Attempt } from './attempt.ts';
import { isStopped } from './attempt.ts';
import { Context } from './context.ts';
import type { Executor } from './executor.ts';
import { failure } from './failure.ts';
import { callFetch, responseAsValue } from './fetch.ts';
import type { FetchHandler, Handlers, ValueHandler } from './handler.ts';
import { acceptInput, acceptOutput } from './validation.ts';

interface Envelope {
  readonly input: unknown;
  readonly metadata: Readonly<Record<string, unknown>>;
}

const NO_METADATA: Readonly<Record<string, unknown>> = Object.freeze({});
const EMPTY: Envelope = { input: undefined, metadata: NO_METADATA };

/** Runs one `:invoke`. With both exports, the default one answers it. */
export function runValue(
  executor: Executor,
  attempt: Attempt,
  frame: Invoke,
  handlers: Handlers,
): void {
  if (attempt.requestBody === undefined) {
    executor.runAs(attempt, begin, executor, attempt, frame.body, handlers);
    return;
  }
  attempt.requestBody.collect().then(
    (body) => executor.runAs(attempt, begin, executor, attempt, body, handlers),
    (reason) => executor.threw(attempt, reason),
  );
}

function begin(executor: Executor, attempt: Attempt, body: Uint8Array, handlers: Handlers): void {
  const envelope = parse(executor, attempt, body);
  if (envelope === undefined) return;
  const ctx = new Context(attempt, envelope.metadata, undefined);
  if (!acceptInput(executor, attempt, envelope.input)) return;
  if (handlers.value !== undefined) call(executor, attempt, handlers.value, envelope.input, ctx);
  else fetchValue(executor, attempt, handlers.fetch as FetchHandler, envelope.input, ctx);
}

/** Undefined: it is no envelope, and the attempt has failed with that. */
function parse(executor: Executor, attempt: Attempt, body: Uint8Array): Envelope | undefined {
  if (body.length === 0) return EMPTY;
  let value: unknown;
  try {
    value = JSON.parse(utf8(body));
  } catch (error) {
    executor.fail(attempt, failure('bad_input', 'invalid_json', (error as Error).message));
    return undefined;
  }
  const fault = envelopeFault(value);
  if (fault !== undefined) {
    executor.fail(attempt, failure('bad_input', fault.code, fault.message));
    return undefined;
  }
  const { input, metadata = NO_METADATA } = value as Partial<Envelope>;
  return { input, metadata };
}

function call(
  executor: Executor,
  attempt: Attempt,
  handler: ValueHandler,
  input: unknown,
  ctx: Context,
): void {
  let returned: unknown;
  try {
    returned = handler(input, ctx);
  } catch (error) {
    executor.threw(attempt, error);
    return;
  }
  Promise.resolve(returned).then(
    (output) => finish(executor, attempt, output),
    (error) => executor.threw(attempt, error),
  );
}

function finish(executor: Executor, attempt: Attempt, output: unknown): void {
  const bytes = serialize(executor, attempt, output);
  if (bytes === undefined || !acceptOutput(executor, attempt, bytes)) return;
  sendWhole(executor, attempt, bytes);
}

/** As JSON. Undefined: it has no JSON form, and the attempt has failed with that. */
export function serialize(
  executor: Executor,
  attempt: Attempt,
  output: unknown,
): Buffer | undefined {
  if (output === undefined) return Buffer.from('null');
  let json: string | undefined;
  let why = `a ${typeof output} has no JSON form`;
  try {
    json = JSON.stringify(output);
  } catch (error) {
    why = error instanceof Error ? error.message : String(error);
  }
  if (json !== undefined) return Buffer.from(json);
  executor.fail(attempt, failure('error', 'result_not_serializable', why));
  return undefined;
}

/** Ends the attempt with a body that is all there: within the result, or in pieces before it. */
export function sendWhole(executor: Executor, attempt: Attempt, bytes: Uint8Array): void {
  const { maxResultBytes, windowBytes } = attempt.limits;
  if (isStopped(attempt.state)) {
    executor.succeed(attempt, null);
  } else if (bytes.length > maxResultBytes) {
    executor.fail(attempt, tooLarge(bytes.length, maxResultBytes));
  } else if (bytes.length <= INLINE_BODY_BYTES) {
    executor.succeed(attempt, bytes);
  } else {
    // Whether it was sent or dropped: how the attempt ended is its own state's to say.
    const body = attempt.connection.outbox.open(attempt.stream, windowBytes);
    void body.end(bytes).then(() => executor.succeed(attempt, null));
  }
}

export function tooLarge(bytes: number, max: number) {
  return failure('too_large', 'result_too_large', `${bytes} bytes, of ${max} allowed`);
}

/** A module with a fetch export alone: the input is POSTed to it as JSON, its Response described as a value. */
function fetchValue(
  executor: Executor,
  attempt: Attempt,
  handler: FetchHandler,
  input: unknown,
  ctx: Context,
): void {
  const json = input === undefined ? undefined : JSON.stringify(input);
  const headers: [string, string][] = [['content-type', 'application/json']];
  if (attempt.traceparent !== '') headers.push(['traceparent', attempt.traceparent]);
  callFetch(executor, attempt, handler, ctx, 'POST', '/', headers, json)
    .then((response) => response && responseAsValue(executor, attempt, response))
    .then(
      (value) => value !== undefined && finish(executor, attempt, value),
      (error) => executor.threw(attempt, error),
    );
}

/** Of bytes that are a Buffer in all but type. */
export function utf8(bytes: Uint8Array): string {
  const buffer = Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return buffer.toString();
}

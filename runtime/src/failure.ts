/** What a handler's failure looks like to its caller: an outcome, a code of the registry and a message, never a stack. */
import { inspect, types } from 'node:util';
import type { ErrorCode } from '@simmer/protocol/errors';
import type { Outcome, ResultDetails, RetryHint } from '@simmer/protocol/frames';
import { MAX_TEXT_CHARS } from '@simmer/protocol/limits';

/** How an attempt went wrong. */
export interface Failure extends ResultDetails {
  readonly outcome: Exclude<Outcome, 'ok'>;
  readonly code: ErrorCode;
  readonly message: string;
}

/** A failure with its message cut to what a frame may hold. */
export function failure(outcome: Failure['outcome'], code: ErrorCode, message: string): Failure {
  return { outcome, code, message: message.slice(0, MAX_TEXT_CHARS) };
}

/** Of whatever a handler threw; it may be anything, and its properties may throw in turn. */
export function failureOf(thrown: unknown): Failure {
  try {
    if ((thrown as { code?: unknown } | null | undefined)?.code === 'bad_input') {
      return failure('bad_input', 'bad_input', String((thrown as Error).message));
    }
  } catch {
    // A getter that throws is no bad_input.
  }
  return { ...failure('error', 'function_error', describe(thrown)), ...hintOf(thrown) };
}

/** What it says of the next attempt. By its properties, not its class: no import is needed, and it may be of another realm. */
function hintOf(thrown: unknown): RetryHint | undefined {
  if (typeof thrown !== 'object' || thrown === null) return undefined;
  try {
    const { name, retryable, retryAfterMs } = thrown as Record<string, unknown>;
    const isNamed =
      name === NON_RETRYABLE ||
      (thrown.constructor as { name?: unknown } | undefined)?.name === NON_RETRYABLE;
    if (isNamed || retryable === false) return { retryable: false };
    if (typeof retryAfterMs === 'number' && retryAfterMs >= 0) {
      return { retryAfterMs: Math.min(Math.ceil(retryAfterMs), Number.MAX_SAFE_INTEGER) };
    }
  } catch {
    // A getter that throws says nothing.
  }
  return undefined;
}

const NON_RETRYABLE = 'NonRetryableError';

/** `Name: message` of an error; anything else inspected. */
export function describe(thrown: unknown): string {
  try {
    if (isError(thrown)) return `${thrown.name}: ${thrown.message}`;
    return `thrown: ${typeof thrown === 'string' ? thrown : inspect(thrown)}`;
  } catch {
    return 'thrown: something that cannot be described';
  }
}

/** For the log. */
export function stackOf(thrown: unknown): string | undefined {
  try {
    if (!isError(thrown)) return undefined;
    // With its causes, where there are any: the stack alone leaves them out.
    return thrown.cause === undefined ? thrown.stack : inspect(thrown);
  } catch {
    return undefined;
  }
}

/** Also of another realm (node:vm). */
function isError(thrown: unknown): thrown is Error {
  return thrown instanceof Error || types.isNativeError(thrown);
}

/** What a handler's failure looks like to its caller: an outcome, a code of the registry and a message, never a stack. */
import { inspect } from 'node:util';
import type { ErrorCode } from '@simmer/protocol/errors';
import type { Outcome } from '@simmer/protocol/frames';
import { MAX_TEXT_CHARS } from '@simmer/protocol/limits';

/** How an attempt went wrong. */
export interface Failure {
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
  return failure('error', 'function_error', describe(thrown));
}

/** `Name: message` of an error; anything else inspected. */
export function describe(thrown: unknown): string {
  try {
    if (thrown instanceof Error) return `${thrown.name}: ${thrown.message}`;
    return `thrown: ${typeof thrown === 'string' ? thrown : inspect(thrown)}`;
  } catch {
    return 'thrown: something that cannot be described';
  }
}

/** For the log. */
export function stackOf(thrown: unknown): string | undefined {
  try {
    if (!(thrown instanceof Error)) return undefined;
    // With its causes, where there are any: the stack alone leaves them out.
    return thrown.cause === undefined ? thrown.stack : inspect(thrown);
  } catch {
    return undefined;
  }
}

/**
 * `ctx`, the second argument of a handler: what it may know of the invocation it runs in.
 *
 * Everything is a getter, made when it is asked for: most handlers ask for little, and building it all would cost more
 * than the call. They may be destructured.
 */
import { format } from 'node:util';
import type { LogLevel } from '@simmer/protocol/frames';
import type { Attempt } from './attempt.ts';
import type { LogFields } from './log.ts';
import type { RawRequest } from './raw-request.ts';

/** Prints one tagged line; `fields` stand beside the message. */
export type LogFunction = (message: unknown, fields?: LogFields) => void;

/** Thrown by a handler, it answers the caller 400 instead of 500; any error with this `code` does. */
export class BadInputError extends Error {
  override readonly name = 'BadInputError';
  readonly code = 'bad_input';
}

export class Context {
  readonly #attempt: Attempt;
  readonly #metadata: Readonly<Record<string, unknown>>;
  readonly #request: RawRequest | undefined;

  constructor(
    attempt: Attempt,
    metadata: Readonly<Record<string, unknown>>,
    request: RawRequest | undefined,
  ) {
    this.#attempt = attempt;
    this.#metadata = metadata;
    this.#request = request;
  }

  /** The same for all attempts of one invocation. */
  get executionId(): string {
    return this.#attempt.executionId;
  }
  /** From 1: which attempt this is. */
  get attempt(): number {
    return this.#attempt.number;
  }
  /** 32 hex digits: the trace the caller named, or one made for it. */
  get traceId(): string {
    return this.#attempt.traceId;
  }
  /** The W3C header to hand on to whatever the handler calls. */
  get traceparent(): string {
    return this.#attempt.traceparent;
  }
  /** namespace/name */
  get function(): string {
    return this.#attempt.host.functionKey;
  }
  /** When this attempt's time is over, in epoch milliseconds. */
  get deadline(): number {
    return Math.round(Date.now() + this.#attempt.endsAt - performance.now());
  }
  /** Milliseconds until then; never negative. */
  get remainingMs(): () => number {
    const attempt = this.#attempt;
    return () => Math.max(0, attempt.endsAt - performance.now());
  }
  /** Aborts at the deadline, on cancel, and when the control plane is lost. */
  get signal(): AbortSignal {
    return this.#attempt.signal;
  }
  /** The envelope's `metadata`; empty where there is no envelope. */
  get metadata(): Readonly<Record<string, unknown>> {
    return this.#metadata;
  }
  /** The HTTP request, when it came through `/fn/...`. */
  get request(): RawRequest | undefined {
    return this.#request;
  }
  /** Prints lines like the console does, with fields. */
  get log(): Readonly<Record<LogLevel, LogFunction>> {
    const attempt = this.#attempt;
    const at =
      (level: LogLevel): LogFunction =>
      (message, fields) =>
        attempt.host.log.write(level, text(message), fields, attempt);
    return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  }
  /** An error to throw when the input is wrong: the caller gets 400 `bad_input` with this message. */
  get badInput(): (message: string) => BadInputError {
    return (message) => new BadInputError(message);
  }
}

function text(message: unknown): string {
  return typeof message === 'string' ? message : format(message);
}

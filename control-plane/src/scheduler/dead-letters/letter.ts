/**
 * A dead letter: what could not be done, with all that it takes to see why and to try again. Plain data, so that a store
 * may write it down.
 */
import { ERRORS, type ErrorCode, type Problem } from '@simmer/protocol/errors';
import type { DeliveryAttempt } from '../../shared/messages.ts';
import type { AttemptRecord, ExecutionRequest } from '../executions/record.ts';
import { ofItsOwn } from '../let-go.ts';

interface AnyLetter {
  readonly id: string;
  readonly executionId: string;
  /** namespace/name */
  readonly functionKey: string;
  readonly traceId: string;
  /** Epoch milliseconds: when its execution was accepted, and when it was given up. */
  readonly createdAt: number;
  readonly deadAt: number;
  /** The last. */
  readonly error: Problem;
}

/** An execution that failed for good. Its id is the execution's. */
export interface ExecutionLetter extends AnyLetter {
  readonly reason: 'execution';
  readonly request: ExecutionRequest;
  readonly attempts: readonly AttemptRecord[];
  /** The execution whose letter this one was the replay of; '' for none. */
  readonly replayOf: string;
}

/** A callback that could not be delivered. Its id is `callbackLetterId`: the execution may be a dead letter itself. */
export interface CallbackLetter extends AnyLetter {
  readonly reason: 'callback';
  readonly url: string;
  /** Of the execution. */
  readonly status: string;
  /** JSON: what was to be delivered. */
  readonly body: Uint8Array;
  readonly traceparent: string;
  readonly attempts: readonly DeliveryAttempt[];
}

export type DeadLetter = ExecutionLetter | CallbackLetter;

export function callbackLetterId(executionId: string): string {
  return `${executionId}-callback`;
}

/**
 * Whether an execution that was accepted and ended with this becomes a dead letter: whatever the platform or the function
 * failed at. Not what its sender got wrong or cancelled (4xx), nor what a shutdown cut off, which takes the letters with it.
 */
export function isDeadLetter(code: ErrorCode): boolean {
  return code === 'function_deleted' || (ERRORS[code].status >= 500 && code !== 'draining');
}

/** What the fields of a letter and one attempt take, roughly. */
const OVERHEAD_BYTES = 1_024;
const ATTEMPT_BYTES = 512;

/** Memory that it takes: its body, and the rest by estimate. */
export function letterBytes(letter: DeadLetter): number {
  return OVERHEAD_BYTES + letter.attempts.length * ATTEMPT_BYTES + bodyOf(letter).length;
}

/** As it is kept for days: its body shares memory with nothing else. */
export function keptLetter(letter: DeadLetter): DeadLetter {
  const shared = bodyOf(letter);
  const body = ofItsOwn(shared);
  if (body === shared) return letter;
  if (letter.reason === 'callback') return { ...letter, body };
  return { ...letter, request: { ...letter.request, body } };
}

function bodyOf(letter: DeadLetter): Uint8Array {
  return letter.reason === 'execution' ? letter.request.body : letter.body;
}

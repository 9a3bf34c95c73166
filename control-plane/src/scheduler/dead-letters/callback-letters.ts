/** Callbacks that were given up, as dead letters; and back. */
import { problem } from '@simmer/protocol/errors';
import type { CallbackDeadMessage, CallbackMessage } from '../../shared/messages.ts';
import { traceIdOf } from '../ids.ts';
import { type CallbackLetter, callbackLetterId } from './letter.ts';

/** @param deadAt epoch milliseconds */
export function letterOf(dead: CallbackDeadMessage, deadAt: number): CallbackLetter {
  const { type: _, reason, attempts, ...callback } = dead;
  const { executionId, traceparent } = callback;
  return {
    ...callback,
    id: callbackLetterId(executionId),
    reason: 'callback',
    traceId: traceIdOf(traceparent),
    deadAt,
    error: problem('callback_failed', `The callback was given up: ${reason}.`, {
      executionId,
      ...(attempts.length > 0 && { attempts: attempts.length }),
    }),
    attempts,
  };
}

/** To be delivered once more, as the same delivery. */
export function callbackOf(letter: CallbackLetter): CallbackMessage {
  const { executionId, functionKey, url, status, createdAt, traceparent, body } = letter;
  return {
    type: 'callback',
    ...{ executionId, functionKey, url, status, createdAt, traceparent },
    // Its bytes move to the other thread; the letter stays until it is replayed.
    body: body.slice(),
  };
}

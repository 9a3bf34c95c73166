/** What is said of a request that is not taken, whichever way it came. */
import type { ErrorCode } from '@simmer/protocol/errors';
import type { FunctionState } from './function-state.ts';
import type { Scheduler } from './scheduler.ts';

export function tooLarge(max: number): string {
  return `The body is over ${max} bytes.`;
}

/** Why the core refuses one more invocation, in words. */
export function refusalDetail(code: ErrorCode, fn: FunctionState, scheduler: Scheduler): string {
  const { queue } = fn.record.spec;
  switch (code) {
    case 'draining':
      return 'This control plane is shutting down.';
    case 'no_capacity':
      return scheduler.misses.holdReason(fn);
    case 'overloaded':
      return 'All functions together hold as many bytes as the platform allows.';
    case 'deadline_unreachable':
      return `${fn.queue.length} invocations wait; the deadline would pass before this one had its turn.`;
    default:
      return `Of at most ${queue.maxLength} invocations ${fn.queue.length} wait, of at most ${queue.maxBytes} bytes ${fn.heldBytes} are held.`;
  }
}

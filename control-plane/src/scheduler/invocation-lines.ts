/** What the log says of an invocation. */
import type { ErrorCode } from '@simmer/protocol/errors';
import type { ExecutionMode } from '@simmer/protocol/executions';
import type { LogLine } from '../shared/messages.ts';
import type { Invocation } from './invocation.ts';
import type { Pod } from './pod.ts';

/** Of level debug: where an attempt runs, and why there. */
export function placedLine(invocation: Invocation, pod: Pod, now: number): LogLine {
  return {
    level: 'debug',
    message: 'placed',
    fields: {
      function: invocation.fn.key,
      executionId: invocation.id,
      placement: invocation.placement,
      reason: invocation.placementReason || 'a slot was free',
      backend: pod.backend,
      pod: pod.id,
      cold: pod.cold,
      waitedMs: now - invocation.arrivedAt,
    },
  };
}

/** One for each that failed. */
export function failedLine(
  invocation: Invocation,
  code: ErrorCode,
  detail: string,
  now: number,
): LogLine {
  const { fn, pod } = invocation;
  return {
    level:
      code === 'cancelled' || code === 'bad_input' || code === 'invalid_input' ? 'info' : 'warn',
    message: 'invocation failed',
    fields: {
      function: fn.key,
      executionId: invocation.id,
      traceId: invocation.traceparent.slice(3, 35),
      caller: invocation.caller.id,
      code,
      detail,
      mode: modeOf(invocation),
      status: invocation.state,
      attempts: invocation.attempts,
      ...(invocation.placement !== '' && {
        placement: invocation.placement,
        placementReason: invocation.placementReason,
      }),
      ...(pod !== null && { pod: pod.id, backend: pod.backend, cold: pod.cold }),
      durationMs: Math.round(now - invocation.arrivedAt),
    },
  };
}

export function modeOf({ observer }: Invocation): ExecutionMode {
  return observer === null ? 'sync' : 'async';
}

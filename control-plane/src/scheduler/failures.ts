/** Why invocations fail: what a pod's word makes of it, and what kind a code is. Pure. */
import type { ErrorCode } from '@simmer/protocol/errors';
import type { HeaderPairs, Outcome } from '@simmer/protocol/frames';
import type { Invocation } from './invocation.ts';

/** What a pod may say of an attempt. Anything else it sends is taken by its outcome alone. */
const POD_CODES: ReadonlySet<string> = new Set<ErrorCode>([
  'bad_input',
  'invalid_json',
  'invalid_envelope',
  'function_error',
  'function_exited',
  'memory_exceeded',
  'result_not_serializable',
  'invalid_input',
  'invalid_output',
  'result_too_large',
  'timeout',
  'over_capacity',
]);

const MAX_FAULTS = 10;
const MAX_FAULT_CHARS = 1_000;

/** The error that a pod's result stands for. */
export function codeOf(outcome: Outcome, code: string): ErrorCode {
  return POD_CODES.has(code) ? (code as ErrorCode) : fallbackCode(outcome);
}

function fallbackCode(outcome: Outcome): ErrorCode {
  switch (outcome) {
    case 'bad_input':
      return 'bad_input';
    case 'timeout':
      return 'timeout';
    case 'too_large':
      return 'result_too_large';
    default:
      return 'function_error';
  }
}

/** As many as anybody reads, of what a pod said. */
export function shownFaults(errors: HeaderPairs): HeaderPairs | null {
  if (errors.length === 0) return null;
  return errors
    .slice(0, MAX_FAULTS)
    .map(([path, message]) => [path.slice(0, MAX_FAULT_CHARS), message.slice(0, MAX_FAULT_CHARS)]);
}

const REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'queue_full',
  'overloaded',
  'executions_full',
  'idempotency_keys_full',
]);

/** At admission: nothing was done for it. */
export function isRefusal(code: ErrorCode): boolean {
  return REFUSALS.has(code);
}

const DENIALS: ReadonlySet<ErrorCode> = new Set([
  ...(['unauthenticated', 'forbidden', 'rate_limited', 'identity_provider_unavailable'] as const),
]);

/** Whoever called may not, or cannot be known: of no concern to who watches the function. */
export function isDenial(code: ErrorCode): boolean {
  return DENIALS.has(code);
}

export function ranTooLong({ dispatchedAt }: Invocation, now: number): string {
  return `The handler was still running after ${Math.round(now - dispatchedAt)} ms.`;
}

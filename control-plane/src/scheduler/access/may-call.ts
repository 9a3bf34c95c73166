/** Whether a caller that is known may call a function now: its scopes, its function patterns, and the limits of both. */
import { urlNameOfKey } from '@simmer/protocol/names';
import type { Scope } from '@simmer/protocol/operations';
import type { FunctionState } from '../function-state.ts';
import { Refused, rateLimited } from './access.ts';
import type { Gate } from './gate.ts';
import type { Known } from './known.ts';

/**
 * Why it may not; takes one call off the limits. `key`: of the function, '' where its name is none; `fn`: null where there is none.
 * The scheduler's clock is read only where there is a limit.
 */
export function notAdmitted(
  gate: Gate,
  known: Known,
  key: string,
  fn: FunctionState | null,
  clock: { now(): number },
): Refused | undefined {
  const bucket = fn === null ? null : fn.bucket;
  const now = known.bucket === null && bucket === null ? 0 : clock.now();
  if (known.bucket !== null) {
    const no = gate.limit(known, now);
    if (no !== undefined) return no;
  }
  if (key !== '' && !known.mayInvoke(key)) {
    if (!known.caller.scopes.includes('invoke')) return gate.counted(lacksScope(['invoke']));
    const detail = `Its function patterns do not cover ${urlNameOfKey(key)}.`;
    return gate.counted(new Refused('forbidden', detail));
  }
  if (fn === null || bucket === null || bucket.take(now)) return undefined;
  fn.counters.countError('rate_limited');
  return rateLimited('All callers of the function together', bucket, now);
}

export function lacksScope(scopes: readonly Scope[]): Refused {
  return new Refused('forbidden', `It needs the scope ${scopes.join(' or ')}.`);
}

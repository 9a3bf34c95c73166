/** Who calls: what stands for a credential once it has been checked. Plain data, as it crosses between the threads. */
import type { Scope } from '@simmer/protocol/operations';

export interface Caller {
  /** Never a secret: it stands in logs and records. */
  readonly id: string;
  readonly scopes: readonly Scope[];
  /** Patterns of function keys (`namespace/name`), in which `*` stands for any characters. */
  readonly functions: readonly string[];
}

/** Where no credentials are asked for. */
export const ANYONE: Caller = {
  id: 'anonymous',
  scopes: ['invoke', 'read', 'write'],
  functions: ['*'],
};

/** Whether the caller has one of these scopes, for this function; '' for what belongs to none. */
export function may(caller: Caller, scopes: readonly Scope[], functionKey: string): boolean {
  if (scopes.length > 0 && !scopes.some((scope) => caller.scopes.includes(scope))) return false;
  return functionKey === '' || caller.functions.some((pattern) => matches(pattern, functionKey));
}

function matches(pattern: string, key: string): boolean {
  if (pattern === '*') return true;
  const [first = '', ...rest] = pattern.split('*');
  if (!key.startsWith(first)) return false;
  let at = first.length;
  for (const [i, part] of rest.entries()) {
    const last = i === rest.length - 1;
    const found = last ? key.length - part.length : key.indexOf(part, at);
    if (found < at || (last && !key.endsWith(part))) return false;
    at = found + part.length;
  }
  return rest.length > 0 || at === key.length;
}

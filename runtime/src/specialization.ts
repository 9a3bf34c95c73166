/** What a generic pod is told with `specialize`, beside its code. */
import type { Specialize, Welcome } from '@simmer/protocol/frames';
import { RUNTIME_ENV } from '@simmer/protocol/runtime-environment';

export interface Limits {
  readonly capacity?: number;
  readonly graceMs?: number;
  /** Of resident memory. */
  readonly memoryBytes?: number;
}

/** Those that are positive numbers; others say nothing. */
export function limitsOf({ limits }: Specialize): Limits {
  const known = limits
    .map(([name, value]) => [name, Number(value)] as const)
    .filter(([, value]) => value > 0 && Number.isSafeInteger(value));
  return Object.fromEntries(known);
}

/** The welcome of a pod that has become a function's. */
export function welcomeOf(welcome: Welcome, frame: Specialize): Welcome {
  const { maxRequestBytes, maxResultBytes } = Object.fromEntries(frame.limits);
  return {
    ...welcome,
    maxRequestBytes: Number(maxRequestBytes ?? welcome.maxRequestBytes),
    maxResultBytes: Number(maxResultBytes ?? welcome.maxResultBytes),
  };
}

/** Before its code is loaded. What tells this process who it is stays as it is. */
export function takeEnvironment(frame: Specialize, environment: NodeJS.ProcessEnv): void {
  const reserved = new Set<string>(Object.values(RUNTIME_ENV));
  for (const [name, value] of [...frame.env, ...frame.secrets]) {
    if (!reserved.has(name)) environment[name] = value;
  }
  environment[RUNTIME_ENV.function] = frame.function;
}

/**
 * When a pool whose pods crash before they are ready may try again. Pure.
 *
 *     healthy ──failure──▶ suspended ──time passes──▶ probing (one launch at a time) ──ready──▶ healthy
 *                              ▲──────────failure─────────┘
 *
 * Pods that were launched together fail together, for one cause: that is one failure, not as many as there were pods.
 */

/** A first crash may be chance (memory, a port): try again soon. A call that waits meanwhile has a second or two. */
export const FIRST_DELAY_MS = 500;
/** Rare enough to cost nothing, often enough that what was repaired outside comes back by itself. */
export const MAX_DELAY_MS = 60_000;
/** From here on nothing suggests that waiting helps. */
export const HOPELESS_FAILURES = 3;

export type Backoff =
  | { readonly state: 'healthy' }
  | {
      readonly state: 'failing';
      /** Consecutive failures. */
      readonly failures: number;
      readonly failedAt: number;
      /** No launch before this. */
      readonly suspendedUntil: number;
    };

export const HEALTHY: Backoff = { state: 'healthy' };

/** A pod that was launched at `launchedAt` ended before it was ready. */
export function onFailure(backoff: Backoff, launchedAt: number, now: number): Backoff {
  if (backoff.state === 'failing' && launchedAt <= backoff.failedAt) return backoff;
  const failures = backoff.state === 'failing' ? backoff.failures + 1 : 1;
  const delay = Math.min(FIRST_DELAY_MS * 2 ** (failures - 1), MAX_DELAY_MS);
  return { state: 'failing', failures, failedAt: now, suspendedUntil: now + delay };
}

/** How many launches may be made now, when `starting` are under way. */
export function launchesAllowed(backoff: Backoff, starting: number, now: number): number {
  if (backoff.state === 'healthy') return Number.POSITIVE_INFINITY;
  return now < backoff.suspendedUntil ? 0 : Math.max(0, 1 - starting);
}

/** Whether what waits with no pod in sight is to be failed rather than kept waiting. */
export function isHopeless(backoff: Backoff, saidSo: boolean): boolean {
  return backoff.state === 'failing' && (backoff.failures >= HOPELESS_FAILURES || saidSo);
}

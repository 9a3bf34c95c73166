/**
 * Whether the scheduler's `need` may be met: how many launches, and the answer to the rest. Pure.
 */
import type { PodKind } from '@simmer/protocol/backend';
import type { LaunchRefusedMessage, NeedMessage } from '../../shared/messages.ts';
import { isHopeless, launchesAllowed } from './backoff.ts';
import { isComing, isCurrent, isLeaving, isLive, maxPodsOf, type Pool } from './pool.ts';

/** A refusal that a pod's end may lift at any time: the scheduler counts pods too, so this is rare. */
const FULL_RETRY_MS = 250;
/** While one launch is tried after a failure the others wait; when it is ready the scheduler forgets this. */
const PROBE_RETRY_MS = 1_000;

export interface Admission {
  readonly launch: number;
  /** Answers the units that are not launched. */
  readonly refusal?: LaunchRefusedMessage;
}

/** Jobs of all functions together: how many there are, and may be. */
export interface JobBudget {
  readonly jobs: number;
  readonly maxJobs: number;
}

export function admit(pool: Pool, need: NeedMessage, budget: JobBudget, now: number): Admission {
  const { kind, count } = need;
  const pods = [...pool.pods.values()];
  const allowed = launchesAllowed(pool.backoff, pods.filter(isComing).length, now);
  const room = kind === 'pool' ? roomInPool(pool) : roomForJobs(pool, budget);
  const launch = Math.max(0, Math.min(count, allowed, room.count));
  if (launch === count) return { launch };
  const rest = count - launch;
  const failing = allowed < room.count ? failingRefusal(pool, kind, rest, now) : undefined;
  return { launch, refusal: failing ?? fullRefusal(need, rest, room.reason) };
}

/** Nothing is launched at all: shutting down, or no such function. */
export function refuseAll(
  need: NeedMessage,
  code: 'draining' | 'function_deleted',
  reason: string,
): LaunchRefusedMessage {
  return { ...fullRefusal(need, need.count, reason), code, hopeless: true };
}

/** While the pool's pods fail: why, and when to ask again. Undefined where they do not. */
export function failingRefusal(
  pool: Pool,
  kind: PodKind,
  count: number,
  now: number,
): LaunchRefusedMessage | undefined {
  const { backoff, lastFailure } = pool;
  if (backoff.state !== 'failing') return undefined;
  const wait = Math.ceil(backoff.suspendedUntil - now);
  const times = backoff.failures === 1 ? 'once' : `${backoff.failures} times`;
  return {
    type: 'launch-refused',
    functionKey: pool.key,
    kind,
    count,
    code: 'no_capacity',
    reason: `its pods failed ${times} before they were ready: ${lastFailure?.code}: ${lastFailure?.message}`,
    retryAfterMs: wait > 0 ? wait : PROBE_RETRY_MS,
    // With a trial under way there is hope.
    hopeless: wait > 0 && isHopeless(backoff, lastFailure?.hopeless === true),
  };
}

function fullRefusal(need: NeedMessage, count: number, reason: string): LaunchRefusedMessage {
  return {
    type: 'launch-refused',
    functionKey: need.functionKey,
    kind: need.kind,
    count,
    code: 'no_capacity',
    reason,
    retryAfterMs: FULL_RETRY_MS,
    hopeless: false,
  };
}

interface Room {
  readonly count: number;
  /** Why there is no more. */
  readonly reason: string;
}

function roomInPool(pool: Pool): Room {
  const { maxReplicas } = pool.registered.manifest.spec;
  const most = maxPodsOf(pool);
  let current = 0;
  for (const pod of pool.pods.values()) if (isLive(pod) && isCurrent(pool, pod)) current++;
  return { count: most - current, reason: `the pool is at its maximum (${maxReplicas})` };
}

function roomForJobs(pool: Pool, budget: JobBudget): Room {
  const { overflow } = pool.registered.manifest.spec;
  let active = 0;
  for (const pod of pool.pods.values()) if (pod.kind === 'job' && !isLeaving(pod)) active++;
  const own = overflow - active;
  const all = budget.maxJobs - budget.jobs;
  return own <= all
    ? { count: own, reason: `its Jobs are at their maximum (overflow: ${overflow})` }
    : { count: all, reason: `all Jobs are at their maximum (max-jobs: ${budget.maxJobs})` };
}

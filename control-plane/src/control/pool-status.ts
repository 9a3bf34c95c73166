/** A pool's state as its function's status tells it. Pure but for the counters it reads. */
import type { PoolStatus } from '@simmer/k8s/status/pool-status';
import { type FunctionCounters, MISSES } from '../shared/counters.ts';
import { fittingNames } from './pools/fitting.ts';
import { isCurrent, isLive, type Pool } from './pools/pool.ts';
import { costOf } from './sizing/pool-costs.ts';

export function poolStatus(pool: Pool, counters: FunctionCounters): PoolStatus {
  const pods = [...pool.pods.values()];
  const live = pods.filter(isLive);
  const ready = live.filter((pod) => pod.phase.name === 'ready');
  const stuck = pods.find((pod) => pod.stuck !== undefined)?.stuck;
  const { lastFailure, backoff } = pool;
  return {
    desired: desiredOf(pool),
    ready: ready.length,
    pods: pods.filter((pod) => pod.kind === 'pool').length,
    rolling: live.some((pod) => !isCurrent(pool, pod)),
    queued: counters.gauge('queued'),
    misses: MISSES.reduce((sum, kind) => sum + counters.miss(kind), 0),
    decidedBy: pool.size?.decidedBy ?? '',
    ...warmPoolCost(pool, counters),
    ...warmPoolsOf(pool),
    ...(backoff.state === 'failing' &&
      lastFailure && {
        failure: { code: lastFailure.code, message: lastFailure.message, count: lastFailure.count },
      }),
    ...(stuck && { stuck: { reason: reasonOf(stuck.reason), message: stuck.reason } }),
  };
}

/** Rounded: what grows all the time is not written all the time. */
function warmPoolCost(pool: Pool, counters: FunctionCounters): Pick<PoolStatus, 'cost'> {
  if (pool.registered.pool === undefined) return {};
  const { idlePodSeconds, savedSeconds } = costOf(pool, counters);
  return {
    cost: {
      claims: pool.claims,
      idlePodMinutes: twoDigits(idlePodSeconds / 60),
      savedSeconds: twoDigits(savedSeconds),
    },
  };
}

function twoDigits(value: number): number {
  return Math.floor(Number(value.toPrecision(2)));
}

function warmPoolsOf({ fit }: Pool): Pick<PoolStatus, 'warmPools'> {
  if (fit === undefined) return {};
  if ('claim' in fit) return { warmPools: { names: fittingNames(fit), reason: '' } };
  return fit.isAsked ? { warmPools: { names: [], reason: fit.reason } } : {};
}

/** Pods that are wanted now: what was decided, and what misses have asked for since. */
export function desiredOf(pool: Pool): number {
  const { minReplicas, maxReplicas } = pool.registered.manifest.spec;
  const live = [...pool.pods.values()].filter(isLive).length;
  const wanted = pool.size === undefined ? live : Math.max(pool.size.desired, pool.grown);
  return Math.max(minReplicas, Math.min(wanted, maxReplicas));
}

/** A backend's reason begins with its CamelCase name where Kubernetes has one: `ImagePullBackOff: ...`. */
function reasonOf(text: string): string {
  return /^[A-Z][A-Za-z]+(?=:)/.exec(text)?.[0] ?? 'PodsCannotStart';
}

/**
 * What a pool needs done now. Pure: a pool and the time in, orders out; applied to what it returns it comes to rest
 * (a second call orders nothing).
 *
 * Rules:
 *  1. The minimum is kept, of the current revision: what died is replaced at once, within what the backoff allows.
 *  2. A new revision first gets as many pods as the old one had. An old pod leaves only when a new one is ready to take
 *     its place; if no new one ever is, the old ones go on.
 *  3. Over the maximum, and for a deleted function, pods leave at once (finishing what they run).
 *  4. What its size (sizing/desired.ts) asks for ahead of any miss is launched; over its size pods leave, and what a miss asked
 *     for and has not begun is not launched. Where its size is not known, a pod over the minimum leaves when it has
 *     idled for the keep-alive. Which, the scheduler knows: never one with work.
 *  5. What does not get ready, or does not leave, in its time is ended.
 */
import { launchesAllowed } from './backoff.ts';
import { isComing, isCurrent, isLeaving, isLive, maxPodsOf, type Pod, type Pool } from './pool.ts';

/** Pods over the minimum are looked at this often, or ten times a keep-alive where that is rarer. */
export const RETIRE_INTERVAL_MS = { least: 1_000, most: 15_000 } as const;

export interface Upkeep {
  /** Pool pods to launch. */
  readonly launch: number;
  /** Not yet given to the backend, and not wanted any more. */
  readonly cancel: readonly Pod[];
  /** To be told to the scheduler: no more work. */
  readonly drain: readonly Pod[];
  /** Not ready in time. */
  readonly late: readonly Pod[];
  /** Told to leave or end, and still there. */
  readonly kill: readonly Pod[];
  /** How many may be retired if they have idled for long enough. */
  readonly retire: number;
  /** For so long. */
  readonly idleMs: number;
  /** Pods of an old revision are still there. */
  readonly rolling: boolean;
  /** Nothing changes by itself before this. */
  readonly wakeAt: number;
}

export function upkeep(pool: Pool, now: number): Upkeep {
  const { minReplicas, keepAliveMs } = pool.registered.manifest.spec;
  const maxReplicas = maxPodsOf(pool);
  const all = [...pool.pods.values()];
  const live = all.filter(isLive);
  const current = live.filter((pod) => isCurrent(pool, pod));
  const old = live.filter((pod) => !isCurrent(pool, pod));
  const ready = current.filter((pod) => pod.phase.name === 'ready');
  const wakes: number[] = [];

  // 1, 2
  const asBefore = old.length > 0 ? Math.min(pool.rollTarget, maxReplicas) : 0;
  const ahead = pool.size?.ahead ?? 0;
  const wanted = Math.min(Math.max(minReplicas, ahead, asBefore), maxReplicas);
  const target = pool.deleted ? 0 : wanted;
  const coming = all.filter(isComing).length;
  const missing = Math.max(0, target - current.length);
  const launch = Math.min(missing, launchesAllowed(pool.backoff, coming, now));
  if (missing > launch && pool.backoff.state === 'failing' && now < pool.backoff.suspendedUntil) {
    wakes.push(pool.backoff.suspendedUntil);
  }

  // 2, 3
  const oldKept = pool.deleted ? 0 : Math.max(0, target - ready.length);
  const unwanted = [
    ...leaving(old, old.length - oldKept),
    ...leaving(current, pool.deleted ? current.length : current.length - maxReplicas),
    ...(pool.deleted ? all.filter((pod) => pod.kind === 'job' && !isLeaving(pod)) : []),
  ];
  // An old revision's code is no longer there to be launched; one that fails is not to be launched now.
  const suspended = launchesAllowed(pool.backoff, 0, now) === 0;
  const queued = all.filter(
    (pod) => pod.phase.name === 'queued' && (suspended || !isCurrent(pool, pod)),
  );
  const size = Math.max(target, pool.size?.desired ?? current.length, pool.grown);
  const surplus = current.filter((pod) => pod.phase.name === 'queued').slice(size - current.length);
  const cancel = new Set([
    ...queued,
    ...unwanted.filter((pod) => pod.phase.name === 'queued'),
    ...(current.length > size ? surplus : []), // 4
  ]);
  const drain = unwanted.filter((pod) => pod.phase.name !== 'queued');

  // 4
  let retire = 0;
  const excess = ready.length - (pool.size === undefined ? minReplicas : size);
  if (!pool.deleted && excess > 0 && old.length === 0) {
    const at = retireAt(pool, ready, now);
    if (now >= at) retire = excess;
    else wakes.push(at);
  }
  const idleMs = retire === 0 ? 0 : (pool.size?.idleMs ?? keepAliveMs);

  // 5
  const late: Pod[] = [];
  const kill: Pod[] = [];
  for (const pod of all) {
    if (pod.phase.name === 'starting') {
      const deadline = patienceWith(pod, pod.phase.deadline);
      if (now >= deadline) late.push(pod);
      else wakes.push(deadline);
    } else if (isLeaving(pod)) {
      if (now >= pod.phase.killAt) kill.push(pod);
      else wakes.push(pod.phase.killAt);
    }
  }
  const wakeAt = Math.min(Number.POSITIVE_INFINITY, ...wakes);
  const rolling = old.length > 0;
  return { launch, cancel: [...cancel], drain, late, kill, retire, idleMs, rolling, wakeAt };
}

/** When pods over the pool's size may next be asked for. */
function retireAt(pool: Pool, ready: readonly Pod[], now: number): number {
  if (pool.size !== undefined) return pool.lastRetireAt + RETIRE_INTERVAL_MS.least;
  const { keepAliveMs } = pool.registered.manifest.spec;
  const oldest = Math.min(...ready.map((p) => (p.phase.name === 'ready' ? p.phase.since : now)));
  const interval = Math.min(
    Math.max(keepAliveMs / 10, RETIRE_INTERVAL_MS.least),
    RETIRE_INTERVAL_MS.most,
  );
  return Math.max(oldest + keepAliveMs, pool.lastRetireAt + interval);
}

/** A caller's pod that cannot start for now (no node has room) gets this long: well within a usual timeout. */
const STUCK_PATIENCE_MS = 5_000;

/** Until when a starting pod is waited for. One that nobody waits for may be what makes a cluster grow: it has all its time. */
function patienceWith(pod: Pod, deadline: number): number {
  if (pod.stuck === undefined || !pod.needed) return deadline;
  return Math.min(deadline, pod.stuck.since + STUCK_PATIENCE_MS);
}

const LEAVING_ORDER = { queued: 0, starting: 1, ready: 2, draining: 3, ending: 3 } as const;

/** The `count` pods that are missed least: those furthest from being ready, then the oldest. */
function leaving(pods: readonly Pod[], count: number): readonly Pod[] {
  if (count <= 0) return [];
  return [...pods]
    .sort((a, b) => LEAVING_ORDER[a.phase.name] - LEAVING_ORDER[b.phase.name])
    .slice(0, count);
}

/** Has its minimum, or has said why not (a crash loop): what /readyz asks. */
export function isSettled(pool: Pool): boolean {
  let ready = 0;
  for (const pod of pool.pods.values()) if (isLive(pod) && pod.phase.name === 'ready') ready++;
  const { minReplicas } = pool.registered.manifest.spec;
  return ready >= Math.min(minReplicas, maxPodsOf(pool)) || pool.backoff.state === 'failing';
}

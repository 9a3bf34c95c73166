/**
 * What the control thread knows of a function's pods.
 *
 *     queued ──▶ starting ──▶ ready ──▶ draining ──▶ (gone)
 *       │           │           │           │
 *       └▶ (gone)   └───────────┴───────────┴──▶ ending ──▶ (gone)
 */
import type { PodKind } from '@simmer/protocol/backend';
import type { ErrorCode } from '@simmer/protocol/errors';
import type { RegisteredFunction } from '@simmer/protocol/registry';
import type { PoolCost } from '../sizing/cost.ts';
import type { SizingDecision } from '../sizing/desired.ts';
import type { Backoff } from './backoff.ts';
import type { Fit } from './fitting.ts';

/** Times are the keeper's clock. */
export type PodPhase =
  /** Told to the scheduler, waits for its turn to be launched. */
  | { readonly name: 'queued' }
  /** The backend was asked. */
  | { readonly name: 'starting'; readonly deadline: number }
  | { readonly name: 'ready'; readonly since: number }
  /** Gets no new work and leaves by itself; by force from `killAt`. */
  | { readonly name: 'draining'; readonly killAt: number; readonly wasReady: boolean }
  /** The backend was told to end it; told again at `killAt`. */
  | { readonly name: 'ending'; readonly killAt: number };

export interface Pod {
  readonly podId: string;
  readonly kind: PodKind;
  revision: string;
  /** The name of the backend that launches it. */
  readonly backend: string;
  readonly credential: string;
  /** When it was ordered, or claimed. */
  launchedAt: number;
  /** Launched by an earlier process: that it does not come back says nothing against its code. */
  readonly adopted: boolean;
  /** A caller waits for it. */
  needed: boolean;
  /** Key of the WarmPool that it was claimed from. */
  origin: string | undefined;
  /** Process id or pod name, once it runs. */
  label: string | undefined;
  phase: PodPhase;
  /** Why it cannot start for now, and since when. */
  stuck: { readonly reason: string; readonly since: number } | undefined;
}

/** Why a pod of this revision last failed before it was ready. Stays when another got ready. */
export interface PodFailure {
  readonly code: ErrorCode;
  readonly message: string;
  /** ISO 8601. */
  readonly at: string;
  /** Consecutive failures, this one included. */
  readonly count: number;
  /** Nothing suggests that waiting helps. */
  readonly hopeless: boolean;
}

/** Of a function by its load, of a WarmPool by its claims. */
export interface PoolSize
  extends Pick<SizingDecision, 'desired' | 'ahead' | 'idleMs' | 'decidedBy' | 'wakeAt'> {
  /** Why, in a sentence for people. */
  explain(): string;
}

export interface Pool {
  readonly key: string;
  /** Of its block in the shared counters. */
  readonly slot: number;
  registered: RegisteredFunction;
  /** Every pod that is not gone, Jobs included, oldest first. */
  readonly pods: Map<string, Pod>;
  backoff: Backoff;
  lastFailure: PodFailure | undefined;
  /** Pods to have of a new revision while those of the old one are replaced; 0: the minimum only. */
  rollTarget: number;
  lastRetireAt: number;
  /** Of a WarmPool: pods that have become functions'. While they take work they count towards its maximum. */
  readonly claimed: Map<string, Pod>;
  /** Of a WarmPool: pods that were ever claimed. */
  claims: number;
  /** Of a function: whether pods of WarmPools can become its own. */
  fit: Fit | undefined;
  /** As last decided; undefined where its load is not known: its counters are shared. */
  size: PoolSize | undefined;
  /** Pods that there were after a miss made it grow, since `size` was decided; 0: none did. */
  grown: number;
  readonly cost: PoolCost;
  deleted: boolean;
  /** When upkeep is to look at it again. */
  wakeAt: number;
}

/** Of a WarmPool: pods that have become functions' and still take work. */
export function claimedFrom({ claimed }: Pool): number {
  let count = 0;
  for (const pod of claimed.values()) if (!isLeaving(pod)) count++;
  return count;
}

/** Pods that it may have of its own: what a WarmPool gave to functions counts. */
export function maxPodsOf(pool: Pool): number {
  return Math.max(0, pool.registered.manifest.spec.maxReplicas - claimedFrom(pool));
}

export type Leaving = Extract<PodPhase, { name: 'draining' | 'ending' }>;

export function isLeaving(pod: Pod): pod is Pod & { phase: Leaving } {
  return pod.phase.name === 'draining' || pod.phase.name === 'ending';
}

/** Counts towards the pool's size: not leaving, and of the pool itself. */
export function isLive(pod: Pod): boolean {
  return pod.kind === 'pool' && !isLeaving(pod);
}

/** Pods that count towards its size. */
export function liveOf(pool: Pool): number {
  let count = 0;
  for (const pod of pool.pods.values()) if (isLive(pod)) count++;
  return count;
}

/** Pods on their way. */
export function isComing(pod: Pod): boolean {
  return pod.phase.name === 'queued' || pod.phase.name === 'starting';
}

export function isCurrent(pool: Pool, pod: Pod): boolean {
  return !pool.deleted && pod.revision === pool.registered.revision;
}

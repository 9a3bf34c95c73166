/** A function's pods, as its status tells of them. */
export interface PoolStatus {
  /** Pods that are wanted now. */
  readonly desired: number;
  readonly ready: number;
  /** Starting and leaving ones included; no Jobs. */
  readonly pods: number;
  /** Pods of an earlier revision are being replaced. */
  readonly rolling: boolean;
  readonly queued: number;
  /** Invocations that found no free slot, since the control plane started. */
  readonly misses: number;
  /** What decided `desired`: minReplicas, maxReplicas, scale, load, panic or keep-alive; '' where it is not known. */
  readonly decidedBy: string;
  /** Of a WarmPool: what it costs and what for, since the control plane started. */
  readonly cost?: PoolCostStatus;
  /** Of a function, where there are WarmPools: those whose pods may become its own; or why there is none. */
  readonly warmPools?: { readonly names: readonly string[]; readonly reason: string };
  /** Its pods end before they are ready, or cannot be launched. `count`: in a row. */
  readonly failure?: { readonly code: string; readonly message: string; readonly count: number };
  /** A pod cannot start for now. `reason`: CamelCase (ImagePullFailed, Unschedulable, QuotaExceeded, ...). */
  readonly stuck?: { readonly reason: string; readonly message: string };
}

export interface PoolCostStatus {
  /** Pods that have become functions'. */
  readonly claims: number;
  /** Minutes in which a pod idled, of all pods together. */
  readonly idlePodMinutes: number;
  /** Seconds that callers would have waited for, had each claim waited for a cold start. */
  readonly savedSeconds: number;
}

/** Of a key that has no pool: its manifest was never valid. */
export const NO_POOL: PoolStatus = {
  desired: 0,
  ready: 0,
  pods: 0,
  rolling: false,
  queued: 0,
  misses: 0,
  decidedBy: '',
};

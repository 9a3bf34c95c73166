/**
 * Marks outside whose a claimed pod is: its function's labels and owner in the place of its WarmPool's. After the claim, at a
 * bounded rate, in the order of the claims.
 *
 *   mark ──▶ waiting ──rate──▶ writing ──▶ (done, or the pod is gone)
 *               ▲                 │
 *               └─────failed──────┘
 *
 * Until then a control plane that starts takes the pod for a generic one, and ends it.
 */
import { type Api, ApiError, type KubeLog, PODS } from '../api/api.ts';
import type { Clock } from '../api/clock.ts';
import { Budget } from '../status/budget.ts';
import { LABEL, poolLabel } from './names.ts';
import { ownerOf } from './pod-template.ts';
import type { Timers } from './timers.ts';
import type { TrackedPod } from './tracked-pod.ts';

/**
 * So long after the claim: what it moves (the API server, its store, everybody who watches pods, the kubelet, which looks at the pod anew) would take
 * processors from the pod, which loads its function just then.
 */
const AFTER_MS = 150;
/** A burst of claims is marked within seconds, and leaves the API server to others. */
const MARKS_PER_SECOND = 20;
const BURST = 20;
/** Side by side. */
const LANES = 4;
const AGAIN_MS = 2_000;
const RATE_LOOK_MS = 1_000 / MARKS_PER_SECOND;

export interface MarksOptions {
  readonly api: Api;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: KubeLog;
  /** UID of the function's object; undefined where it has none. */
  readonly functionUid: (functionKey: string) => string | undefined;
}

export class Marks {
  private readonly options: MarksOptions;
  /** In the order of the claims. */
  private readonly waiting = new Map<
    string,
    { readonly pod: TrackedPod; readonly dueAt: number }
  >();
  private readonly budget: Budget;
  private writing = 0;
  private looking = false;
  private stopped = false;

  constructor(options: MarksOptions) {
    this.options = options;
    this.budget = new Budget(MARKS_PER_SECOND, BURST, options.clock.now());
  }

  /** The pod as it is since the claim. */
  mark(pod: TrackedPod): void {
    this.waiting.set(pod.podId, { pod, dueAt: this.options.clock.now() + AFTER_MS });
    this.pump();
  }

  /** It is over. */
  forget(podId: string): void {
    this.waiting.delete(podId);
  }

  /** Another control plane has them now. */
  stop(): void {
    this.stopped = true;
    this.waiting.clear();
  }

  private pump(): void {
    const now = this.options.clock.now();
    for (const [podId, { pod, dueAt }] of this.waiting) {
      if (this.stopped || this.writing === LANES) return;
      if (dueAt > now || !this.budget.take(now)) {
        this.lookIn(Math.max(dueAt - now, RATE_LOOK_MS));
        return;
      }
      this.waiting.delete(podId);
      this.writing++;
      void this.write(pod).finally(() => {
        this.writing--;
        this.pump();
      });
    }
  }

  private lookIn(ms: number): void {
    if (this.looking) return;
    this.looking = true;
    this.options.timers.after(ms, () => {
      this.looking = false;
      this.pump();
    });
  }

  private async write(pod: TrackedPod): Promise<void> {
    const { api, log, timers } = this.options;
    const { podId, namespace } = pod;
    try {
      await api.patch(PODS, namespace, podId, this.changeOf(pod));
    } catch (error) {
      // It is gone, or it is another one of its name.
      if (error instanceof ApiError && (error.status === 404 || error.status === 409)) return;
      const why = (error as Error).message;
      log.warn({ podId }, `cannot mark the pod as that of ${pod.functionKey} for now: ${why}`);
      timers.after(AGAIN_MS, () => {
        if (!this.stopped && !this.waiting.has(podId)) this.mark(pod);
      });
    }
  }

  /** A merge patch; the UID is a precondition. */
  private changeOf({ functionKey, revision, origin, uid }: TrackedPod): object {
    const functionUid = this.options.functionUid(functionKey);
    const pool = origin === undefined ? {} : poolLabel(origin);
    return {
      metadata: {
        uid,
        labels: {
          ...Object.fromEntries(Object.keys(pool).map((label) => [label, null])),
          ...poolLabel(functionKey),
          [LABEL.revision]: revision,
          [LABEL.claimedFrom]: pool[LABEL.pool] ?? null,
        },
        ownerReferences: functionUid === undefined ? [] : [ownerOf(functionKey, functionUid)],
      },
    };
  }
}

/**
 * Takes objects away: what was told to end, what has ended, and what shows up although nobody wants it.
 *
 * Invariants:
 *  1. Only the very object is removed that was meant, by its UID; never a later one of its name.
 *  2. Nothing is removed once `stopped`.
 *  3. A clearing away that failed is tried again; an end that somebody asked for fails to him, who asks again.
 */
import { type Api, JOBS, type KubeLog, PODS } from '../api/api.ts';
import type { Clock } from '../api/clock.ts';
import type { ObjectTable } from './object-table.ts';
import { type PodView, viewJob, viewPod } from './pod-view.ts';
import { podsOf } from './sighting.ts';
import type { Timers } from './timers.ts';
import type { TrackedPod } from './tracked-pod.ts';
import { Unwanted } from './unwanted.ts';

/** The least that leaves the end to the kubelet: 0 strikes the object off while the container may still run. */
export const MIN_GRACE_SECONDS = 1;
const RETRY_MS = 5_000;

export interface RemoverOptions {
  readonly api: Api;
  readonly objects: ObjectTable;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: KubeLog;
  /** The API server knows no such object. */
  readonly onAbsent: (podId: string) => void;
}

export class Remover {
  private readonly options: RemoverOptions;
  private readonly unwanted: Unwanted;
  private stopped = false;

  constructor(options: RemoverOptions) {
    this.options = options;
    this.unwanted = new Unwanted(options.clock);
  }

  stop(): void {
    this.stopped = true;
  }

  /** Whatever still shows up under this id is to go; `withJob`: its Job as well. */
  refuse(podId: string, withJob: boolean): void {
    this.unwanted.add(podId, withJob);
  }

  /** @throws {ApiError} */
  async remove(tracked: TrackedPod, graceSeconds: number): Promise<void> {
    if (this.stopped) return; // 2
    const { api, objects, onAbsent } = this.options;
    const { podId, namespace, uid } = tracked;
    let there: boolean;
    if (tracked.made === 'pod') {
      there = await api.remove(PODS, namespace, podId, { uid, graceSeconds });
    } else {
      this.unwanted.add(podId, true);
      // First its pods: the garbage collector would give them all of their own time, and a kubelet that has begun to wait
      // that out hears of no shorter one. Their controller makes no others: a pod that is told to go counts as failed.
      const pods = podsOf(tracked, objects);
      await Promise.all(pods.map((pod) => this.removePod(namespace, pod, graceSeconds)));
      there = await api.remove(JOBS, namespace, podId, { uid });
    }
    if (!there) onAbsent(podId);
  }

  /** As `remove`, in its own time. */
  removeSoon(tracked: TrackedPod, graceSeconds: number): void {
    const { log, timers } = this.options;
    const { podId } = tracked;
    this.remove(tracked, graceSeconds).catch((error: Error) => {
      log.warn({ podId }, `cannot remove the pod for now: ${error.message}`);
      timers.after(RETRY_MS, () => this.removeSoon(tracked, graceSeconds)); // 3
    });
  }

  /** Something of an id that is not tracked has shown up or changed. */
  look(podId: string): void {
    if (this.stopped || !this.unwanted.has(podId)) return; // 2
    const { api, objects, log } = this.options;
    const warn = (error: Error) =>
      log.warn({ podId }, `cannot remove what nobody wants: ${error.message}`);
    for (const pod of objects.pods(podId)) {
      const view = viewPod(pod);
      if (view.deleting !== undefined || view.state.name === 'exited') continue;
      this.removePod(pod.metadata.namespace ?? '', view, MIN_GRACE_SECONDS).catch(warn);
    }
    const job = objects.job(podId);
    if (!job || !this.unwanted.withJob(podId)) return;
    const { uid, finished, deleting } = viewJob(job);
    if (finished || deleting) return;
    api.remove(JOBS, job.metadata.namespace ?? '', podId, { uid }).catch(warn);
  }

  private removePod(namespace: string, { name, uid }: PodView, graceSeconds: number) {
    return this.options.api.remove(PODS, namespace, name, { uid, graceSeconds }); // 1
  }
}

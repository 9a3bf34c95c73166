/**
 * One launch, from the order to its end, as the objects that the API server shows tell it: pure, so that it is tested
 * as a table. Level-triggered: what is told depends on what is there now, not on how many events it took to get there.
 *
 *     creating ──taken on──▶ pending ──runs──▶ running ──ended──▶ gone
 *                               └──────ended without running──────▶
 *
 * Invariants:
 *  1. `started` at most once, `exited` once and last.
 *  2. A UID is told once, as soon as it is seen; of a Job there may be several.
 *  3. `leaving` is told once, and only of what somebody else told to go.
 *  4. `stuck` is told again only when the cause is another one: the kubelet's words alternate while it retries.
 */
import type { BackendEvent, PodKind } from '@simmer/protocol/backend';
import { type JobView, type PodView, type Stuck, stuckReason } from './pod-view.ts';

export type Phase =
  | { readonly name: 'creating' }
  | { readonly name: 'pending'; readonly stuck: Stuck | undefined }
  | { readonly name: 'running' }
  | { readonly name: 'gone' };

export interface TrackedPod {
  readonly podId: string;
  readonly kind: PodKind;
  readonly functionKey: string;
  readonly namespace: string;
  readonly revision: string;
  /** Key of the WarmPool that it was claimed from. */
  readonly origin: string | undefined;
  /** What it was made as. */
  readonly made: 'pod' | 'job';
  /** Epoch milliseconds. */
  readonly launchedAt: number;
  /** Key of its pool; '' until it is known. */
  readonly proofKey: string;
  /** UID of the pod or of the Job; '' while it is created. */
  readonly uid: string;
  /** The pod's name, once there is one. */
  readonly label: string;
  readonly phase: Phase;
  /** Those that were told (2). */
  readonly uids: readonly string[];
  /** Its object was seen: that it is not there any more means something. */
  readonly seen: boolean;
  /** We told it to go. */
  readonly ending: boolean;
  readonly toldLeaving: boolean;
}

/** What there is of it now. */
export interface Sighting {
  /** Its pods, in the order of their creation. */
  readonly pods: readonly PodView[];
  /** Where it was made as a Job and that exists. */
  readonly job: JobView | undefined;
  /** Why Kubernetes cannot go on with it, from its events. */
  readonly trouble?: Stuck;
}

export interface Step {
  readonly after: TrackedPod;
  readonly events: readonly BackendEvent[];
}

/** @param at epoch milliseconds */
export function step(before: TrackedPod, now: Sighting, at: number): Step {
  if (before.phase.name === 'creating' || before.phase.name === 'gone') {
    return { after: before, events: [] };
  }
  const { podId } = before;
  const { pods, job } = now;
  const events: BackendEvent[] = [];
  const present = pods.length > 0 || job !== undefined;
  const current = pods.findLast((pod) => pod.state.name !== 'exited') ?? pods.at(-1);
  let after: TrackedPod = {
    ...before,
    seen: before.seen || present,
    label: current?.name ?? before.label,
  };

  const fresh = pods
    .filter((pod) => pod.state.name !== 'exited' && !before.uids.includes(pod.uid))
    .map((pod) => pod.uid);
  for (const uid of fresh) {
    events.push({ type: 'identified', podId, uid, proofKey: before.proofKey }); // 2
  }
  if (fresh.length > 0) after = { ...after, uids: [...before.uids, ...fresh] };

  const state = current?.state;
  const ran = state?.name === 'running' || (state?.name === 'exited' && state.ran);
  if (before.phase.name === 'pending' && ran) {
    events.push({ type: 'started', podId, label: after.label, at }); // 1
    after = { ...after, phase: { name: 'running' } };
  }

  const end = endOf(after, now, current);
  if (end !== undefined) {
    events.push({ type: 'exited', podId, at, ...end }); // 1
    return { after: { ...after, phase: { name: 'gone' } }, events };
  }

  const going = current?.deleting ?? (job?.deleting ? 'its Job was deleted' : undefined);
  if (going !== undefined && !before.ending && !before.toldLeaving) {
    events.push({ type: 'leaving', podId, reason: going }); // 3
    after = { ...after, toldLeaving: true };
  }

  const stuck = (state?.name === 'starting' ? state.stuck : undefined) ?? now.trouble;
  if (after.phase.name === 'pending' && stuck !== undefined && !before.ending) {
    const told = after.phase.stuck;
    if (told?.code !== stuck.code || (stuck.hopeless && !told.hopeless)) {
      const { hopeless } = stuck;
      events.push({ type: 'stuck', podId, reason: stuckReason(stuck), hopeless }); // 4
      after = { ...after, phase: { name: 'pending', stuck } };
    }
  }
  return { after, events };
}

const ENDED = 'it was ended';

interface End {
  readonly reason: string;
  readonly blameless?: boolean;
}

function endOf(tracked: TrackedPod, now: Sighting, current: PodView | undefined): End | undefined {
  const { job } = now;
  const { ending } = tracked;
  if (current !== undefined) {
    const { state } = current;
    if (state.name !== 'exited') return undefined;
    // What the kubelet then says of a container that never was helps nobody.
    if (ending && !state.ran) return end(ENDED, false);
    const sentAway = current.deleting !== undefined && !ending;
    return end(state.reason, state.blameless || sentAway);
  }
  if (!tracked.seen) return undefined;
  if (tracked.made === 'pod' || job === undefined || tracked.uids.length > 0) {
    // Of a Job that had a pod: with backoffLimit 0 there will be no second one.
    return end(ending ? ENDED : 'it was deleted from outside', !ending);
  }
  return job.finished && end(job.finished.reason, false);
}

function end(reason: string, blameless: boolean): End {
  return blameless ? { reason, blameless } : { reason };
}

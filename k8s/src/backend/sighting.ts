/** What the watches show of one launch. */
import type { KubeObject } from '../api/resources.ts';
import { keyOfLabels, LABEL, originOfLabels } from './names.ts';
import type { ObjectTable } from './object-table.ts';
import { launchedAtOf, type PodView, type Stuck, viewJob, viewPod } from './pod-view.ts';
import type { Sighting, TrackedPod } from './tracked-pod.ts';

/**
 * Its pods: those that bear the UID that its creation gave, or whose owner is the Job that it gave. What only has its
 * labels is somebody else's.
 */
export function podsOf(tracked: Pick<TrackedPod, 'podId' | 'made' | 'uid'>, objects: ObjectTable) {
  return objects
    .pods(tracked.podId)
    .filter((pod) =>
      tracked.made === 'pod'
        ? pod.metadata.uid === tracked.uid
        : pod.metadata.ownerReferences?.some((owner) => owner.uid === tracked.uid),
    )
    .map(viewPod);
}

export function sightingOf(
  tracked: TrackedPod,
  objects: ObjectTable,
  trouble: Stuck | undefined,
): Sighting {
  const job = objects.job(tracked.podId);
  return {
    pods: podsOf(tracked, objects),
    job: job?.metadata.uid === tracked.uid ? viewJob(job) : undefined,
    ...(trouble !== undefined && { trouble }),
  };
}

export function functionKeyOf(object: KubeObject): string {
  const { namespace = '', labels = {} } = object.metadata;
  return keyOfLabels(namespace, labels);
}

export type FoundLaunch =
  /** It runs, or may. */
  | { readonly state: 'live'; readonly tracked: TrackedPod }
  /** A bare pod that has ended: nobody else clears it away. */
  | { readonly state: 'over'; readonly tracked: TrackedPod }
  /** It ends by itself: finished, or told to go. */
  | { readonly state: 'leaving' };

/** What an earlier control plane launched, from its objects alone. */
export function foundLaunch(podId: string, objects: ObjectTable, proofKey: string): FoundLaunch {
  const job = objects.job(podId);
  const object = job ?? objects.first(podId);
  const { labels = {}, namespace = '', uid = '', ownerReferences = [] } = object.metadata;
  const made = job || ownerReferences.some((owner) => owner.kind === 'Job') ? 'job' : 'pod';
  const pods = podsOf({ podId, made, uid }, objects);
  const live = pods.filter((pod) => pod.state.name !== 'exited');
  const tracked: TrackedPod = {
    podId,
    kind: labels[LABEL.kind] === 'job' ? 'job' : 'pool',
    functionKey: functionKeyOf(object),
    namespace,
    revision: labels[LABEL.revision] ?? '',
    origin: originOfLabels(namespace, labels),
    made,
    launchedAt: launchedAtOf(object),
    proofKey,
    uid,
    label: live.at(-1)?.name ?? '',
    phase: isRunning(live) ? { name: 'running' } : { name: 'pending', stuck: undefined },
    uids: live.map((pod) => pod.uid),
    seen: true,
    ending: false,
    toldLeaving: false,
  };
  if (made === 'pod' && live.length === 0) return { state: 'over', tracked };
  if (made === 'job') {
    if (!job || viewJob(job).finished || viewJob(job).deleting) return { state: 'leaving' };
    if (pods.length > 0 && live.length === 0) return { state: 'leaving' };
  }
  const told = live.length > 0 && live.every((pod) => pod.deleting !== undefined);
  return told ? { state: 'leaving' } : { state: 'live', tracked };
}

function isRunning(pods: readonly PodView[]): boolean {
  return pods.some((pod) => pod.state.name === 'running');
}

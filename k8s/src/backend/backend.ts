/**
 * The Kubernetes backend: a pod is a bare pod, or the pod of a Job, in its function's namespace. What it knows of them it
 * knows from list-watch; what it wants it asks of the API server; neither ever waits for the other.
 *
 *     launch ──▶ creating ──▶ pending ──▶ running ──▶ gone ──▶ (its object is cleared away)
 *                   └──refused──▶ launch rejects, no event
 *
 * Invariants:
 *  1. What was created and cannot be owned (its launch rejected, or it was ended before it was seen) is removed when seen.
 *  2. A pod is ours only by the UID that its creation gave, or by the UID of its Job: not by its labels.
 *  3. No write after `standDown` or `close`: another control plane has them now. The pods stay.
 *  4. Told to go, a pod is first left to its kubelet; only one that is still there well after its time is struck off.
 */
import type {
  Backend,
  BackendEvent,
  BackendPod,
  FoundPod,
  LaunchRequest,
} from '@simmer/protocol/backend';
import { SimmerError } from '@simmer/protocol/errors';
import { type Api, ApiError, JOBS, type KubeLog, type KubeObject, PODS } from '../api/api.ts';
import { type Clock, systemClock } from '../api/clock.ts';
import { Informer } from '../api/informer.ts';
import { JobRate } from './job-rate.ts';
import { LABEL, LAUNCHED_SELECTOR, poolSecretName } from './names.ts';
import { ObjectTable } from './object-table.ts';
import { isJob, jobObject, podObject, split, type TemplateSettings } from './pod-template.ts';
import {
  launchedAtOf,
  type PodView,
  refusedPod,
  type Stuck,
  stuckReason,
  viewJob,
  viewPod,
} from './pod-view.ts';
import { PoolKeys } from './pool-keys.ts';
import { type Sighting, step, type TrackedPod } from './tracked-pod.ts';
import { findTroubles } from './troubles.ts';
import { Unwanted } from './unwanted.ts';

/** Lets a burst of a few tens through at once, and keeps the Job controller (about 20 syncs a second) from lagging. */
const DEFAULT_JOBS_PER_SECOND = 20;
const DEFAULT_MAX_LIFETIME_MS = 3_600_000;
const DEFAULT_MAX_TIMEOUT_MS = 900_000;
const DEFAULT_JOB_TTL_SECONDS = 60;
/** How long a pod that failed by itself stays to be looked at (`kubectl logs`). */
const FAILED_POD_KEEP_MS = 60_000;
/** The least that leaves the end to the kubelet: 0 strikes the object off while the container may still run. */
const MIN_GRACE_SECONDS = 1;
/**
 * After the time a pod was given: then its node is taken to be gone (4). A kubelet that is there needs a second or two; but
 * once it waits out a long grace it hears of no shorter one (seen with 1.36), and the container goes on until then.
 */
const FORCE_AFTER_MS = 10_000;
/** Created but not seen: it may have come and gone while no watch ran. Then it is asked for. */
const UNSEEN_MS = 20_000;
/** A pod that waits this long without a reason in its status: its events are asked for. */
const TROUBLE_AFTER_MS = 1_000;
const TROUBLE_EVERY_MS = 1_000;
/** Once every one of them has waited for long (a large image): less often. */
const TROUBLE_LONG_MS = 10_000;
/** A clearing away that failed is tried again. */
const RETRY_MS = 5_000;

export interface KubernetesBackendOptions {
  readonly api: Api;
  /** Those it launches in and watches. */
  readonly namespaces: readonly string[];
  /** Image of functions that name none. */
  readonly runtimeImage: string;
  /** PEM of the CA of the pod port; '' where pods connect without TLS. */
  readonly caPem: string;
  readonly log: KubeLog;
  /** UID of the function's object: the owner of what is launched. Undefined where it has none. */
  readonly functionUid: (functionKey: string) => string | undefined;
  /** Where pods dial when the launch's address answers no more; '' or absent: nowhere. */
  readonly fallbackAddress?: string;
  /** The longest `X-Timeout-Ms`: an eviction leaves time for it. */
  readonly maxTimeoutMs?: number;
  /** A Job ends after this at the latest. */
  readonly maxLifetimeMs?: number;
  readonly jobsPerSecond?: number;
  readonly jobTtlSeconds?: number;
  readonly clock?: Clock;
}

export class KubernetesBackend implements Backend {
  readonly name = 'kubernetes';
  readonly identifies = true;
  readonly outlives = true;
  private readonly options: KubernetesBackendOptions;
  private readonly api: Api;
  private readonly clock: Clock;
  private readonly settings: TemplateSettings;
  private readonly poolKeys: PoolKeys;
  private readonly rate: JobRate;
  private readonly objects = new ObjectTable();
  private readonly tracked = new Map<string, TrackedPod>();
  /** When those that were told to go must be gone, by the clock's `now`. */
  private readonly killAt = new Map<string, number>();
  private readonly unwanted: Unwanted;
  private readonly troubles = new Map<string, Stuck>();
  private readonly timers = new Set<{ cancel(): void }>();
  private readonly informers: readonly Informer[];
  private started: Promise<void> | undefined;
  private lookingForTroubles = false;
  private state: 'open' | 'standing-down' | 'closed' = 'open';
  private listener: (event: BackendEvent) => void = () => {};

  constructor(options: KubernetesBackendOptions) {
    const { api, clock = systemClock, log } = options;
    this.options = options;
    this.api = api;
    this.clock = clock;
    this.settings = {
      runtimeImage: options.runtimeImage,
      caPem: options.caPem,
      fallbackAddress: options.fallbackAddress ?? '',
      maxTimeoutMs: options.maxTimeoutMs ?? DEFAULT_MAX_TIMEOUT_MS,
      maxLifetimeMs: options.maxLifetimeMs ?? DEFAULT_MAX_LIFETIME_MS,
      jobTtlSeconds: options.jobTtlSeconds ?? DEFAULT_JOB_TTL_SECONDS,
    };
    this.poolKeys = new PoolKeys(api);
    this.rate = new JobRate(options.jobsPerSecond ?? DEFAULT_JOBS_PER_SECOND, clock);
    this.unwanted = new Unwanted(clock);
    this.informers = options.namespaces.flatMap((namespace) =>
      [PODS, JOBS].map((resource) => {
        const labelSelector = LAUNCHED_SELECTOR;
        const informer = new Informer(api, resource, { namespace, labelSelector, log, clock });
        informer.onChange((change) => {
          const podId = change.object.metadata.labels?.[LABEL.podId] ?? '';
          this.objects.apply(resource, podId, change);
          this.look(podId);
        });
        return informer;
      }),
    );
  }

  onEvent(listener: (event: BackendEvent) => void): void {
    this.listener = listener;
  }

  /** Milliseconds since the oldest of its watches was last known to be current. */
  get staleMs(): number {
    return Math.max(0, ...this.informers.map((informer) => informer.staleMs));
  }

  /** Watches from now on; resolves once everything was listed. `adopt` does it as well. */
  start(): Promise<void> {
    this.started ??= Promise.all(this.informers.map((informer) => informer.start())).then(() => {});
    return this.started;
  }

  // ---- launching -----------------------------------------------------------------------------------------------------

  async launch(request: LaunchRequest): Promise<void> {
    const { podId, kind, functionKey, revision } = request;
    const [namespace, name] = split(functionKey);
    this.assertOpen();
    if (!this.options.namespaces.includes(namespace)) {
      throw refusal(`namespace ${namespace} is not among those that are served (namespaces)`);
    }
    void this.start();
    const made = isJob(request) ? 'job' : 'pod';
    this.tracked.set(podId, {
      podId,
      kind,
      functionKey,
      namespace,
      revision,
      made,
      launchedAt: this.clock.epoch(),
      proofKey: '',
      uid: '',
      label: '',
      phase: { name: 'creating' },
      uids: [],
      seen: false,
      ending: false,
      toldLeaving: false,
    });
    try {
      const functionUid = this.options.functionUid(functionKey);
      const proofKey = await this.poolKeys.of(functionKey, functionUid);
      if (made === 'job') await this.rate.turn();
      this.assertOpen();
      const launchedAt = this.clock.epoch();
      const launch = { ...request, launchedAt, ...(functionUid !== undefined && { functionUid }) };
      const created =
        made === 'job'
          ? await this.api.create(JOBS, namespace, jobObject(launch, this.settings))
          : await this.api.create(PODS, namespace, podObject(launch, this.settings));
      this.takenOn(podId, proofKey, launchedAt, created);
    } catch (error) {
      this.tracked.delete(podId);
      // It may have been created all the same (1).
      if (error instanceof ApiError && error.code === 'unreachable') this.unwanted.add(podId, true);
      // Its namesake was deleted, or its Secret is beyond repair: look again next time.
      if (!(error instanceof SimmerError)) this.poolKeys.forget(functionKey);
      throw error instanceof SimmerError ? error : refusal(reasonOf(error), name);
    }
  }

  private takenOn(podId: string, proofKey: string, launchedAt: number, created: KubeObject): void {
    const tracked = this.tracked.get(podId);
    if (!tracked) return;
    const { uid = '', name = '' } = created.metadata;
    const bare = tracked.made === 'pod';
    this.tracked.set(podId, {
      ...tracked,
      proofKey,
      launchedAt,
      uid,
      label: bare ? name : '',
      phase: { name: 'pending', stuck: undefined },
      // The creation's answer tells it as surely as the watch, and sooner.
      uids: bare ? [uid] : [],
    });
    if (bare) this.listener({ type: 'identified', podId, uid, proofKey });
    this.look(podId);
    this.later(UNSEEN_MS, () => this.checkUnseen(podId));
    this.lookForTroubles();
    const now = this.tracked.get(podId);
    // It was to end before the API server had it.
    if (now?.ending) this.removeSoon(podId, now, MIN_GRACE_SECONDS);
  }

  private async checkUnseen(podId: string): Promise<void> {
    const tracked = this.tracked.get(podId);
    if (!tracked || tracked.seen) return;
    const resource = tracked.made === 'job' ? JOBS : PODS;
    try {
      // A list, not a get: that needs no permission beyond the watch's.
      const fieldSelector = `metadata.name=${podId}`;
      const { items } = await this.api.list(resource, tracked.namespace, { fieldSelector });
      if (items[0]?.metadata.uid !== tracked.uid) this.vanished(podId);
      else this.later(UNSEEN_MS, () => this.checkUnseen(podId));
    } catch {
      this.later(UNSEEN_MS, () => this.checkUnseen(podId));
    }
  }

  /** The API server knows it no more, and no watch had shown it. */
  private vanished(podId: string): void {
    const tracked = this.tracked.get(podId);
    if (!tracked || tracked.seen) return;
    this.tracked.set(podId, { ...tracked, seen: true });
    this.look(podId);
  }

  // ---- ending --------------------------------------------------------------------------------------------------------

  async terminate(podId: string, graceMs: number): Promise<void> {
    const tracked = this.tracked.get(podId);
    if (!tracked || this.state !== 'open') return; // 3
    this.tracked.set(podId, { ...tracked, ending: true });
    if (tracked.phase.name === 'creating') return;
    const killAt = this.clock.now() + graceMs;
    const before = this.killAt.get(podId);
    // A second request may only shorten the time that is left.
    if (before !== undefined && before <= killAt) return;
    this.killAt.set(podId, killAt);
    const seconds = Math.max(MIN_GRACE_SECONDS, Math.ceil(graceMs / 1_000));
    try {
      await this.remove(tracked, seconds);
    } catch (error) {
      // To be told again.
      this.killAt.delete(podId);
      throw error;
    }
    this.later(seconds * 1_000 + FORCE_AFTER_MS, () => this.force(podId, killAt));
  }

  /** It is still there: strikes it off, whatever its node says (4). */
  private force(podId: string, killAt: number): void {
    const tracked = this.tracked.get(podId);
    if (!tracked || this.killAt.get(podId) !== killAt) return;
    this.options.log.warn({ podId }, 'pod is struck off: it has not ended in its time');
    this.removeSoon(podId, tracked, 0);
  }

  private async remove(tracked: TrackedPod, graceSeconds: number): Promise<void> {
    const { podId, namespace, uid } = tracked;
    let there: boolean;
    if (tracked.made === 'pod') {
      there = await this.api.remove(PODS, namespace, podId, { uid, graceSeconds });
    } else {
      // First the Job, so that it makes no other pod; its garbage collection would give the pod all of its own time.
      this.unwanted.add(podId, true);
      there = await this.api.remove(JOBS, namespace, podId, { uid, propagation: 'Background' });
      for (const pod of this.podsOf(tracked)) {
        const options = { uid: pod.uid, graceSeconds };
        await this.api.remove(PODS, namespace, pod.name, options);
      }
    }
    if (!there) this.vanished(podId);
  }

  private removeSoon(podId: string, tracked: TrackedPod, graceSeconds: number): void {
    if (this.state !== 'open') return; // 3
    this.remove(tracked, graceSeconds).catch((error: Error) => {
      this.options.log.warn({ podId }, `cannot remove the pod for now: ${error.message}`);
      this.later(RETRY_MS, () => this.removeSoon(podId, tracked, graceSeconds));
    });
  }

  // ---- what is there now ---------------------------------------------------------------------------------------------

  /** Compares what is tracked with what there is, and tells the difference. */
  private look(podId: string): void {
    const before = this.tracked.get(podId);
    if (!before) {
      if (this.unwanted.has(podId)) this.removeUnwanted(podId); // 1
      return;
    }
    if (this.state === 'closed') return;
    const sighting = this.sightingOf(before);
    const { after, events } = step(before, sighting, this.clock.epoch());
    if (after.phase.name === 'gone') this.settle(after, sighting);
    else this.tracked.set(podId, after);
    for (const event of events) this.listener(event);
  }

  private sightingOf(tracked: TrackedPod): Sighting {
    const job = this.objects.job(tracked.podId);
    const trouble = this.troubles.get(tracked.podId);
    return {
      pods: this.podsOf(tracked).map((pod) => this.withoutOurs(tracked, pod)),
      job: job?.metadata.uid === tracked.uid ? viewJob(job) : undefined, // 2
      ...(trouble !== undefined && { trouble }),
    };
  }

  private podsOf(tracked: TrackedPod): PodView[] {
    return this.objects
      .pods(tracked.podId)
      .filter((pod) =>
        tracked.made === 'pod'
          ? pod.metadata.uid === tracked.uid
          : pod.metadata.ownerReferences?.some((owner) => owner.uid === tracked.uid),
      ) // 2
      .map(viewPod);
  }

  /** A pod that cannot start for want of the pool's Secret, which somebody deleted: that we can mend. */
  private withoutOurs(tracked: TrackedPod, pod: PodView): PodView {
    const { state } = pod;
    if (state.name !== 'starting' || state.stuck?.code !== 'ContainerRefused') return pod;
    const { functionKey } = tracked;
    if (!state.stuck.message.includes(poolSecretName(split(functionKey)[1]))) return pod;
    if (this.state === 'open') {
      this.poolKeys.restore(functionKey).catch((error: Error) => {
        this.options.log.warn({ function: functionKey }, `cannot make its key: ${error.message}`);
      });
    }
    return { ...pod, state: { name: 'starting', stuck: { ...state.stuck, hopeless: false } } };
  }

  /** It is over: what is left of it is cleared away, or left to be. */
  private settle(tracked: TrackedPod, last: Sighting): void {
    const { podId } = tracked;
    this.tracked.delete(podId);
    this.killAt.delete(podId);
    this.troubles.delete(podId);
    const current = last.pods.at(-1);
    if (tracked.made === 'pod') {
      if (current === undefined || current.deleting !== undefined) return;
      const failed = current.state.name === 'exited' && !current.state.clean;
      const keepMs = failed && !tracked.ending ? FAILED_POD_KEEP_MS : 0;
      this.later(keepMs, () => this.removeSoon(podId, tracked, MIN_GRACE_SECONDS));
      return;
    }
    // A Job whose pod ended by itself finishes by itself, and goes by its ttl. One that lost its pod is not to make another.
    const over = current?.state.name === 'exited' && current.deleting === undefined;
    this.unwanted.add(podId, !over);
    if (!over && last.job && !last.job.finished && !last.job.deleting) {
      this.removeSoon(podId, tracked, MIN_GRACE_SECONDS);
    }
  }

  private removeUnwanted(podId: string): void {
    if (this.state !== 'open') return; // 3
    const swallow = (error: Error) =>
      this.options.log.warn({ podId }, `cannot remove what nobody wants: ${error.message}`);
    for (const pod of this.objects.pods(podId)) {
      const { deleting, state, name, uid } = viewPod(pod);
      if (deleting !== undefined || state.name === 'exited') continue;
      const { namespace = '' } = pod.metadata;
      this.api
        .remove(PODS, namespace, name, { uid, graceSeconds: MIN_GRACE_SECONDS })
        .catch(swallow);
    }
    const job = this.objects.job(podId);
    if (!job || !this.unwanted.withJob(podId)) return;
    const { uid, finished, deleting } = viewJob(job);
    const { namespace = '' } = job.metadata;
    if (finished || deleting) return;
    this.api.remove(JOBS, namespace, podId, { uid }).catch(swallow);
  }

  // ---- why something does not start ----------------------------------------------------------------------------------

  private lookForTroubles(): void {
    if (this.lookingForTroubles || this.state === 'closed') return;
    const since = [...this.tracked.values()]
      .filter((tracked) => tracked.phase.name === 'pending')
      .map((tracked) => tracked.launchedAt);
    if (since.length === 0) return;
    const long = this.clock.epoch() - Math.max(...since) > TROUBLE_LONG_MS;
    this.lookingForTroubles = true;
    this.later(long ? TROUBLE_LONG_MS : TROUBLE_EVERY_MS, async () => {
      await this.askForTroubles();
      this.lookingForTroubles = false;
      this.lookForTroubles();
    });
  }

  private async askForTroubles(): Promise<void> {
    const latest = this.clock.epoch() - TROUBLE_AFTER_MS;
    const asked = new Map<string, Set<'Job' | 'Pod'>>();
    for (const tracked of this.tracked.values()) {
      const { phase, namespace, launchedAt, made } = tracked;
      if (phase.name !== 'pending' || phase.stuck !== undefined || launchedAt > latest) continue;
      const kinds = asked.get(namespace) ?? new Set();
      const kind = made === 'job' && tracked.uids.length === 0 ? 'Job' : 'Pod';
      asked.set(namespace, kinds.add(kind));
    }
    for (const [namespace, kinds] of asked) {
      const found = await findTroubles(this.api, namespace, kinds, this.options.log);
      for (const { podId, uid, uids, phase } of [...this.tracked.values()]) {
        const trouble = [uid, ...uids].map((id) => found.get(id)).find((t) => t !== undefined);
        if (phase.name !== 'pending' || trouble === undefined) continue;
        this.troubles.set(podId, trouble);
        this.look(podId);
      }
    }
  }

  // ---- the rest of the contract --------------------------------------------------------------------------------------

  async list(): Promise<readonly BackendPod[]> {
    return [...this.tracked.values()].filter((t) => t.phase.name !== 'creating').map(backendPodOf);
  }

  /** Not those that were told to go already: they end by themselves. @throws {ApiError} */
  async adopt(): Promise<readonly FoundPod[]> {
    await this.start();
    const functionKeys = new Set(this.objects.all().map(functionKeyOf));
    const keys = new Map<string, string>();
    for (const functionKey of functionKeys) {
      keys.set(functionKey, await this.poolKeys.found(functionKey));
    }
    const found: FoundPod[] = [];
    for (const podId of this.objects.podIds()) {
      const proofKey = keys.get(functionKeyOf(this.objects.first(podId)));
      const tracked = proofKey !== undefined && this.take(podId, proofKey);
      if (!tracked) continue;
      const { uids, launchedAt } = tracked;
      found.push({ ...backendPodOf(tracked), uids, proofKey, launchedAt });
    }
    this.lookForTroubles();
    return found;
  }

  private take(podId: string, proofKey: string): TrackedPod | undefined {
    if (this.tracked.has(podId)) return undefined;
    const job = this.objects.job(podId);
    const object = job ?? this.objects.first(podId);
    const { labels = {}, namespace = '', uid = '', ownerReferences = [] } = object.metadata;
    const made = job || ownerReferences.some((owner) => owner.kind === 'Job') ? 'job' : 'pod';
    const tracked: TrackedPod = {
      podId,
      kind: labels[LABEL.kind] === 'job' ? 'job' : 'pool',
      functionKey: functionKeyOf(object),
      namespace,
      revision: labels[LABEL.revision] ?? '',
      made,
      launchedAt: launchedAtOf(object),
      proofKey,
      uid,
      label: '',
      phase: { name: 'pending', stuck: undefined },
      uids: [],
      seen: true,
      ending: false,
      toldLeaving: false,
    };
    const pods = this.podsOf(tracked);
    const live = pods.filter((pod) => pod.state.name !== 'exited');
    if (made === 'job') {
      if (!job || viewJob(job).finished || viewJob(job).deleting) return undefined;
      if (pods.length > 0 && live.length === 0) return undefined;
    } else if (live.length === 0) {
      this.removeSoon(podId, tracked, MIN_GRACE_SECONDS);
      return undefined;
    }
    if (live.length > 0 && live.every((pod) => pod.deleting !== undefined)) return undefined;
    const taken: TrackedPod = {
      ...tracked,
      label: live.at(-1)?.name ?? '',
      uids: live.map((pod) => pod.uid),
      phase: live.some((pod) => pod.state.name === 'running') ? { name: 'running' } : tracked.phase,
    };
    this.tracked.set(podId, taken);
    return taken;
  }

  /** Another control plane takes over: no more writes; events go on to be told (3). */
  standDown(): void {
    if (this.state === 'open') this.state = 'standing-down';
    this.rate.close();
  }

  /** Releases what it holds; its pods go on for the next control plane (`outlives`). */
  async close(): Promise<void> {
    this.state = 'closed';
    this.rate.close();
    for (const informer of this.informers) informer.stop();
    for (const timer of this.timers) timer.cancel();
    this.timers.clear();
  }

  private assertOpen(): void {
    if (this.state === 'open') return;
    const why = this.state === 'closed' ? 'the backend is closed' : 'another control plane leads';
    throw refusal(why);
  }

  private later(ms: number, what: () => void): void {
    if (this.state === 'closed') return;
    const timer = this.clock.after(ms, () => {
      this.timers.delete(timer);
      what();
    });
    this.timers.add(timer);
  }
}

function backendPodOf(tracked: TrackedPod): BackendPod {
  const { podId, kind, functionKey, label, revision } = tracked;
  return { podId, kind, functionKey, label, revision };
}

function functionKeyOf(object: KubeObject): string {
  const { namespace, labels } = object.metadata;
  return `${namespace}/${labels?.[LABEL.function] ?? ''}`;
}

function refusal(reason: string, functionName = ''): SimmerError {
  const what = functionName === '' ? '' : ` of ${functionName}`;
  return new SimmerError('launch_failed', `cannot launch a pod${what}: ${reason}`);
}

/** A quota, Pod Security, a missing permission, an API server that is away: each in its own words. */
function reasonOf(error: unknown): string {
  if (!(error instanceof ApiError)) return (error as Error).message;
  const judged = error.code === 'refused' && !error.denied && error.status !== 429;
  return judged && error.status < 500 ? stuckReason(refusedPod(error.message)) : error.message;
}

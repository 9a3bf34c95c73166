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
import {
  type Api,
  ApiError,
  isReason,
  isTransient,
  JOBS,
  type KubeLog,
  type KubeObject,
  PODS,
  type Resource,
} from '../api/api.ts';
import { type Clock, systemClock } from '../api/clock.ts';
import { Informer } from '../api/informer.ts';
import { JobRate } from './job-rate.ts';
import { Marks } from './marks.ts';
import { LABEL, LAUNCHED_SELECTOR, poolSecretName } from './names.ts';
import { ObjectTable } from './object-table.ts';
import { isJob, jobObject, podObject, split, type TemplateSettings } from './pod-template.ts';
import { type PodView, refusedPod, stuckReason } from './pod-view.ts';
import { PoolKeys } from './pool-keys.ts';
import { MIN_GRACE_SECONDS, Remover } from './remover.ts';
import { foundLaunch, functionKeyOf, sightingOf } from './sighting.ts';
import { Timers } from './timers.ts';
import { type Sighting, step, type TrackedPod } from './tracked-pod.ts';
import { Troubles } from './troubles.ts';

/** Lets a burst of a few tens through at once, and keeps the Job controller (about 20 syncs a second) from lagging. */
const DEFAULT_JOBS_PER_SECOND = 20;
const DEFAULT_MAX_LIFETIME_MS = 3_600_000;
const DEFAULT_MAX_TIMEOUT_MS = 900_000;
const DEFAULT_JOB_TTL_SECONDS = 60;
/** How long a pod that failed by itself stays to be looked at (`kubectl logs`). */
const FAILED_POD_KEEP_MS = 60_000;
/**
 * After the time a pod was given: then its node is taken to be gone (4). A kubelet that is there needs a second or two; but
 * once it waits out a long grace it hears of no shorter one (seen with 1.36), and the container goes on until then.
 */
const FORCE_AFTER_MS = 10_000;
/** Created but not seen: it may have come and gone while no watch ran. Then it is asked for. */
const UNSEEN_MS = 20_000;
/** A creation that the API server asks to send again. */
const MAX_CREATE_TRIES = 5;
const CREATE_AGAIN_MS = 20;
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
  /** Ids that `adopt` has told of. */
  private readonly found = new Set<string>();
  /** When those that were told to go must be gone, by the clock's `now`. */
  private readonly killAt = new Map<string, number>();
  private readonly timers: Timers;
  private readonly troubles: Troubles;
  private readonly remover: Remover;
  private readonly marks: Marks;
  private readonly informers: readonly Informer[];
  private started: Promise<void> | undefined;
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
    const timers = new Timers(clock);
    const { objects } = this;
    this.timers = timers;
    this.remover = new Remover({
      api,
      objects,
      clock,
      timers,
      log,
      onAbsent: (podId) => this.vanished(podId),
    });
    const { functionUid } = options;
    this.marks = new Marks({ api, clock, timers, log, functionUid });
    this.troubles = new Troubles({
      api,
      clock,
      timers,
      log,
      tracked: () => this.tracked.values(),
      onFound: (podId) => this.look(podId),
    });
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
    if (this.started === undefined) return 0;
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
      origin: undefined,
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
    let proofKey: string;
    let launchedAt: number;
    let created: KubeObject;
    try {
      const functionUid = this.options.functionUid(functionKey);
      proofKey = await this.poolKeys.of(functionKey, functionUid);
      if (made === 'job') await this.rate.turn();
      this.assertOpen();
      launchedAt = this.clock.epoch();
      const launch = { ...request, launchedAt, ...(functionUid !== undefined && { functionUid }) };
      created =
        made === 'job'
          ? await this.create(JOBS, namespace, jobObject(launch, this.settings))
          : await this.create(PODS, namespace, podObject(launch, this.settings));
    } catch (error) {
      this.tracked.delete(podId);
      // It may have been created all the same (1).
      if (isTransient(error)) this.remover.refuse(podId, true);
      // Its namesake was deleted, or its Secret is beyond repair: look again next time.
      if (!(error instanceof SimmerError)) this.poolKeys.forget(functionKey);
      throw error instanceof SimmerError ? error : refusal(reasonOf(error), name);
    }
    this.takenOn(podId, proofKey, launchedAt, created);
  }

  /** Again, where the API server surely did nothing and says so: it is busy, or two launches met at one quota. */
  private async create(resource: Resource, namespace: string, object: KubeObject) {
    for (let tries = 1; ; tries++) {
      try {
        return await this.api.create(resource, namespace, object);
      } catch (error) {
        const again =
          error instanceof ApiError && (error.status === 429 || isReason(error, 'Conflict'));
        if (!again || tries === MAX_CREATE_TRIES || this.state !== 'open') throw error;
        const ms = Math.max(error.retryAfterMs, CREATE_AGAIN_MS * tries);
        await new Promise<void>((resolve) => this.clock.after(ms, resolve));
      }
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
    this.timers.after(UNSEEN_MS, () => this.checkUnseen(podId));
    this.troubles.watch();
    const now = this.tracked.get(podId);
    // It was to end before the API server had it.
    if (now?.ending) this.remover.removeSoon(now, MIN_GRACE_SECONDS);
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
      else this.timers.after(UNSEEN_MS, () => this.checkUnseen(podId));
    } catch {
      this.timers.after(UNSEEN_MS, () => this.checkUnseen(podId));
    }
  }

  /** The API server knows it no more, and no watch had shown it. */
  private vanished(podId: string): void {
    const tracked = this.tracked.get(podId);
    if (!tracked || tracked.seen) return;
    this.tracked.set(podId, { ...tracked, seen: true });
    this.look(podId);
  }

  claimed(podId: string, functionKey: string, revision: string): void {
    const tracked = this.tracked.get(podId);
    if (!tracked) return;
    const claimed = { ...tracked, functionKey, revision, origin: tracked.functionKey };
    this.tracked.set(podId, claimed);
    if (this.state === 'open') this.marks.mark(claimed); // 3
  }

  // ---- ending --------------------------------------------------------------------------------------------------------

  async terminate(podId: string, graceMs: number): Promise<void> {
    if (this.state !== 'open') return; // 3
    const tracked = this.tracked.get(podId);
    if (!tracked) {
      this.endFound(podId);
      return;
    }
    this.tracked.set(podId, { ...tracked, ending: true });
    if (tracked.phase.name === 'creating') return;
    const killAt = this.clock.now() + graceMs;
    const before = this.killAt.get(podId);
    // A second request may only shorten the time that is left.
    if (before !== undefined && before <= killAt) return;
    this.killAt.set(podId, killAt);
    const seconds = Math.max(MIN_GRACE_SECONDS, Math.ceil(graceMs / 1_000));
    try {
      await this.remover.remove(tracked, seconds);
    } catch (error) {
      // To be told again.
      this.killAt.delete(podId);
      throw error;
    }
    this.timers.after(seconds * 1_000 + FORCE_AFTER_MS, () => this.force(podId, killAt));
  }

  /**
   * One that was found may end before whoever asked for it has taken it over, and then nobody hears of it; asked to end it
   * after that, we tell again.
   */
  private endFound(podId: string): void {
    if (!this.found.delete(podId)) return;
    const reason = 'it ended before it was taken over';
    this.listener({ type: 'exited', podId, reason, at: this.clock.epoch(), blameless: true });
  }

  /** It is still there: strikes it off, whatever its node says (4). */
  private force(podId: string, killAt: number): void {
    const tracked = this.tracked.get(podId);
    if (!tracked || this.killAt.get(podId) !== killAt) return;
    this.options.log.warn({ podId }, 'pod is struck off: it has not ended in its time');
    this.remover.removeSoon(tracked, 0);
  }

  // ---- what is there now ---------------------------------------------------------------------------------------------

  /** Compares what is tracked with what there is, and tells the difference. */
  private look(podId: string): void {
    const before = this.tracked.get(podId);
    if (!before) {
      this.remover.look(podId); // 1
      return;
    }
    if (this.state === 'closed') return;
    const seen = sightingOf(before, this.objects, this.troubles.of(podId)); // 2
    const sighting = this.mended(before, seen);
    const { after, events } = step(before, sighting, this.clock.epoch());
    const fresh = events.some((event) => event.type === 'identified');
    // The pod of a Job that was ended before it had one.
    if (fresh && after.ending) this.remover.removeSoon(after, MIN_GRACE_SECONDS);
    if (after.phase.name === 'gone') this.settle(after, sighting);
    else this.tracked.set(podId, after);
    for (const event of events) this.listener(event);
  }

  /** A pod that cannot start for want of the pool's Secret, which somebody deleted: that is made again. */
  private mended(tracked: TrackedPod, sighting: Sighting): Sighting {
    const { functionKey } = tracked;
    const secret = poolSecretName(split(functionKey)[1]);
    const pods = sighting.pods.map((pod): PodView => {
      const { state } = pod;
      if (state.name !== 'starting' || state.stuck?.code !== 'ContainerRefused') return pod;
      if (!state.stuck.message.includes(`"${secret}"`)) return pod;
      if (this.state === 'open') this.restoreKey(functionKey);
      return { ...pod, state: { name: 'starting', stuck: { ...state.stuck, hopeless: false } } };
    });
    return { ...sighting, pods };
  }

  private restoreKey(functionKey: string): void {
    this.poolKeys.restore(functionKey).catch((error: Error) => {
      this.options.log.warn({ function: functionKey }, `cannot make its key: ${error.message}`);
    });
  }

  /** It is over: what is left of it is cleared away, or left to be. */
  private settle(tracked: TrackedPod, last: Sighting): void {
    const { podId } = tracked;
    this.tracked.delete(podId);
    this.killAt.delete(podId);
    this.troubles.forget(podId);
    this.marks.forget(podId);
    const current = last.pods.at(-1);
    if (tracked.made === 'pod') {
      if (current === undefined || current.deleting !== undefined) return;
      const failed = current.state.name === 'exited' && !current.state.clean;
      const keepMs = failed && !tracked.ending ? FAILED_POD_KEEP_MS : 0;
      this.timers.after(keepMs, () => this.remover.removeSoon(tracked, MIN_GRACE_SECONDS));
      return;
    }
    // A Job whose pod ended by itself finishes by itself, and goes by its ttl. One that lost its pod is not to make another.
    const over = current?.state.name === 'exited' && current.deleting === undefined;
    this.remover.refuse(podId, !over);
    if (!over && last.job && !last.job.finished && !last.job.deleting) {
      this.remover.removeSoon(tracked, MIN_GRACE_SECONDS);
    }
  }

  /** The function (or WarmPool) of that UID is gone and has no pods: so goes its pool's key. @throws {ApiError} */
  cleanUp(key: string, uid: string): Promise<void> {
    return this.poolKeys.remove(key, uid);
  }

  // ---- the rest of the contract --------------------------------------------------------------------------------------

  async list(): Promise<readonly BackendPod[]> {
    return [...this.tracked.values()].filter((t) => t.phase.name !== 'creating').map(backendPodOf);
  }

  /** Not those that were told to go already: they end by themselves. @throws {ApiError} */
  async adopt(): Promise<readonly FoundPod[]> {
    await this.start();
    const functionKeys = new Set(this.objects.all().map(functionKeyOf));
    const keys = new Map(
      await Promise.all(
        [...functionKeys].map(async (key) => [key, await this.poolKeys.found(key)] as const),
      ),
    );
    const found: FoundPod[] = [];
    for (const podId of this.objects.podIds()) {
      const proofKey = keys.get(functionKeyOf(this.objects.first(podId)));
      if (proofKey === undefined || this.tracked.has(podId)) continue;
      const launch = foundLaunch(podId, this.objects, proofKey);
      if (launch.state === 'over') this.remover.removeSoon(launch.tracked, MIN_GRACE_SECONDS);
      if (launch.state !== 'live') continue;
      const { tracked } = launch;
      const { uids, launchedAt, origin } = tracked;
      this.tracked.set(podId, tracked);
      this.found.add(podId);
      const from = origin === undefined ? {} : { origin };
      found.push({ ...backendPodOf(tracked), uids, proofKey, launchedAt, ...from });
    }
    this.troubles.watch();
    return found;
  }

  /** Another control plane takes over: no more writes; events go on to be told (3). */
  standDown(): void {
    if (this.state === 'open') this.state = 'standing-down';
    this.remover.stop();
    this.marks.stop();
    this.rate.close();
  }

  /** Releases what it holds; its pods go on for the next control plane (`outlives`). */
  async close(): Promise<void> {
    this.state = 'closed';
    this.rate.close();
    for (const informer of this.informers) informer.stop();
    this.remover.stop();
    this.marks.stop();
    this.timers.close();
  }

  private assertOpen(): void {
    if (this.state === 'open') return;
    const why = this.state === 'closed' ? 'the backend is closed' : 'another control plane leads';
    throw refusal(why);
  }
}

function backendPodOf(tracked: TrackedPod): BackendPod {
  const { podId, kind, functionKey, label, revision } = tracked;
  return { podId, kind, functionKey, label, revision };
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

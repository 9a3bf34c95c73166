/**
 * The keeper of the pools: it alone decides that a pod exists. The scheduler tells what it needs and what became of a
 * pod's socket; the backend tells what became of the pod; the registry tells what there should be. Each of these
 * changes a pool's record, and then upkeep (a pure policy) says what to do.
 *
 * Invariants:
 *  1. Each unit of a `need` is answered once: by a `pod-expected` with `needed`, or in a `launch-refused`.
 *  2. Each `pod-expected` is followed by one `pod-exited`, whatever becomes of the pod: launched or cancelled.
 *  3. A pod's failure to get ready is counted once, by whichever came first: its word, its exit, its deadline.
 *  4. Once draining, nothing is launched.
 *  5. What an earlier process launched is taken over before anything is launched for its function.
 *  6. Of an earlier process's pods those of WarmPools are ended: what marks one that was claimed comes after the claim.
 *  7. Each function's counters are sampled every SAMPLE_MS; in between, what a miss launched counts as wanted.
 */
import { randomBytes } from 'node:crypto';
import type { Backend, BackendEvent, PodKind } from '@simmer/protocol/backend';
import { isErrorCode } from '@simmer/protocol/errors';
import { warmPoolName } from '@simmer/protocol/names';
import type { RegisteredFunction } from '@simmer/protocol/registry';
import type { Config } from '../../config/config.ts';
import type {
  FunctionRecord,
  NeedMessage,
  PodClaimedMessage,
  ToScheduler,
} from '../../shared/messages.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { PoolCosts } from '../sizing/pool-costs.ts';
import { SAMPLE_MS, Sizer } from '../sizing/sizer.ts';
import { admit, refuseAll } from './admission.ts';
import { Alarm } from './alarm.ts';
import { HEALTHY } from './backoff.ts';
import { type Failure, noteFailure } from './failure.ts';
import { FoundPods, recordOfFound } from './found-pods.ts';
import { Launcher } from './launcher.ts';
import { isLeaving, liveOf, type Pod, type Pool } from './pool.ts';
import { PoolTable } from './pool-table.ts';
import type { CounterSlots } from './slots.ts';
import { isSettled, upkeep } from './upkeep.ts';

const CREDENTIAL_BYTES = 32;
/** Beyond what a pod may rightly take to leave; messages and exits take time themselves. */
const LEAVE_SLACK_MS = 1_000;
/** A process told to die that is still there (a disk that hangs): tell it again. */
const KILL_AGAIN_MS = 5_000;
/**
 * A WarmPool is refilled when the claimed pod has loaded its function and had time to answer, and at the latest so long
 * after the claim: the start of another process, on the machine on which that one loads just then, would cost the call
 * more than the pool gains.
 */
const REFILL_AFTER_READY_MS = 20;
const REFILL_AFTER_CLAIM_MS = 100;
/** Upkeep comes to rest at the second look; more would be a fault in it. */
const MAX_LOOKS = 8;

export interface PoolKeeperOptions {
  readonly config: Pick<
    Config,
    | 'maxConcurrentLaunches'
    | 'maxConcurrentPodLaunches'
    | 'maxJobs'
    | 'maxTimeoutMs'
    | 'namespaceIdleBytes'
  >;
  /** Stands in pod ids: pods of two boots are never mistaken for each other. */
  readonly bootId: string;
  /** What a backend's pods dial. */
  readonly podAddress: (backend: string) => string;
  /** The first is the default. */
  readonly backends: readonly Backend[];
  readonly slots: CounterSlots;
  readonly clock: Clock;
  readonly log: Log;
  readonly send: (message: ToScheduler) => void;
}

export class PoolKeeper {
  private readonly options: PoolKeeperOptions;
  private readonly backends: ReadonlyMap<string, Backend>;
  private readonly launcher: Launcher;
  readonly defaultBackend: string;
  private readonly table: PoolTable;
  private readonly alarm: Alarm;
  private readonly sizer: Sizer;
  private readonly costs: PoolCosts;
  private sampling: { cancel(): void };
  private readonly byPod = new Map<string, { readonly pool: Pool; readonly pod: Pod }>();
  /** Pods of an earlier process whose functions have not been read yet (5). */
  private readonly found = new FoundPods();
  private jobs = 0;
  private podCount = 0;
  private state: 'running' | 'paused' | 'draining' | 'stopping' = 'running';
  private settled = false;
  private onEmpty: (() => void) | undefined;

  constructor(options: PoolKeeperOptions) {
    this.options = options;
    this.backends = new Map(options.backends.map((b) => [b.name, b]));
    this.defaultBackend = (options.backends[0] as Backend).name;
    this.launcher = new Launcher({
      backends: this.backends,
      podAddress: options.podAddress,
      maxConcurrent: (backend) =>
        backend === 'kubernetes'
          ? options.config.maxConcurrentPodLaunches
          : options.config.maxConcurrentLaunches,
      clock: options.clock,
      onStarting: (pool, pod) => this.onStarting(pool, pod),
      onTaken: (pod) => this.onTaken(pod),
      onRefused: (pool, pod, reason) => this.onLaunchRefused(pool, pod, reason),
    });
    this.table = new PoolTable(options.slots, options.log);
    this.alarm = new Alarm(options.clock, () => this.onAlarm());
    this.costs = new PoolCosts(options.slots);
    this.sizer = new Sizer(options.slots, options.config.namespaceIdleBytes);
    this.sampling = options.clock.after(SAMPLE_MS, () => this.sample());
    for (const backend of options.backends) backend.onEvent((event) => this.onBackendEvent(event));
  }

  // ---- what is asked of it -----------------------------------------------------------------------------------------

  /** Of the functions that are registered. */
  pools(): Iterable<Pool> {
    return this.table.all();
  }

  pool(key: string): Pool | undefined {
    return this.table.get(key);
  }

  /** The keys of pools that neither have their minimum nor said why not. Once there was none, there is none. */
  notReady(): readonly string[] {
    if (this.settled) return [];
    const keys = [...this.table.all()].filter((pool) => !isSettled(pool)).map((p) => p.key);
    if (keys.length === 0) this.settled = true;
    return keys;
  }

  /** Keys of deleted functions whose pods are not all gone. */
  leaving(): ReadonlySet<string> {
    return this.table.leavingKeys();
  }

  // ---- what was there before -----------------------------------------------------------------------------------------

  /** Looks for pods that an earlier process left running; they are taken over, or ended, with the first `apply` (5). */
  findPods(): Promise<void> {
    return this.found.search(this.options.backends);
  }

  private takeOverFound(): void {
    const { clock, log, send } = this.options;
    const all = this.found.take();
    for (const found of all) {
      const { podId, functionKey, launchedAt, uids, proofKey } = found.pod;
      const pool = this.table.get(functionKey);
      // A generic one may have become a function's without a mark of it (6).
      if (pool === undefined || warmPoolName(functionKey) !== undefined) {
        const why =
          pool === undefined ? `there is no ${functionKey}` : 'nobody knows whom it served';
        log.info({ podId }, `pod ended: ${why}`);
        this.terminate({ podId, backend: found.backend.name }, 0);
        continue;
      }
      this.register(pool, recordOfFound(found, clock.now()), launchedAt);
      for (const uid of uids) send({ type: 'pod-identified', podId, uid, proofKey });
      log.debug({ function: pool.key, podId }, 'pod taken over');
    }
    // Once all are there: what a pool needs is asked of the whole of it.
    for (const { events } of all) for (const event of events) this.onBackendEvent(event);
  }

  // ---- from the registry -------------------------------------------------------------------------------------------

  /** The functions there should be: all of them. */
  apply(functions: readonly RegisteredFunction[]): void {
    const { changed, removed } = this.table.apply(functions, this.options.clock.now());
    const told = new Set([...changed, ...this.table.fit(functions, this.defaultBackend)]);
    if (removed.length === 0 && told.size === 0) {
      this.takeOverFound();
      return;
    }
    for (const pool of removed) this.sizer.forget(pool);
    const upsert = [...told].map(recordOf);
    this.options.send({ type: 'functions', upsert, remove: removed.map((p) => p.key) });
    this.takeOverFound();
    for (const pool of [...removed, ...changed]) this.look(pool);
  }

  // ---- from the scheduler ------------------------------------------------------------------------------------------

  need(message: NeedMessage): void {
    const pool = this.table.get(message.functionKey);
    if (this.state !== 'running') {
      const reason = this.state === 'paused' ? 'another may be leading' : 'shutting down';
      this.options.send(refuseAll(message, 'draining', reason)); // 4
    } else if (!pool) {
      const reason = `there is no function ${message.functionKey}`;
      this.options.send(refuseAll(message, 'function_deleted', reason));
    } else {
      const budget = { jobs: this.jobs, maxJobs: this.options.config.maxJobs };
      const { launch, refusal } = admit(pool, message, budget, this.options.clock.now());
      for (let i = 0; i < launch; i++) this.launch(pool, message.kind, true); // 1
      if (launch > 0 && message.kind === 'pool') pool.grown = liveOf(pool); // 7
      if (refusal) this.options.send(refusal);
      this.look(pool);
    }
  }

  onPodReady(podId: string): void {
    const found = this.byPod.get(podId);
    if (!found) return;
    const { pool, pod } = found;
    this.launcher.release(podId);
    if (pod.phase.name === 'starting') {
      pod.phase = { name: 'ready', since: this.options.clock.now() };
      if (pod.revision === pool.registered.revision) pool.backoff = HEALTHY;
      const origin = this.originOf(pod);
      if (origin !== undefined) this.refill(origin, REFILL_AFTER_READY_MS);
    } else if (pod.phase.name === 'draining') {
      // Of a deleted function: the scheduler lets it serve what waits before it leaves.
      pod.phase = { ...pod.phase, wasReady: true };
    }
    this.look(pool);
  }

  /** A pod of a WarmPool has become a function's, and loads. */
  onPodClaimed({ podId, functionKey, revision }: PodClaimedMessage): void {
    const found = this.byPod.get(podId);
    if (!found) return;
    const { pool: from, pod } = found;
    const { clock, log } = this.options;
    // It was ready, whether or not that was told.
    if (pod.phase.name === 'starting' && pod.revision === from.registered.revision) {
      from.backoff = HEALTHY;
    }
    this.launcher.release(podId);
    const pool = this.table.getOrLeaving(functionKey);
    log.debug({ function: functionKey, podId, pool: from.key }, 'pod claimed');
    this.backends.get(pod.backend)?.claimed(podId, functionKey, revision);
    if (pool === undefined) {
      // Its function is gone with all its pods; nobody would miss this one.
      this.end(from, pod, 0);
      return;
    }
    from.pods.delete(podId);
    from.claims++;
    pod.origin = from.key;
    pod.revision = revision;
    pod.launchedAt = clock.now();
    pod.needed = true;
    pool.pods.set(podId, pod);
    this.byPod.set(podId, { pool, pod });
    if (!isLeaving(pod)) {
      from.claimed.set(podId, pod);
      const deadline = clock.now() + pool.registered.manifest.spec.startupTimeoutMs;
      pod.phase = { name: 'starting', deadline };
      pool.grown = liveOf(pool); // 7
    }
    this.refill(from, REFILL_AFTER_CLAIM_MS);
    this.look(pool);
  }

  /** Its handler does not load: it exits by itself, or is ended. */
  onPodFailed(podId: string, code: string, message: string): void {
    const found = this.byPod.get(podId);
    if (found?.pod.phase.name !== 'starting') return;
    const { pool, pod } = found;
    this.fail(pool, pod, { code: isErrorCode(code) ? code : 'handler_not_loaded', message });
    pod.phase = { name: 'ending', killAt: this.options.clock.now() + LEAVE_SLACK_MS };
    this.launcher.release(podId);
    this.look(pool);
  }

  /** The scheduler gave it up. */
  onPodLost(podId: string, reason: string): void {
    const found = this.byPod.get(podId);
    if (!found) return;
    const { pool, pod } = found;
    this.options.log.warn({ function: pool.key, podId, pid: pod.label }, `pod lost: ${reason}`);
    if (pod.phase.name === 'starting')
      this.fail(pool, pod, { code: 'exited_before_ready', message: reason });
    this.end(pool, pod, 0);
    this.look(pool);
  }

  /** It gets no more work and was told to leave. */
  onPodDraining(podId: string, reason: string): void {
    const found = this.byPod.get(podId);
    if (!found) return;
    const { pool, pod } = found;
    this.options.log.debug({ function: pool.key, podId }, `pod draining: ${reason}`);
    const { phase } = pod;
    const connected = phase.name === 'ready' || (phase.name === 'draining' && phase.wasReady);
    if (connected) pod.phase = { name: 'draining', killAt: this.leaveBy(pool), wasReady: true };
    // Not connected yet, it cannot hear that it is not wanted.
    else if (phase.name !== 'ending') this.end(pool, pod, pool.registered.manifest.spec.graceMs);
    this.look(pool);
    this.lookAtOrigin(pod);
  }

  /** Another process may be leading: nothing is launched or ended until `resume`. */
  pause(): void {
    if (this.state === 'running') this.state = 'paused';
  }

  resume(): void {
    if (this.state !== 'paused') return;
    this.state = 'running';
    for (const pool of this.table.all()) this.look(pool);
  }

  /** Shutting down has begun. */
  drain(): void {
    this.state = 'draining';
    for (const { pool, pod } of [...this.byPod.values()]) {
      if (pod.phase.name === 'queued') this.cancel(pool, pod, 'shutting down');
    }
  }

  /** Ends every pod that would not outlive this process anyway; resolves when all of them are gone. */
  async stop(graceMs: number): Promise<void> {
    this.drain();
    this.state = 'stopping';
    for (const [podId, { pod }] of this.byPod) {
      if (this.backends.get(pod.backend)?.outlives) this.byPod.delete(podId);
    }
    if (this.byPod.size > 0) {
      const empty = new Promise<void>((resolve) => {
        this.onEmpty = resolve;
      });
      for (const { pool, pod } of [...this.byPod.values()]) this.end(pool, pod, graceMs);
      await empty;
    }
    this.alarm.cancel();
    this.sampling.cancel();
  }

  // ---- from the backend --------------------------------------------------------------------------------------------

  private onBackendEvent(event: BackendEvent): void {
    const found = this.byPod.get(event.podId);
    if (!found) {
      this.found.keep(event);
      return;
    }
    const { pool, pod } = found;
    switch (event.type) {
      case 'started': {
        pod.label = event.label;
        pod.stuck = undefined;
        const { podId, label, at } = event;
        this.options.send({ type: 'pod-started', podId, label, at });
        break;
      }
      case 'identified': {
        const { podId, uid, proofKey } = event;
        this.options.send({ type: 'pod-identified', podId, uid, proofKey });
        break;
      }
      case 'stuck':
        this.onStuck(pool, pod, event.reason, event.hopeless);
        break;
      case 'leaving':
        this.onLeaving(pool, pod, event.reason);
        break;
      case 'exited':
        this.onExited(pool, pod, event.reason, event.blameless === true);
    }
  }

  private onStuck(pool: Pool, pod: Pod, reason: string, hopeless: boolean): void {
    if (pod.phase.name !== 'starting') return;
    if (pod.stuck?.reason !== reason) {
      const fields = { function: pool.key, podId: pod.podId };
      this.options.log.warn(fields, `pod cannot start: ${reason}`);
    }
    pod.stuck = { reason, since: pod.stuck?.since ?? this.options.clock.now() };
    if (hopeless) {
      this.giveUp(pool, pod, { code: 'launch_failed', message: reason, hopeless: true });
    }
    this.look(pool);
  }

  /** Told from outside to end: it finishes what it runs, and is replaced now. */
  private onLeaving(pool: Pool, pod: Pod, reason: string): void {
    if (isLeaving(pod)) return;
    this.options.log.info({ function: pool.key, podId: pod.podId }, `pod leaves: ${reason}`);
    const wasReady = pod.phase.name === 'ready';
    pod.phase = { name: 'draining', killAt: this.leaveBy(pool), wasReady };
    this.launcher.release(pod.podId);
    this.options.send({ type: 'drain-pod', podId: pod.podId });
    this.look(pool);
  }

  private onExited(pool: Pool, pod: Pod, reason: string, blameless: boolean): void {
    const { name } = pod.phase;
    if (name === 'starting' && !blameless)
      this.fail(pool, pod, { code: 'exited_before_ready', message: reason });
    const fields = { function: pool.key, podId: pod.podId, pid: pod.label, state: name };
    this.options.log[name === 'ready' && pod.kind === 'pool' ? 'warn' : 'debug'](
      fields,
      `pod exited: ${reason}`,
    );
    this.gone(pool, pod, reason);
    this.look(pool);
  }

  private onStarting(pool: Pool, pod: Pod): void {
    const { startupTimeoutMs } = pool.registered.manifest.spec;
    const deadline = this.options.clock.now() + startupTimeoutMs;
    pod.phase = { name: 'starting', deadline };
    this.wake(pool, Math.min(pool.wakeAt, deadline));
  }

  private onTaken(pod: Pod): void {
    // It was to end before the backend knew it.
    if (pod.phase.name === 'ending') this.terminate(pod, 0);
  }

  private onLaunchRefused(pool: Pool, pod: Pod, reason: string): void {
    if (!this.byPod.has(pod.podId)) return;
    if (pod.phase.name === 'starting')
      this.fail(pool, pod, { code: 'launch_failed', message: reason });
    this.gone(pool, pod, reason);
    this.look(pool);
  }

  // ---- what it does ------------------------------------------------------------------------------------------------

  /** Asks upkeep what the pool needs, and does it, until it needs nothing. */
  private look(pool: Pool): void {
    for (let looks = 0; looks < MAX_LOOKS; looks++) {
      if (this.state === 'paused') return;
      const now = this.options.clock.now();
      const plan = upkeep(pool, now);
      const launch = this.state === 'running' ? plan.launch : 0; // 4
      for (let i = 0; i < launch; i++) this.launch(pool, 'pool', false);
      for (const pod of plan.cancel) this.cancel(pool, pod, 'not wanted any more');
      for (const pod of plan.drain) {
        const wasReady = pod.phase.name === 'ready';
        pod.phase = { name: 'draining', killAt: this.leaveBy(pool), wasReady };
        this.launcher.release(pod.podId);
        this.options.send({ type: 'drain-pod', podId: pod.podId });
      }
      for (const pod of plan.late) {
        this.giveUp(pool, pod, lateness(pool, pod));
      }
      for (const pod of plan.kill) this.end(pool, pod, 0);
      const retire = this.state === 'running' ? plan.retire : 0;
      if (retire > 0) {
        pool.lastRetireAt = now;
        const { idleMs } = plan;
        this.options.send({ type: 'retire', functionKey: pool.key, count: retire, idleMs });
      }
      const done = plan.cancel.length + plan.drain.length + plan.late.length + plan.kill.length;
      if (launch + done + retire > 0) continue;
      if (!plan.rolling) pool.rollTarget = 0;
      this.wake(pool, plan.wakeAt);
      break;
    }
    this.launcher.pump();
  }

  private launch(pool: Pool, kind: PodKind, needed: boolean): void {
    // A WarmPool's key has a dot, which a host name has not.
    const name = pool.key.slice(pool.key.indexOf('/') + 1).replace('.', '-');
    const pod: Pod = {
      podId: `${name}-${this.options.bootId}-${(++this.podCount).toString(36)}`,
      kind,
      revision: pool.registered.revision,
      backend: pool.registered.manifest.spec.backend ?? this.defaultBackend,
      credential: randomBytes(CREDENTIAL_BYTES).toString('base64url'),
      launchedAt: this.options.clock.now(),
      adopted: false,
      needed,
      origin: undefined,
      label: undefined,
      phase: { name: 'queued' },
      stuck: undefined,
    };
    this.register(pool, pod, this.options.clock.epoch());
    this.launcher.order(pool, pod, needed);
  }

  /** The pod exists from now on; the scheduler is told. `launchedAt`: epoch milliseconds. */
  private register(pool: Pool, pod: Pod, launchedAt: number): void {
    const { podId, kind, revision, backend, credential, needed, origin } = pod;
    if (origin !== undefined) this.table.get(origin)?.claimed.set(podId, pod);
    pool.pods.set(podId, pod);
    this.byPod.set(podId, { pool, pod });
    if (kind === 'job') this.jobs++;
    this.options.send({
      type: 'pod-expected',
      podId,
      kind,
      functionKey: pool.key,
      revision,
      backend,
      credential,
      identified: this.backends.get(backend)?.identifies ?? false,
      launchedAt,
      needed,
      ...(origin !== undefined && { origin }),
    });
  }

  /** It takes no more work: the WarmPool that gave it may have another. */
  private lookAtOrigin(pod: Pod): void {
    const from = this.originOf(pod);
    if (from === undefined) return;
    if (!this.byPod.has(pod.podId)) from.claimed.delete(pod.podId);
    this.look(from);
  }

  /** The WarmPool that it was claimed from, while there is one. */
  private originOf({ origin }: Pod): Pool | undefined {
    return origin === undefined ? undefined : this.table.get(origin);
  }

  private cancel(pool: Pool, pod: Pod, reason: string): void {
    this.launcher.cancel(pod);
    this.gone(pool, pod, `launch cancelled: ${reason}`);
  }

  private end(pool: Pool, pod: Pod, graceMs: number): void {
    if (pod.phase.name === 'queued') {
      this.cancel(pool, pod, 'not wanted any more');
      return;
    }
    pod.phase = { name: 'ending', killAt: this.options.clock.now() + graceMs + KILL_AGAIN_MS };
    this.launcher.release(pod.podId);
    this.terminate(pod, graceMs);
  }

  private terminate(pod: Pick<Pod, 'podId' | 'backend'>, graceMs: number): void {
    this.backends
      .get(pod.backend)
      ?.terminate(pod.podId, graceMs)
      .catch((error: Error) => {
        // Told again at its `killAt`.
        this.options.log.error({ podId: pod.podId }, `cannot end the pod: ${error.message}`);
      });
  }

  private gone(pool: Pool, pod: Pod, reason: string): void {
    pool.pods.delete(pod.podId);
    this.byPod.delete(pod.podId);
    if (pod.kind === 'job') this.jobs--;
    if (pool.deleted && pool.pods.size === 0) this.table.forget(pool);
    this.launcher.release(pod.podId);
    this.options.send({ type: 'pod-exited', podId: pod.podId, reason }); // 2
    this.lookAtOrigin(pod);
    if (this.byPod.size === 0) this.onEmpty?.();
  }

  /** It never got ready. The scheduler hears why before it hears that none comes: who waits is told the reason. */
  private giveUp(pool: Pool, pod: Pod, failure: Failure): void {
    this.fail(pool, pod, failure);
    this.options.send({ type: 'drain-pod', podId: pod.podId });
    this.end(pool, pod, 0);
  }

  /** 3: called only for a pod that is starting, which then is so no more. */
  private fail(pool: Pool, pod: Pod, failure: Failure): void {
    const { clock, log, send } = this.options;
    for (const refusal of noteFailure(pool, pod, failure, clock, log)) send(refusal);
  }

  // ---- time --------------------------------------------------------------------------------------------------------

  /** Whatever it runs has ended by then. */
  private leaveBy(pool: Pool): number {
    const { timeoutMs, graceMs } = pool.registered.manifest.spec;
    const longest = Math.max(timeoutMs, this.options.config.maxTimeoutMs);
    return this.options.clock.now() + longest + graceMs + LEAVE_SLACK_MS;
  }

  private refill(pool: Pool, afterMs: number): void {
    this.wake(pool, Math.min(pool.wakeAt, this.options.clock.now() + afterMs));
  }

  private wake(pool: Pool, at: number): void {
    pool.wakeAt = at;
    this.alarm.set(at);
  }

  private sample(): void {
    const now = this.options.clock.now();
    this.costs.charge(this.table.withLeaving(), now);
    for (const pool of this.sizer.sampleAll(this.table.all(), now)) this.look(pool); // 7
    this.sampling = this.options.clock.after(SAMPLE_MS, () => this.sample());
  }

  private onAlarm(): void {
    const now = this.options.clock.now();
    for (const pool of this.table.withLeaving()) {
      if (pool.wakeAt <= now) this.look(pool);
      this.alarm.set(pool.wakeAt);
    }
  }
}

/** Why a pod was given up before it was ready. */
function lateness(pool: Pool, { stuck }: Pod): Failure {
  if (stuck) return { code: 'launch_failed', message: stuck.reason, hopeless: true };
  const { startupTimeoutMs } = pool.registered.manifest.spec;
  return { code: 'ready_timeout', message: `not ready within ${startupTimeoutMs} ms` };
}

function recordOf(pool: Pool): FunctionRecord {
  const { slot, fit } = pool;
  const { key, revision, manifest, source, pool: settings } = pool.registered;
  return {
    ...{ key, spec: manifest.spec, revision, slot },
    ...(source && { source }),
    ...(fit && 'claim' in fit && { claim: fit.claim }),
    ...(settings && { maxShare: settings.maxShare }),
  };
}

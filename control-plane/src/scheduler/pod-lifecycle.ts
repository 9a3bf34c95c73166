/**
 * Pods from the scheduler's side: which are expected, who may connect as which, what became of them. The control thread
 * decides that a pod exists; this decides whether it is given work.
 *
 * Invariants:
 *  L1. Who may say hello as a pod is decided in pod-identities.ts. A newer socket of the same process replaces the older.
 *  L2. `counted`, the function's servingSlots, comingPods, poolPods and jobs change in `account` alone, and follow state
 *      and load exactly.
 *  L3. A pod is gone once; what ran on it has ended as lost by then.
 *  L4. A hello of a uid that the backend may tell of any moment is held, within bounds of time and number, and looked at
 *      again when it has.
 *  L5. A pod that was killed is remembered until its exit is told (one always is): what ran on it is not to run again
 *      beside it.
 *  L6. A pod of a WarmPool becomes a function's in `become` alone; then nothing that it was shown before lets anybody in.
 */
import type { CloseReason, Hello } from '@simmer/protocol/frames';
import { PROTOCOL_VERSION } from '@simmer/protocol/limits';
import { type Gauge, HISTOGRAM } from '../shared/counters.ts';
import type {
  PodExpectedMessage,
  PodIdentifiedMessage,
  PodKeysMessage,
  PodSnapshot,
} from '../shared/messages.ts';
import type { FunctionState } from './function-state.ts';
import { Pod, type PodLink, type PodOwner } from './pod.ts';
import { PodIdentities } from './pod-identities.ts';
import type { Scheduler } from './scheduler.ts';

/** A pod whose socket broke may come back within this; then it is given up and ended. */
const RECONNECT_GRACE_MS = 5_000;
/**
 * What a pod that was taken over still runs may be another control plane's rightful work, under deadlines that only that one
 * knows; none is longer by default (max-timeout-ms).
 */
const FOREIGN_WORK_MS = 900_000;
/** A pod that was killed and whose exit nobody tells is taken for dead after this: its node may be gone. */
const EXIT_MS = 5_000;
/** Hellos held at once (L4). Each is one socket; a stranger needs the id of a key, which only pods know, to have one held. */
const MAX_HELD_HELLOS = 1_000;

/** What a hello led to. */
export type Admittance =
  | { readonly ok: true; readonly pod: Pod; readonly session: string }
  /** `held`: to be said again when its sender is told to (L4). */
  | { readonly ok: false; readonly held: true }
  | {
      readonly ok: false;
      readonly held: false;
      readonly close: CloseReason;
      readonly detail: string;
    };

/** Where a hello waits that was held. */
export interface HeldHello {
  sayAgain(): void;
}

export class PodLifecycle implements PodOwner {
  private readonly scheduler: Scheduler;
  private readonly identities = new PodIdentities();
  private readonly byId = new Map<string, Pod>();
  /** L5 */
  private readonly killed = new Map<string, Pod>();
  /** By uid (L4). */
  private readonly held = new Map<string, Set<HeldHello>>();
  private heldCount = 0;
  /** Epoch milliseconds: phases of a cold start cross threads, whose monotonic clocks differ. */
  private readonly wallClock: () => number;

  constructor(scheduler: Scheduler, wallClock: () => number) {
    this.scheduler = scheduler;
    this.wallClock = wallClock;
  }

  // ---- from the control thread -------------------------------------------------------------------------------------

  expect(fn: FunctionState, message: PodExpectedMessage): void {
    if (message.needed) {
      if (message.kind === 'pool') fn.orderedPods = Math.max(0, fn.orderedPods - 1);
      else fn.orderedJobs = Math.max(0, fn.orderedJobs - 1);
    }
    const pod = new Pod(
      this,
      message.podId,
      message.kind,
      message.backend,
      fn,
      message.revision,
      fn.record.spec.concurrency,
      message.launchedAt,
    );
    const now = this.scheduler.ports.now();
    pod.adopted = message.credential === '';
    // Its start is long past.
    pod.cold = !pod.adopted;
    // Of an older revision, only an earlier process's pod: it has its code, or never gets it.
    if (message.revision === fn.record.revision) pod.source = fn.record.source;
    fn.pods.add(pod);
    this.byId.set(pod.id, pod);
    if (message.origin !== undefined) this.scheduler.claims.adopted(pod, message.origin);
    this.identities.expect(pod, message.credential, message.identified, now);
    this.account(pod);
  }

  /** A generic pod that idles becomes the function's (L6): it is told so, and loads. */
  become(pod: Pod, fn: FunctionState): void {
    pod.state = 'loading';
    this.account(pod, ''); // L2
    pod.fn.pods.delete(pod);
    const { record } = fn;
    pod.fn = fn;
    pod.capacity = record.spec.concurrency;
    pod.revision = record.revision;
    pod.source = record.source;
    pod.grant = record.claim ?? null;
    pod.launchedAt = this.wallClock();
    pod.helloAt = this.scheduler.ports.now();
    pod.readyAt = 0;
    fn.pods.add(pod);
    this.account(pod);
    this.identities.spend(pod);
    pod.link?.specialize(this.identities.sessionOf(pod));
    const { id: podId, revision } = pod;
    this.scheduler.ports.post({ type: 'pod-claimed', podId, functionKey: fn.key, revision });
  }

  identified({ podId, uid, proofKey }: PodIdentifiedMessage): void {
    const pod = this.byId.get(podId);
    if (pod === undefined) return;
    this.identities.identify(pod, uid, proofKey);
    for (const hello of this.held.get(uid) ?? []) hello.sayAgain();
  }

  setKeys(message: PodKeysMessage): void {
    this.identities.setKeys(message.keys);
  }

  started(podId: string, at: number): void {
    const pod = this.byId.get(podId);
    if (pod === undefined) return;
    pod.startedAt = at;
    pod.fn.counters.observe(HISTOGRAM.launch, Math.max(0, at - pod.launchedAt));
  }

  exited(podId: string, reason: string): void {
    const pod = this.byId.get(podId);
    if (pod !== undefined) this.gone(pod, reason);
    const killed = this.killed.get(podId);
    if (killed === undefined) return;
    killed.mayRunUntil = 0;
    this.killed.delete(podId);
  }

  /** For how long the pods that are on their way have been so, on average; 0: none is. */
  comingForMs({ comingPods, comingLaunchedAt }: FunctionState): number {
    if (comingPods === 0) return 0;
    return Math.max(0, this.wallClock() - comingLaunchedAt / comingPods);
  }

  retire(fn: FunctionState, count: number, idleMs: number): void {
    const now = this.scheduler.ports.now();
    for (let i = 0; i < count; i++) {
      const pod = fn.available.leastRecentlyUsedIdle();
      if (pod === null || now - pod.idleSince < idleMs) return;
      this.drain(pod, `idle for ${Math.round(now - pod.idleSince)} ms`);
    }
  }

  drainById(podId: string): void {
    const pod = this.byId.get(podId);
    if (pod === undefined) return;
    // Of a deleted function: what waits is still served, and then it leaves.
    if (pod.fn.deleted && pod.fn.queue.length > 0) pod.leaveWhenIdle = true;
    else this.drain(pod, 'replaced');
  }

  // ---- from the socket ---------------------------------------------------------------------------------------------

  /** Who says hello, and may it (L1). `link` becomes the pod's; an older one is closed. */
  hello(frame: Hello, link: PodLink): Admittance {
    if (frame.version !== PROTOCOL_VERSION) {
      return refused('version', `protocol version ${frame.version}`);
    }
    const now = this.scheduler.ports.now();
    const verdict = this.identities.check(frame, now);
    if (verdict.kind === 'refused') return refused(verdict.close, verdict.detail);
    if (verdict.kind === 'not-yet') return this.mayHold();
    const { pod } = verdict;
    if (pod.state === 'gone' || pod.state === 'draining') {
      return refused('gone', `${pod.id} is not wanted any more`);
    }
    if (pod.state === 'moved') {
      return refused('unidentified', `${pod.id} was sent to another control plane`);
    }
    if (pod.link !== null) {
      const old = pod.link;
      this.socketLost(pod, 'a newer socket took its place');
      old.close('replaced');
    }
    this.scheduler.wheel.clear(pod);
    if (pod.helloAt === 0 && !pod.adopted) {
      const from = pod.startedAt || pod.launchedAt;
      pod.fn.counters.observe(HISTOGRAM.connect, Math.max(0, this.wallClock() - from));
    }
    pod.helloAt = now;
    pod.link = link;
    pod.lastStream = 0;
    pod.orphans = Math.min(frame.inFlight, pod.capacity);
    pod.state = 'loading';
    this.account(pod);
    return { ok: true, pod, session: this.identities.sessionOf(pod) };
  }

  /** L4. The caller holds it then: `hold`. */
  private mayHold(): Admittance {
    // It is more likely one that was sent on and comes back: the next one is where it belongs.
    if (this.scheduler.handingOver) return refused('unidentified', 'this control plane hands over');
    if (this.heldCount < MAX_HELD_HELLOS) return { ok: false, held: true };
    return refused('unidentified', 'too many hellos are held');
  }

  /** Hellos that wait for the backend's word. */
  get heldHellos(): number {
    return this.heldCount;
  }

  hold(uid: string, hello: HeldHello): void {
    const waiting = this.held.get(uid);
    if (waiting === undefined) this.held.set(uid, new Set([hello]));
    else waiting.add(hello);
    this.heldCount++;
  }

  letGo(uid: string, hello: HeldHello): void {
    const waiting = this.held.get(uid);
    if (waiting === undefined || !waiting.delete(hello)) return;
    this.heldCount--;
    if (waiting.size === 0) this.held.delete(uid);
  }

  ready(pod: Pod): void {
    if (pod.state !== 'loading') return;
    const now = this.scheduler.ports.now();
    const { fn } = pod;
    const isNew = pod.readyAt === 0;
    pod.grant = null;
    if (isNew && !pod.adopted) {
      const sinceLaunch = Math.max(0, this.wallClock() - pod.launchedAt);
      fn.counters.observe(HISTOGRAM.load, now - pod.helloAt);
      fn.counters.observe(HISTOGRAM.ready, sinceLaunch);
      // Of a claimed pod it says nothing of how long a launch takes.
      if (pod.origin === null) fn.observeColdStart(sinceLaunch);
    }
    pod.readyAt = now;
    pod.idleSince = Math.floor(now);
    pod.state = 'serving';
    if (pod.orphans > 0) {
      const { graceMs, timeoutMs } = fn.record.spec;
      const foreign = isNew && pod.adopted ? Math.max(timeoutMs, FOREIGN_WORK_MS) : 0;
      this.scheduler.wheel.set(pod, now + foreign + graceMs);
    }
    this.account(pod);
    this.scheduler.misses.onServing(fn);
    if (fn.generic && this.scheduler.claims.onIdle(pod)) return;
    this.scheduler.ports.post({ type: 'pod-ready', podId: pod.id });
    this.scheduler.serve(pod, now);
  }

  /** An attempt of an earlier socket has ended. */
  orphanEnded(pod: Pod): void {
    if (pod.orphans === 0) return;
    pod.orphans--;
    if (pod.orphans === 0) this.scheduler.wheel.clear(pod);
    if (pod.state === 'serving') this.scheduler.serve(pod, this.scheduler.ports.now());
  }

  failed(pod: Pod, code: string, message: string): void {
    if (pod.origin !== null) this.scheduler.misses.onClaimFailed(pod.fn, `${code}: ${message}`);
    this.scheduler.ports.post({ type: 'pod-failed', podId: pod.id, code, message });
  }

  onFirstResult(pod: Pod): void {
    pod.cold = false;
    const ms = Math.max(0, this.wallClock() - pod.launchedAt);
    pod.fn.counters.observe(HISTOGRAM.firstResult, ms);
  }

  /** The pod said by itself that it takes no more. */
  drainingByItself(pod: Pod): void {
    this.leave(pod, 'it said that it is draining');
  }

  /** The socket is gone; the process may be alive and dial again. What ran on it is lost at once. */
  socketLost(pod: Pod, reason: string): void {
    const wasServing = pod.state === 'serving' || pod.state === 'disconnected';
    pod.link = null;
    this.scheduler.loseAttempts(pod, reason);
    pod.orphans = 0;
    if (pod.state === 'gone' || pod.state === 'draining') {
      this.account(pod);
      return;
    }
    if (pod.state === 'moved') {
      this.gone(pod, reason);
      return;
    }
    // One that was claimed and is not ready yet has been ready before.
    const wasReady = pod.readyAt > 0 || pod.origin !== null;
    pod.state = wasServing || wasReady ? 'disconnected' : 'expected';
    this.account(pod);
    if (pod.state === 'disconnected') {
      const now = this.scheduler.ports.now();
      this.scheduler.wheel.set(pod, now + RECONNECT_GRACE_MS);
      this.scheduler.misses.look(pod.fn, now);
    }
  }

  // ---- ends --------------------------------------------------------------------------------------------------------

  /** To the next control plane (send-off.ts). One that has not said hello is sent on when it has. */
  sendOn(pod: Pod, address: string): void {
    if (pod.link === null || (pod.state !== 'loading' && pod.state !== 'serving')) return;
    pod.state = 'moved';
    this.scheduler.wheel.clear(pod);
    this.account(pod);
    this.scheduler.claims.onLeft(pod);
    pod.link.goaway(address, this.identities.sessionOf(pod));
  }

  /** No more work for it; what it runs is finished, then it exits by itself. */
  drain(pod: Pod, reason: string): void {
    if (hasLeft(pod)) return;
    const now = this.scheduler.ports.now();
    let graceMs = pod.fn.record.spec.graceMs;
    for (const invocation of pod.running.values()) {
      graceMs = Math.max(graceMs, invocation.attemptEndsAt - now + pod.fn.record.spec.graceMs);
    }
    const { link } = pod;
    this.leave(pod, reason);
    link?.drain(Math.ceil(graceMs));
  }

  private leave(pod: Pod, reason: string): void {
    if (hasLeft(pod)) return;
    pod.state = 'draining';
    this.account(pod);
    this.scheduler.ports.post({ type: 'pod-draining', podId: pod.id, reason });
    this.scheduler.claims.onLeft(pod);
    this.scheduler.misses.look(pod.fn, this.scheduler.ports.now());
  }

  /** Give it up and have it ended: frozen, over its grace, breaking the protocol, or not back in time. */
  kill(pod: Pod, reason: string): void {
    if (pod.state === 'gone') return;
    // A pod that was sent on is not ours to end.
    if (pod.state !== 'moved') {
      this.scheduler.ports.post({ type: 'pod-lost', podId: pod.id, reason });
      pod.mayRunUntil = this.scheduler.ports.now() + EXIT_MS;
      this.killed.set(pod.id, pod);
    }
    this.gone(pod, reason);
  }

  /** L3 */
  private gone(pod: Pod, reason: string): void {
    if (pod.state === 'gone') return;
    if (pod.readyAt > 0 && !hasLeft(pod)) pod.fn.counters.count('podsLost');
    const sentOn = pod.state === 'moved';
    pod.state = 'gone';
    const { link, fn } = pod;
    pod.link = null;
    this.scheduler.wheel.clear(pod);
    this.account(pod);
    this.scheduler.loseAttempts(pod, reason);
    pod.orphans = 0;
    fn.pods.delete(pod);
    this.identities.forget(pod);
    this.byId.delete(pod.id);
    // Not for good: where it was sent to it is wanted.
    link?.close(sentOn ? 'replaced' : 'gone');
    this.scheduler.claims.onLeft(pod);
    this.scheduler.misses.look(fn, this.scheduler.ports.now());
  }

  onPodTimer(pod: Pod, _now: number): void {
    if (pod.state === 'disconnected') {
      // It may have found the next one by itself.
      if (this.scheduler.handingOver) pod.state = 'moved';
      this.kill(pod, `it did not connect again within ${RECONNECT_GRACE_MS} ms`);
    } else if (pod.orphans > 0) {
      this.kill(pod, 'its handler held on after its socket was lost');
    }
  }

  // ---- accounting (L2) ---------------------------------------------------------------------------------------------

  onLoadChanged(pod: Pod): void {
    this.account(pod);
  }

  /** `next`: '' where it leaves its function without being gone. */
  private account(pod: Pod, next = gaugeOf(pod)): void {
    const { fn, counted } = pod;
    fn.available.place(pod);
    if (next === counted) return;
    pod.counted = next;
    if (counted !== '') fn.counters.addGauge(counted, -1);
    if (next !== '') fn.counters.addGauge(next, 1);
    const served = counted === 'podsIdle' || counted === 'podsBusy';
    const serves = next === 'podsIdle' || next === 'podsBusy';
    const came = counted === 'podsLaunching';
    const comes = next === 'podsLaunching';
    if (serves !== served) fn.servingSlots += serves ? pod.capacity : -pod.capacity;
    if (comes !== came) {
      fn.comingPods += comes ? 1 : -1;
      fn.comingLaunchedAt += comes ? pod.launchedAt : -pod.launchedAt;
    }
    const was = served || came;
    const is = serves || comes;
    if (is !== was) {
      if (pod.kind === 'pool') fn.poolPods += is ? 1 : -1;
      else fn.jobs += is ? 1 : -1;
    }
  }

  snapshot(): PodSnapshot[] {
    const all: PodSnapshot[] = [];
    for (const pod of this.byId.values()) {
      all.push({
        podId: pod.id,
        kind: pod.kind,
        functionKey: pod.fn.key,
        state: shownState(pod),
        inFlight: pod.load,
        stale: pod.revision !== pod.fn.record.revision,
      });
    }
    return all;
  }
}

function refused(close: CloseReason, detail: string): Admittance {
  return { ok: false, held: false, close, detail };
}

/** It gets no more work here. */
function hasLeft(pod: Pod): boolean {
  return pod.state === 'draining' || pod.state === 'moved' || pod.state === 'gone';
}

function gaugeOf(pod: Pod): Gauge | '' {
  switch (pod.state) {
    case 'expected':
    case 'loading':
    case 'disconnected':
      return 'podsLaunching';
    case 'serving':
      return pod.load === 0 ? 'podsIdle' : 'podsBusy';
    case 'draining':
    case 'moved':
      return 'podsDraining';
    case 'gone':
      return '';
  }
}

function shownState(pod: Pod): PodSnapshot['state'] {
  if (pod.state === 'serving') return pod.load === 0 ? 'idle' : 'busy';
  if (pod.state === 'draining' || pod.state === 'moved') return 'draining';
  return pod.state === 'expected' ? 'launching' : 'connected';
}

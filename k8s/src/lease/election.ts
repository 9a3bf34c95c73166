/**
 * One of several control planes leads: it holds the Lease.
 *
 *   standby ──takes the Lease──▶ leading ──cannot renew──▶ uncertain ──renews──▶ leading
 *                                   │                          └──another holds it──▶ deposed
 *                                   ├──another holds it──▶ deposed
 *                                   └──succeed──▶ resigned
 *
 * The Lease is watched: a standby takes one that was given up within milliseconds, and the one that gave it up sees who
 * took it, and when that one serves.
 *
 * Invariants:
 *  E1. Every write names the resourceVersion it was decided upon: two that try at once do not both succeed.
 *  E2. Who is uncertain or deposed is told before anyone else can have got the Lease: RENEW_DEADLINE_MS < LEASE_MS.
 *     (Told by a timer of its own: a renewal may hang as long as a request may take.)
 *  E3. The label of the leader moves only once the new leader serves; until then clients and pods go where they went.
 *  E4. A Lease has expired when it was seen unchanged while the API server answered: one that was away for longer would
 *     otherwise depose every leader as it comes back.
 */
import { type Api, isReason, isTransient, type KubeLog, LEASES, PODS } from '../api/api.ts';
import { type Clock, systemClock } from '../api/clock.ts';
import { Informer } from '../api/informer.ts';
import {
  type Holder,
  held,
  holderOf,
  type Lease,
  mayTake,
  RENEW_DEADLINE_MS,
  RETRY_MS,
  released,
} from './record.ts';

export const LEASE_NAME = 'simmer';
/** The Services select it. */
export const LEADER_LABEL = 'simmer.dev/leader';
/** Given up, the Lease is taken by a standby at once: by now there is none. */
const NOBODY_MS = 3_000;

export interface ElectionOptions {
  readonly api: Api;
  /** Of the control planes' pods and their Lease. */
  readonly namespace: string;
  /** Name of this one's pod. */
  readonly identity: string;
  /** Where pods find this one. */
  readonly address: string;
  /** Where its clients' port is: an http URL. */
  readonly clientAddress: string;
  readonly log: KubeLog;
  readonly clock?: Clock;
}

type State = 'standby' | 'leading' | 'uncertain' | 'deposed' | 'resigned' | 'closed';

export class LeaderElection {
  private readonly options: ElectionOptions;
  private readonly clock: Clock;
  private readonly informer: Informer<Lease>;
  private state: State = 'standby';
  private serves = false;
  /** As it was last seen, by the watch or as the answer to a write: whichever is newer. */
  private lease: Lease | undefined;
  /** When the Lease was last seen to change, and last renewed by this one. */
  private changedAt: number;
  private lastProblem = '';
  private renewedAt = 0;
  private trying = false;
  private again = false;
  private timer: { cancel(): void } | undefined;
  private deadline: { cancel(): void } | undefined;
  private onLead: (() => void) | undefined;
  private onSuccessor: ((holder: Holder | undefined) => void) | undefined;
  private certainty: (leads: boolean) => void = () => {};
  private deposed: (successor: Holder) => void = () => {};

  constructor(options: ElectionOptions) {
    const { api, namespace, log, clock = systemClock } = options;
    this.options = options;
    this.clock = clock;
    this.changedAt = clock.now();
    this.informer = new Informer<Lease>(api, LEASES, {
      namespace,
      fieldSelector: `metadata.name=${LEASE_NAME}`,
      log,
      clock,
    });
    this.informer.onChange(() => this.onChange());
  }

  get leads(): boolean {
    return this.state === 'leading';
  }

  get staleMs(): number {
    return this.informer.staleMs;
  }

  /** Resolves once this one leads; never where it is closed before. */
  lead(): Promise<void> {
    return new Promise((resolve) => {
      this.onLead = resolve;
      void this.informer.start().then(() => this.tick());
    });
  }

  /** False: it may have been lost, or was; true: it is certain again. */
  onCertainty(listener: (leads: boolean) => void): void {
    this.certainty = listener;
  }

  /** Another leads, and serves. */
  onDeposed(listener: (successor: Holder) => void): void {
    this.deposed = listener;
  }

  /** Clients and pods can connect here: takes the label from the others and the Lease says so (E3). */
  async serving(): Promise<void> {
    this.serves = true;
    for (;;) {
      if (this.state !== 'leading' && this.state !== 'uncertain') return;
      try {
        await this.moveLabel();
        break;
      } catch (error) {
        this.options.log.warn({}, `cannot label the leader's pod: ${(error as Error).message}`);
        await this.pause(RETRY_MS);
      }
    }
    await this.tick();
  }

  private async moveLabel(): Promise<void> {
    const { api, namespace, identity } = this.options;
    await api.patch(PODS, namespace, identity, labelled('true'));
    const { items } = await api.list(PODS, namespace, { labelSelector: `${LEADER_LABEL}=true` });
    for (const { metadata } of items) {
      if (metadata.name === undefined || metadata.name === identity) continue;
      try {
        await api.patch(PODS, namespace, metadata.name, labelled(null));
      } catch (error) {
        if (!isReason(error, 'NotFound')) throw error;
      }
    }
  }

  /** Gives the Lease up; the next leader once it serves, or null where there is none in time. */
  async succeed(waitMs: number): Promise<Holder | null> {
    const before = this.state;
    this.state = 'resigned';
    this.cancelTimers();
    if (before === 'leading') await this.release();
    return (await this.successor(waitMs)) ?? null;
  }

  private async release(): Promise<void> {
    const { lease } = this;
    if (lease === undefined || !this.isMine(lease)) return;
    try {
      const { api, namespace } = this.options;
      await api.replace(LEASES, namespace, released(lease));
    } catch (error) {
      // It ends by itself, later.
      this.options.log.warn({}, `cannot give the lease up: ${(error as Error).message}`);
    }
  }

  private successor(waitMs: number): Promise<Holder | undefined> {
    return new Promise((resolve) => {
      const done = (holder: Holder | undefined): void => {
        this.onSuccessor = undefined;
        nobody.cancel();
        late.cancel();
        resolve(holder);
      };
      const nobody = this.clock.after(Math.min(NOBODY_MS, waitMs), () => {
        if (this.other() === undefined) done(undefined);
      });
      const late = this.clock.after(waitMs, () => done(undefined));
      this.onSuccessor = done;
      this.tellSuccessor();
    });
  }

  private tellSuccessor(): void {
    const other = this.other();
    if (other?.serving) this.onSuccessor?.(other);
  }

  async close(): Promise<void> {
    const before = this.state;
    this.state = 'closed';
    this.cancelTimers();
    if (before === 'leading') await this.release();
    this.informer.stop();
  }

  private cancelTimers(): void {
    this.timer?.cancel();
    this.deadline?.cancel();
  }

  // ---- the Lease -----------------------------------------------------------------------------------------------------

  private isMine(lease: Lease | undefined): boolean {
    return holderOf(lease)?.identity === this.options.identity;
  }

  private other(): Holder | undefined {
    const holder = holderOf(this.lease);
    return holder?.identity === this.options.identity ? undefined : holder;
  }

  private onChange(): void {
    const seen = this.informer.get(LEASE_NAME);
    // The watch is behind our own last write.
    if (this.isMine(seen) && this.isMine(this.lease) && renewal(seen) < renewal(this.lease)) return;
    this.lease = seen;
    this.changedAt = this.clock.now();
    const other = this.other();
    switch (this.state) {
      case 'standby':
        // Given up: no need to wait for the next look.
        if (holderOf(this.lease) === undefined) void this.tick();
        break;
      case 'leading':
      case 'uncertain':
        if (other !== undefined) this.depose();
        break;
      case 'resigned':
        this.tellSuccessor();
        break;
      case 'deposed':
        this.tellDeposed();
    }
  }

  private depose(): void {
    const was = this.state;
    this.state = 'deposed';
    this.options.log.warn({ leader: this.other()?.identity }, 'another control plane leads');
    if (was === 'leading') this.certainty(false);
    this.tellDeposed();
  }

  private tellDeposed(): void {
    const other = this.other();
    if (other?.serving) this.deposed(other);
  }

  /** One try at a time; one more where something changed meanwhile. */
  private async tick(): Promise<void> {
    if (this.trying) {
      this.again = true;
      return;
    }
    this.trying = true;
    do {
      this.again = false;
      await this.look();
    } while (this.again);
    this.trying = false;
    this.timer?.cancel();
    if (this.isTrying()) this.timer = this.clock.after(RETRY_MS, () => void this.tick());
  }

  private isTrying(): boolean {
    return this.state === 'standby' || this.state === 'leading' || this.state === 'uncertain';
  }

  private async look(): Promise<void> {
    if (!this.isTrying()) return;
    const { api, namespace, identity, address, clientAddress, log } = this.options;
    const { lease } = this;
    if (this.state === 'standby' && this.informer.problem !== undefined) return;
    // What it knew of the Lease was old: its time begins anew once it is known again (E4).
    const unchangedMs = this.clock.now() - Math.max(this.changedAt, this.informer.recoveredAt);
    if (!mayTake(lease, identity, unchangedMs) && !(await this.holderIsGone(lease))) return;
    if (!this.isTrying()) return;
    const began = this.clock.now();
    const claim = { identity, address, clientAddress, serving: this.serves };
    const wanted = held(lease, LEASE_NAME, claim, this.clock.epoch());
    try {
      // E1
      const written =
        lease === undefined
          ? await api.create<Lease>(LEASES, namespace, wanted)
          : await api.replace<Lease>(LEASES, namespace, wanted);
      this.lease = written;
      this.changedAt = this.clock.now();
      this.won(began);
    } catch (error) {
      // Another was quicker, or the watch is behind: it will tell.
      if (!isReason(error, 'Conflict') && !isReason(error, 'AlreadyExists')) {
        log.warn({}, `cannot ${lease ? 'renew' : 'make'} the lease: ${(error as Error).message}`);
      }
      if (isTransient(error)) this.changedAt = this.clock.now(); // E4
      this.lost();
    }
  }

  /** Its pod is no more: nobody will renew, so there is nothing to wait for. */
  private async holderIsGone(lease: Lease | undefined): Promise<boolean> {
    const holder = holderOf(lease);
    if (holder === undefined || this.state !== 'standby') return false;
    try {
      const { api, namespace } = this.options;
      const pod = await api.find(PODS, namespace, holder.identity);
      const phase = (pod?.['status'] as { phase?: string } | undefined)?.phase;
      return pod === undefined || phase === 'Failed' || phase === 'Succeeded';
    } catch (error) {
      // Then its Lease has to end.
      const { message } = error as Error;
      if (message !== this.lastProblem) {
        this.options.log.warn({}, `cannot see whether the leader is there: ${message}`);
      }
      this.lastProblem = message;
      return false;
    }
  }

  private won(began: number): void {
    this.renewedAt = began;
    this.deadline?.cancel();
    const left = Math.max(0, began + RENEW_DEADLINE_MS - this.clock.now());
    this.deadline = this.clock.after(left, () => this.lost()); // E2
    if (this.state === 'standby') {
      this.state = 'leading';
      this.options.log.info({ identity: this.options.identity }, 'leading');
      this.onLead?.();
    } else if (this.state === 'uncertain') {
      this.state = 'leading';
      this.certainty(true);
    }
  }

  /** E2 */
  private lost(): void {
    if (this.state !== 'leading') return;
    if (this.clock.now() - this.renewedAt < RENEW_DEADLINE_MS) return;
    this.state = 'uncertain';
    this.options.log.warn({}, 'the lease could not be renewed: launching nothing until it is');
    this.certainty(false);
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.clock.after(ms, resolve);
    });
  }
}

/** RFC 3339 in UTC, of one width: the order of the texts is that of the times. */
function renewal(lease: Lease | undefined): string {
  return lease?.spec?.renewTime ?? '';
}

function labelled(value: 'true' | null): object {
  return { metadata: { labels: { [LEADER_LABEL]: value } } };
}

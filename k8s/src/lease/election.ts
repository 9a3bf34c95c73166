/**
 * Who leads, of several control planes: one Lease, as client-go's leader election keeps it, and beside it where the
 * leader is found and whether it serves.
 *
 *   standby ──acquired──▶ leading ◀──renewed── uncertain
 *                          │   └──not renewed in time──▶┘ │
 *                          ├────── another holds it ──────┴──▶ deposed
 *                          └── succeed, close ──▶ released
 *   each ──close──▶ closed
 *
 * Invariants:
 *  1. Every write of the Lease names the resourceVersion it follows from: of two who take it at once, one is refused.
 *  2. `leads` is true only while the Lease was renewed within RENEW_DEADLINE_MS by this clock, which is less than the
 *     others wait: so no two lead at once, as long as clocks run at about the same speed.
 *  3. Others' times are never compared with this clock: a Lease has expired when it was *seen* unchanged for its duration,
 *     while the API server answered. (One that was away for longer than that would otherwise depose every leader.)
 *  4. One write at a time.
 */
import { type Api, isReason, type KubeLog, LEASES } from '../api/api.ts';
import { type Clock, systemClock } from '../api/clock.ts';
import { Informer } from '../api/informer.ts';
import { takeLabel } from './leader-label.ts';
import {
  acquired,
  holderOf,
  isNewer,
  type LeaseObject,
  released,
  renewed,
  type Successor,
  served,
  successorTo,
} from './record.ts';

export type { Successor } from './record.ts';

/** client-go's defaults. */
const LEASE_MS = 15_000;
const RENEW_DEADLINE_MS = 10_000;
const RETRY_MS = 2_000;
/**
 * How long a Lease that was given up may stay untaken before there is nobody to succeed: a standby takes it in
 * milliseconds, the replacement of a pod that is alone and was deleted is up in a few seconds.
 */
const CANDIDATE_MS = 5_000;
const LEASE_NAME = 'simmer';

export interface LeaderElectionOptions {
  readonly api: Api;
  /** The control planes' own. */
  readonly namespace: string;
  /** The name of this one's pod. */
  readonly identity: string;
  /** Where pods find this one: `wss://host:port`. */
  readonly address: string;
  readonly log: KubeLog;
  readonly clock?: Clock;
}

export type LeaderState = 'standby' | 'leading' | 'uncertain' | 'released' | 'deposed' | 'closed';

export class LeaderElection {
  private readonly options: LeaderElectionOptions;
  private readonly api: Api;
  private readonly log: KubeLog;
  private readonly clock: Clock;
  private readonly informer: Informer<LeaseObject>;
  private current: LeaderState = 'standby';
  /** As it was last seen or written, whichever is later. */
  private lease: LeaseObject | undefined;
  /** When it was last seen to change, by this clock. */
  private changedAt: number;
  private renewedAt = 0;
  private timer: { cancel(): void } | undefined;
  private deadline: { cancel(): void } | undefined;
  private writing: Promise<unknown> = Promise.resolve();
  private looking: 'no' | 'yes' | 'again' = 'no';
  /** It has told that it serves. */
  private isServing = false;
  private readonly problems = new Map<'lease' | 'label', string>();
  private leadResolve: () => void = () => {};
  private readonly leading: Promise<void>;
  private started = false;
  private toldDeposed = false;
  private certaintyListener: (leads: boolean) => void = () => {};
  private deposedListener: (address: string | null) => void = () => {};
  /** Those who wait for a change of the Lease. */
  private readonly watchers = new Set<() => void>();

  constructor(options: LeaderElectionOptions) {
    this.options = options;
    this.api = options.api;
    this.log = options.log;
    this.clock = options.clock ?? systemClock;
    this.changedAt = this.clock.now();
    this.leading = new Promise((resolve) => {
      this.leadResolve = resolve;
    });
    this.informer = new Informer(options.api, LEASES, {
      namespace: options.namespace,
      // A role may be bound to this one name.
      fieldSelector: `metadata.name=${LEASE_NAME}`,
      log: options.log,
    });
    this.informer.onChange(({ type, object }) => {
      if (type === 'deleted') {
        if (object.metadata.uid === this.lease?.metadata.uid) this.see(undefined);
      } else if (isNewer(object, this.lease)) {
        this.see(object);
      }
      void this.look();
    });
  }

  get state(): LeaderState {
    return this.current;
  }

  /** This one may write. */
  get leads(): boolean {
    return this.current === 'leading';
  }

  /** Another that holds the Lease. */
  get successor(): Successor | undefined {
    return successorTo(this.options.identity, this.lease);
  }

  /** Resolves once this one leads; never where it is closed before. */
  lead(): Promise<void> {
    if (!this.started) {
      this.started = true;
      void this.informer.start().then(() => this.look());
    }
    return this.leading;
  }

  /**
   * To be called once this one serves: leads the Services here, and tells the predecessor, who then sends its pods.
   * Resolves when both are done, however long the API server is away; or once this one does not hold the Lease any more.
   */
  async serving(): Promise<void> {
    while (this.holds()) {
      try {
        await takeLabel(this.api, this.options.namespace, this.options.identity);
        await this.write((lease) => (this.holds() && lease ? served(lease) : undefined));
        this.isServing = true;
        return;
      } catch (error) {
        this.tell('label', error as Error);
        await this.pause(RETRY_MS);
      }
    }
  }

  /** The lead was lost for now (`false`) or is certain again (`true`). */
  onCertainty(listener: (leads: boolean) => void): void {
    this.certaintyListener = listener;
  }

  /** Another leads and serves, although this one did not hand over: its pods' address. Told once. */
  onDeposed(listener: (address: string | null) => void): void {
    this.deposedListener = listener;
  }

  /**
   * Gives the Lease up and waits for whoever takes it: the address where pods find it, once it serves; null where
   * nobody does within `waitMs`, or nobody takes it at all.
   */
  async succeed(waitMs: number): Promise<string | null> {
    await this.release();
    const end = this.clock.now() + waitMs;
    const candidateEnd = Math.min(end, this.clock.now() + CANDIDATE_MS);
    for (;;) {
      const { successor } = this;
      if (successor?.serving) return successor.address;
      const left = (successor ? end : candidateEnd) - this.clock.now();
      if (left <= 0 || this.current === 'closed') return null;
      await this.changed(left);
    }
  }

  /** Gives the Lease up where this one holds it. */
  async close(): Promise<void> {
    await this.release();
    this.enter('closed');
    this.timer?.cancel();
    this.deadline?.cancel();
    this.informer.stop();
    for (const wake of [...this.watchers]) wake();
  }

  private holds(): boolean {
    return this.current === 'leading' || this.current === 'uncertain';
  }

  private see(lease: LeaseObject | undefined): void {
    this.lease = lease;
    this.changedAt = this.clock.now();
    for (const wake of [...this.watchers]) wake();
  }

  /** Does what is due, and asks for itself again. */
  private async look(): Promise<void> {
    if (this.looking !== 'no') {
      this.looking = 'again';
      return;
    }
    do {
      this.looking = 'yes';
      await this.lookOnce();
    } while (this.isAskedAgain());
    this.looking = 'no';
    if (this.current === 'deposed') this.tellDeposed();
    this.timer?.cancel();
    if (this.current === 'standby' || this.holds()) {
      this.timer = this.clock.after(RETRY_MS, () => void this.look());
    }
  }

  private async lookOnce(): Promise<void> {
    try {
      if (this.holds()) await this.keep();
      else if (this.current === 'standby') await this.tryToAcquire();
      this.problems.delete('lease');
    } catch (error) {
      await this.onFailure(error as Error);
    }
  }

  private isAskedAgain(): boolean {
    return this.looking === 'again';
  }

  private async tryToAcquire(): Promise<void> {
    const { identity } = this.options;
    const now = this.clock.now();
    if (!this.informer.synced || this.informer.problem !== undefined) {
      this.changedAt = now; // 3
      return;
    }
    const holder = holderOf(this.lease);
    // This pod's own name is that of a container before this one, which has ended.
    const mayTake = holder === '' || holder === identity || this.hasExpired(now);
    if (!mayTake) return;
    const written = await this.write((lease) =>
      this.current === 'standby' ? this.taken(lease) : undefined,
    );
    if (!written) return;
    // From before the write, which may take its time: 2
    this.renewedAt = now;
    this.log.info({ lease: LEASE_NAME, identity, before: holder }, 'this control plane leads');
    this.enter('leading');
    this.awaitDeadline();
    this.leadResolve();
  }

  private taken(lease: LeaseObject | undefined): LeaseObject {
    const { identity, address } = this.options;
    const now = this.clock.epoch();
    return acquired(LEASE_NAME, lease, { identity, address, durationMs: LEASE_MS, now });
  }

  private hasExpired(now: number): boolean {
    const seconds = this.lease?.spec?.leaseDurationSeconds ?? 0;
    return now - this.changedAt >= seconds * 1_000; // 3
  }

  private async keep(): Promise<void> {
    const holder = holderOf(this.lease);
    if (holder !== '' && holder !== this.options.identity) {
      this.log.warn({ lease: LEASE_NAME, holder }, 'another control plane has taken the lead');
      this.deadline?.cancel();
      const wasCertain = this.current === 'leading';
      this.enter('deposed');
      if (wasCertain) this.certaintyListener(false);
      return;
    }
    const now = this.clock.now();
    if (holder !== '' && now - this.renewedAt < RETRY_MS) return;
    const written = await this.write((lease) => {
      if (!this.holds()) return undefined;
      if (lease && holderOf(lease) !== '') return renewed(lease, this.clock.epoch());
      // Somebody deleted or emptied it.
      const again = this.taken(lease);
      return this.isServing ? served(again) : again;
    });
    if (!written || !this.holds()) return;
    this.renewedAt = now; // 2
    this.awaitDeadline();
    if (this.current === 'uncertain') {
      this.enter('leading');
      this.log.info({ lease: LEASE_NAME }, 'the lead is certain again');
      this.certaintyListener(true);
    }
  }

  /** Not part of `look`: a renewal that hangs must not keep it from being noticed. */
  private awaitDeadline(): void {
    this.deadline?.cancel();
    const left = this.renewedAt + RENEW_DEADLINE_MS - this.clock.now();
    this.deadline = this.clock.after(Math.max(0, left), () => {
      if (this.current !== 'leading') return;
      this.enter('uncertain'); // 2
      this.log.warn(
        { lease: LEASE_NAME },
        `the Lease was not renewed within ${RENEW_DEADLINE_MS} ms: another control plane may take the lead`,
      );
      this.certaintyListener(false);
    });
  }

  private tellDeposed(): void {
    const { successor } = this;
    if (this.toldDeposed || !successor?.serving) return;
    this.toldDeposed = true;
    this.deposedListener(successor.address || null);
  }

  /** Somebody wrote in between: look at what there is now. */
  private async onFailure(error: Error): Promise<void> {
    const conflict = ['Conflict', 'AlreadyExists', 'NotFound'].some((r) => isReason(error, r));
    if (!conflict) return this.tell('lease', error);
    try {
      const { namespace } = this.options;
      const found = await this.api.find<LeaseObject>(LEASES, namespace, LEASE_NAME);
      if (found === undefined || isNewer(found, this.lease)) {
        this.see(found);
        this.looking = 'again';
      }
    } catch (failure) {
      this.tell('lease', failure as Error);
    }
  }

  /** `change` gives what is to be written, from what is there when its turn comes; or undefined. False: nothing was. */
  private write(
    change: (lease: LeaseObject | undefined) => LeaseObject | undefined,
  ): Promise<boolean> {
    const writing = this.writing.then(async () => {
      const object = change(this.lease);
      if (object === undefined) return false;
      const { namespace } = this.options;
      const written = this.lease
        ? await this.api.replace<LeaseObject>(LEASES, namespace, object) // 1
        : await this.api.create<LeaseObject>(LEASES, namespace, object);
      if (isNewer(written, this.lease)) this.see(written);
      return true;
    });
    this.writing = writing.catch(() => {}); // 4
    return writing;
  }

  private async release(): Promise<void> {
    if (!this.holds()) return;
    this.enter('released');
    this.deadline?.cancel();
    this.timer?.cancel();
    try {
      const { identity } = this.options;
      await this.write((lease) =>
        lease && holderOf(lease) === identity ? released(lease, this.clock.epoch()) : undefined,
      );
    } catch (error) {
      // It expires by itself.
      this.tell('lease', error as Error);
    }
  }

  private enter(state: LeaderState): void {
    if (this.current !== 'closed') this.current = state;
  }

  /** Resolves at the next change of the Lease, or after `ms`. */
  private changed(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        timer.cancel();
        this.watchers.delete(wake);
        resolve();
      };
      const timer = this.clock.after(ms, wake);
      this.watchers.add(wake);
    });
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.clock.after(ms, resolve);
    });
  }

  /** Once for each cause, not for each try. */
  private tell(about: 'lease' | 'label', { message }: Error): void {
    if (message !== this.problems.get(about)) {
      this.log.warn({ lease: LEASE_NAME }, `leader election: ${message}`);
    }
    this.problems.set(about, message);
  }
}

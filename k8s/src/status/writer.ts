/**
 * Tells in the objects' status how their pools are, and in events what went wrong. What is reported may change a thousand
 * times a second; what is written is bounded, and what people wait for goes first:
 *
 *   verdicts (a condition's status or reason, a generation)     at most URGENT_PER_SECOND, for changes of a folder full
 *   replica counts                                              together at most STEADY_PER_SECOND
 *   queue, misses, words                                        the same, and each function's every COUNTERS_MS
 *
 * Invariants:
 *  1. Nothing is written that the object already says.
 *  2. Nothing is written while another control plane may lead.
 *  3. One function's flapping condition spends a budget of its own.
 */
import type { ManifestIssue } from '@simmer/protocol/manifest';
import { warmPoolName } from '@simmer/protocol/names';
import {
  type Api,
  FUNCTIONS,
  isReason,
  type KubeLog,
  type KubeObject,
  WARM_POOLS,
} from '../api/api.ts';
import { type Clock, systemClock } from '../api/clock.ts';
import { inLanes } from '../api/lanes.ts';
import { LABEL, MANAGED_BY, MANAGER, poolLabel } from '../backend/names.ts';
import { Budget } from './budget.ts';
import { type Condition, conditionsOf, type Judged, troublesOf } from './conditions.ts';
import { Events, type Regarding } from './events.ts';
import { NO_POOL, type PoolStatus } from './pool-status.ts';

export type { PoolStatus } from './pool-status.ts';

/** A thousand functions in twenty seconds; a hundredth of what an API server does. */
const URGENT_PER_SECOND = 50;
/** In the long run, of everything that is no verdict: leaves room for the Lease within two writes a second. */
const STEADY_PER_SECOND = 0.7;
const STEADY_BURST = 5;
/** Verdicts of one function: so many at once, and one more after each FLAP_MS. */
const FLAP_BURST = 5;
const FLAP_MS = 10_000;
/** Between two writes of one function's counters. */
const COUNTERS_MS = 10_000;
const FIELD_MANAGER = 'simmer-status';

/** Where the objects stand: KubernetesRegistry. */
export interface StatusObjects {
  /** namespace/name of all that are not being deleted. */
  keys(): readonly string[];
  object(key: string): KubeObject | undefined;
  issues(key: string): readonly ManifestIssue[];
}

export interface StatusWriterOptions {
  readonly api: Api;
  readonly objects: StatusObjects;
  readonly log: KubeLog;
  /** Who reports events: the name of the control plane's own pod. */
  readonly instance: string;
  readonly mayWrite?: () => boolean;
  readonly clock?: Clock;
}

interface FunctionStatus {
  readonly observedGeneration: number;
  readonly replicas: number;
  readonly readyReplicas: number;
  readonly desiredReplicas: number;
  readonly queued: number;
  readonly misses: number;
  readonly decidedBy: string;
  readonly claims?: number;
  readonly idlePodMinutes?: number;
  readonly savedSeconds?: number;
  readonly selector: string;
  readonly conditions: readonly Condition[];
}

/** What is known of one object's status; another object of its name begins anew. */
interface Written {
  readonly uid: string;
  status: Partial<FunctionStatus>;
  /** In milliseconds of the clock. */
  at: number;
  readonly verdicts: Budget;
}

type Weight = 'verdict' | 'counts' | 'counters' | 'none';

interface Due {
  readonly key: string;
  readonly object: KubeObject;
  readonly written: Written;
  readonly status: FunctionStatus;
  readonly weight: Weight;
}

const ORDER: Readonly<Record<Weight, number>> = { verdict: 0, counts: 1, counters: 2, none: 3 };

export class StatusWriter {
  private readonly options: StatusWriterOptions;
  private readonly clock: Clock;
  private readonly mayWrite: () => boolean;
  private readonly urgent: Budget;
  private readonly steady: Budget;
  private readonly events: Events;
  private readonly known = new Map<string, Written>();
  private working: Promise<void> | undefined;
  private closed = false;
  private lastProblem = '';

  constructor(options: StatusWriterOptions) {
    this.options = options;
    this.clock = options.clock ?? systemClock;
    this.mayWrite = options.mayWrite ?? (() => true);
    const now = this.clock.now();
    this.urgent = new Budget(URGENT_PER_SECOND, URGENT_PER_SECOND, now);
    this.steady = new Budget(STEADY_PER_SECOND, STEADY_BURST, now);
    this.events = new Events(options.api, this.clock, options.instance);
  }

  /**
   * To be called about once a second, with every function's pool by namespace/name. Writes what is due and may be written;
   * the rest with a later report. Resolves when that is done; a report while one is being written is dropped.
   */
  report(statuses: ReadonlyMap<string, PoolStatus>): Promise<void> {
    if (this.closed || !this.mayWrite()) return Promise.resolve(); // 2
    this.working ??= this.write(statuses)
      .catch((error: Error) => this.tell(error))
      .finally(() => {
        this.working = undefined;
      });
    return this.working;
  }

  /** Resolves once nothing is being written. */
  async close(): Promise<void> {
    this.closed = true;
    await this.working;
  }

  private async write(statuses: ReadonlyMap<string, PoolStatus>): Promise<void> {
    const due: Due[] = [];
    const regarding: Regarding[] = [];
    const keys = this.options.objects.keys();
    for (const key of keys) {
      const object = this.options.objects.object(key);
      const pool = statuses.get(key);
      // It is so new that its pool is not reported yet.
      if (!object || (!pool && this.options.objects.issues(key).length === 0)) continue;
      const judged = this.judge(key, object, pool);
      const troubles = troublesOf(judged);
      regarding.push({ object, troubles });
      const given = this.look(key, object, judged);
      if (given.weight !== 'none') due.push(given); // 1
    }
    this.forget(keys);
    // Within a weight whoever has waited longest.
    due.sort((a, b) => ORDER[a.weight] - ORDER[b.weight] || a.written.at - b.written.at);
    await inLanes(due, async (given) => {
      if (this.closed || !this.mayWrite()) return; // 2
      if (this.afford(given)) await this.apply(given);
    });
    if (this.closed || !this.mayWrite()) return; // 2
    await this.events.report(regarding);
    this.lastProblem = '';
  }

  private judge(key: string, object: KubeObject, pool: PoolStatus | undefined): Judged {
    const spec = object['spec'] as { minReplicas?: number } | undefined;
    return {
      pool: pool ?? NO_POOL,
      minReplicas: spec?.minReplicas ?? 0,
      generation: object.metadata.generation ?? 0,
      issues: this.options.objects.issues(key),
      served: pool !== undefined,
      generic: warmPoolName(key) !== undefined,
    };
  }

  private look(key: string, object: KubeObject, judged: Judged): Due {
    const written = this.writtenOf(key, object);
    const { pool, generation } = judged;
    const seconds = `${new Date(this.clock.epoch()).toISOString().slice(0, 19)}Z`;
    const status: FunctionStatus = {
      observedGeneration: generation,
      replicas: pool.pods,
      readyReplicas: pool.ready,
      desiredReplicas: pool.desired,
      queued: pool.queued,
      misses: pool.misses,
      decidedBy: pool.decidedBy,
      ...pool.cost,
      selector: selectorOf(key),
      conditions: conditionsOf(judged, written.status.conditions ?? [], seconds),
    };
    return { key, object, written, status, weight: weigh(written.status, status) };
  }

  private writtenOf(key: string, object: KubeObject): Written {
    const { uid = '' } = object.metadata;
    const before = this.known.get(key);
    if (before?.uid === uid) return before;
    // What an earlier control plane wrote need not be written again.
    const status = (object['status'] ?? {}) as Partial<FunctionStatus>;
    const verdicts = new Budget(1_000 / FLAP_MS, FLAP_BURST, this.clock.now());
    const fresh: Written = { uid, status, at: -COUNTERS_MS, verdicts };
    this.known.set(key, fresh);
    return fresh;
  }

  private afford({ weight, written }: Due): boolean {
    const now = this.clock.now();
    // Its own token is taken once it was written: an API server that is away is no flapping.
    if (weight === 'verdict') return written.verdicts.has(now) && this.urgent.take(now); // 3
    if (weight === 'counters' && now - written.at < COUNTERS_MS) return false;
    return this.steady.take(now);
  }

  private async apply({ key, object, written, status, weight }: Due): Promise<void> {
    const { name = '', namespace = '', uid = '' } = object.metadata;
    try {
      await this.options.api.apply(
        warmPoolName(key) === undefined ? FUNCTIONS : WARM_POOLS,
        namespace,
        // The UID: never an object of its name that came meanwhile.
        { metadata: { name, uid }, status },
        { subresource: 'status', fieldManager: FIELD_MANAGER },
      );
      written.status = status;
      written.at = this.clock.now();
      if (weight === 'verdict') written.verdicts.take(written.at);
    } catch (error) {
      // Gone, or another by now: the objects will tell.
      if (!isReason(error, 'NotFound') && !isReason(error, 'Conflict')) throw error;
      this.known.delete(key);
    }
  }

  private forget(keys: readonly string[]): void {
    if (this.known.size === keys.length) return;
    const present = new Set(keys);
    for (const key of this.known.keys()) if (!present.has(key)) this.known.delete(key);
  }

  /** Once for each cause. What could not be written is due again. */
  private tell(error: Error): void {
    if (error.message !== this.lastProblem) {
      this.options.log.warn({}, `the status of functions is not up to date: ${error.message}`);
    }
    this.lastProblem = error.message;
  }
}

/** Of its pods; Jobs are left out. */
function selectorOf(key: string): string {
  const labels = { [MANAGED_BY]: MANAGER, ...poolLabel(key), [LABEL.kind]: 'pool' };
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(',');
}

/** What the difference between the status that the object has and the one that it should have is worth. */
function weigh(before: Partial<FunctionStatus>, after: FunctionStatus): Weight {
  if (before.observedGeneration !== after.observedGeneration) return 'verdict';
  const verdict = ({ type, status, reason }: Condition) => `${type} ${status} ${reason}`;
  const verdicts = (conditions: readonly Condition[]) => conditions.map(verdict).sort().join('\n');
  if (verdicts(before.conditions ?? []) !== verdicts(after.conditions)) return 'verdict';
  const counts = ['replicas', 'readyReplicas', 'desiredReplicas', 'selector'] as const;
  if (counts.some((name) => before[name] !== after[name])) return 'counts';
  const messages = (conditions: readonly Condition[]) =>
    conditions.map((c) => c.message).join('\n');
  const same =
    before.queued === after.queued &&
    before.misses === after.misses &&
    before.decidedBy === after.decidedBy &&
    before.claims === after.claims &&
    before.idlePodMinutes === after.idlePodMinutes &&
    before.savedSeconds === after.savedSeconds &&
    messages(before.conditions ?? []) === messages(after.conditions);
  return same ? 'none' : 'counters';
}

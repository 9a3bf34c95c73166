/**
 * Events on what a person should know about a function, as `kubectl describe` and `kubectl events` show them.
 *
 * Invariants:
 *  1. One Event object for each object (UID) and reason within SERIES_MS; what happens again counts in its series.
 *  2. At most PER_SECOND writes in the long run, whatever happens.
 */
import { randomBytes } from 'node:crypto';
import { type Api, EVENTS, isReason, type KubeObject } from '../api/api.ts';
import type { Clock } from '../api/clock.ts';
import { Budget } from './budget.ts';
import type { Trouble } from './conditions.ts';

/** After this a repetition is news again. Half of the hour that the API server keeps events. */
const SERIES_MS = 30 * 60_000;
/** Between two writes of one series' count. */
const COUNT_MS = 60_000;
const PER_SECOND = 0.2;
const BURST = 25;
/** As the API bounds `note`. */
const MAX_NOTE = 1_000;
const CONTROLLER = 'simmer.dev/control-plane';

interface Series {
  readonly name: string;
  /** In milliseconds of the clock. */
  readonly createdAt: number;
  writtenAt: number;
  writtenCount: number;
  count: number;
  /** As it was at the last look, to tell a repetition from the same state seen again. */
  seen: Trouble;
  lasts: boolean;
}

export interface Regarding {
  readonly object: KubeObject;
  readonly troubles: readonly Trouble[];
}

export class Events {
  private readonly api: Api;
  private readonly clock: Clock;
  private readonly instance: string;
  private readonly budget: Budget;
  /** By UID and reason. */
  private readonly series = new Map<string, Series>();

  /** @param instance who reports: the control plane's own pod */
  constructor(api: Api, clock: Clock, instance: string) {
    this.api = api;
    this.clock = clock;
    this.instance = instance;
    this.budget = new Budget(PER_SECOND, BURST, clock.now());
  }

  /** All objects with what troubles them now. @throws {ApiError} what is left is written another time */
  async report(all: readonly Regarding[]): Promise<void> {
    const now = this.clock.now();
    const lasting = new Set<string>();
    for (const { object, troubles } of all) {
      for (const trouble of troubles) {
        const id = `${object.metadata.uid}/${trouble.reason}`;
        lasting.add(id);
        await this.tell(id, object, trouble, now);
      }
    }
    for (const [id, series] of this.series) {
      series.lasts = lasting.has(id);
      if (!series.lasts && now - series.createdAt >= SERIES_MS) this.series.delete(id);
    }
  }

  private async tell(id: string, object: KubeObject, trouble: Trouble, now: number): Promise<void> {
    const known = this.series.get(id);
    if (!known || now - known.createdAt >= SERIES_MS) {
      if (known && !happenedAgain(known, trouble)) return;
      if (!this.budget.take(now)) return; // 2
      this.series.set(id, await this.create(object, trouble, now));
      return;
    }
    known.count += happenedAgain(known, trouble);
    known.seen = trouble;
    known.lasts = true;
    if (known.count === known.writtenCount || now - known.writtenAt < COUNT_MS) return;
    if (!this.budget.take(now)) return; // 2
    await this.count(id, object, known, now);
  }

  private async create(object: KubeObject, trouble: Trouble, now: number): Promise<Series> {
    const { name: own = '', namespace = '', uid } = object.metadata;
    const name = `${own}.${randomBytes(8).toString('hex')}`;
    await this.api.create(EVENTS, namespace, {
      metadata: { name },
      eventTime: this.microTime(),
      reportingController: CONTROLLER,
      reportingInstance: this.instance,
      action: 'Reconcile',
      type: 'Warning',
      reason: trouble.reason,
      note: trouble.message.slice(0, MAX_NOTE),
      regarding: { apiVersion: object.apiVersion, kind: object.kind, name: own, namespace, uid },
    });
    const written = { writtenAt: now, writtenCount: 1, count: 1 };
    return { name, createdAt: now, ...written, seen: trouble, lasts: true };
  }

  private async count(id: string, object: KubeObject, known: Series, now: number): Promise<void> {
    const series = { count: known.count, lastObservedTime: this.microTime() };
    known.writtenAt = now;
    try {
      const { namespace = '' } = object.metadata;
      await this.api.patch(EVENTS, namespace, known.name, { series });
      known.writtenCount = known.count;
    } catch (error) {
      if (!isReason(error, 'NotFound')) throw error;
      this.series.delete(id);
    }
  }

  /** metav1.MicroTime */
  private microTime(): string {
    return new Date(this.clock.epoch()).toISOString().replace('Z', '000Z');
  }
}

/** How often since the last look: a count went up, or it had been over in between. */
function happenedAgain({ seen, lasts }: Series, trouble: Trouble): number {
  if (!lasts) return 1;
  return trouble.count > seen.count ? trouble.count - seen.count : 0;
}

/**
 * The pools there are, made to follow the functions that are registered.
 *
 *     (absent) ──registered──▶ kept ──removed──▶ leaving ──last pod gone──▶ (absent)
 *
 * A function that is registered again while its earlier pool is still leaving gets a new pool.
 */
import { isDeepStrictEqual } from 'node:util';
import type { RegisteredFunction } from '@simmer/protocol/registry';
import type { Log } from '../log.ts';
import { newCost } from '../sizing/cost.ts';
import { HEALTHY } from './backoff.ts';
import { fitsOf } from './fitting.ts';
import { isLive, type Pool } from './pool.ts';
import type { CounterSlots } from './slots.ts';

/** What changed: both need a look, and the scheduler to be told. */
export interface PoolChanges {
  readonly changed: readonly Pool[];
  readonly removed: readonly Pool[];
}

export class PoolTable {
  private readonly kept = new Map<string, Pool>();
  private readonly leaving = new Set<Pool>();
  private readonly slots: CounterSlots;
  private readonly log: Log;

  constructor(slots: CounterSlots, log: Log) {
    this.slots = slots;
    this.log = log;
  }

  get(key: string): Pool | undefined {
    return this.kept.get(key);
  }

  /** A function that was removed still has its pool while that has pods. */
  getOrLeaving(key: string): Pool | undefined {
    return this.kept.get(key) ?? [...this.leaving].find((pool) => pool.key === key);
  }

  /** Finds which WarmPools fit whom; gives those for whom that has changed. */
  fit(functions: readonly RegisteredFunction[], defaultBackend: string): readonly Pool[] {
    const changed: Pool[] = [];
    for (const [key, fit] of fitsOf(functions, defaultBackend)) {
      const pool = this.kept.get(key);
      if (pool === undefined || isDeepStrictEqual(pool.fit, fit)) continue;
      pool.fit = fit;
      changed.push(pool);
    }
    return changed;
  }

  /** Those of registered functions. */
  all(): Iterable<Pool> {
    return this.kept.values();
  }

  /** Those that still have pods, too. */
  *withLeaving(): Iterable<Pool> {
    yield* this.kept.values();
    yield* this.leaving;
  }

  /** Keys of removed functions that still have pods. */
  leavingKeys(): ReadonlySet<string> {
    return new Set([...this.leaving].map((pool) => pool.key));
  }

  /** `functions` are all that there should be. */
  apply(functions: readonly RegisteredFunction[], now: number): PoolChanges {
    const wanted = new Set(functions.map((f) => f.key));
    const removed = [...this.kept.values()].filter((pool) => !wanted.has(pool.key));
    for (const pool of removed) this.remove(pool, now);
    const changed = functions.flatMap((f) => this.upsert(f, now) ?? []);
    return { changed, removed };
  }

  /** A deleted pool's last pod is gone. */
  forget(pool: Pool): void {
    this.leaving.delete(pool);
  }

  /** The pool, unless nothing about it changed. */
  private upsert(registered: RegisteredFunction, now: number): Pool | undefined {
    const pool = this.kept.get(registered.key);
    if (!pool) return this.create(registered, now);
    const before = pool.registered;
    pool.registered = registered;
    const { key, revision } = registered;
    if (before.revision !== revision) {
      // A roll within a roll: the size is that of before the first.
      pool.rollTarget ||= [...pool.pods.values()].filter(isLive).length;
      pool.backoff = HEALTHY;
      pool.lastFailure = undefined;
      this.log.info({ function: key, revision, replaces: before.revision }, 'new revision');
      return pool;
    }
    const settings = ({ manifest, pool }: RegisteredFunction) =>
      JSON.stringify([manifest.spec, pool]);
    if (settings(before) === settings(registered)) return undefined;
    this.log.info({ function: key, revision }, 'settings changed');
    return pool;
  }

  private create(registered: RegisteredFunction, now: number): Pool {
    const { key, revision } = registered;
    const pool: Pool = {
      key,
      slot: this.slots.take(now),
      registered,
      pods: new Map(),
      backoff: HEALTHY,
      lastFailure: undefined,
      rollTarget: 0,
      lastRetireAt: Number.NEGATIVE_INFINITY,
      claimed: new Map(),
      claims: 0,
      fit: undefined,
      size: undefined,
      grown: 0,
      cost: newCost(now),
      deleted: false,
      wakeAt: Number.POSITIVE_INFINITY,
    };
    this.kept.set(key, pool);
    this.log.info({ function: key, revision }, 'function registered');
    return pool;
  }

  private remove(pool: Pool, now: number): void {
    pool.deleted = true;
    this.kept.delete(pool.key);
    if (pool.pods.size > 0) this.leaving.add(pool);
    this.slots.giveBack(pool.slot, now);
    this.log.info({ function: pool.key }, 'function removed');
  }
}

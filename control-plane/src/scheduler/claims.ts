/**
 * Pods of WarmPools that become a function's: on a miss, in this thread's memory, over the socket that is open.
 *
 *   (of the pool) idle ──claim──▶ (of the function) loading ──ready──▶ serving ──▶ as any pod of it
 *
 * misses.ts asks what there is (`ask`), placement.ts decides, and `claim` carries it out. A function that lacks pods which the
 * pools do not have is an asker, and is looked at again when one has come, in its turn (claim-policy.ts).
 *
 * Invariants:
 *  C1. A pod is claimed once, while it idles, connected and of the pool's present revision. It never goes back.
 *  C2. What is claimed and not ready counts as on its way to its function: nobody claims twice for one miss.
 *  C3. Claimed pods that live count within their pool's maximum. Where it is reached, others' pods that have idled longest make
 *      way for those who ask; those that a function's own minimum keeps do not.
 */
import { type Asker, allot, shareOf } from './claim-policy.ts';
import type { FunctionState } from './function-state.ts';
import type { FunctionTable } from './function-table.ts';
import { type GenericPods, NO_GENERIC_PODS } from './placement.ts';
import type { Pod } from './pod.ts';
import type { Scheduler } from './scheduler.ts';

/** A pod that others' work may take away has idled for at least this: calls that come one after the other find it again. */
const MAKES_WAY_AFTER_MS = 500;

interface GenericPool {
  readonly fn: FunctionState;
  /** Those that it has handed out and that take work, or will. */
  readonly claimed: Set<Pod>;
  /** In the order of their turns. */
  readonly askers: Map<FunctionState, Asker>;
  /** When it was last looked whether it still hands out, and what was seen: a thousand askers look in one turn. */
  movesAt: number;
  moves: boolean;
  /** When no claimed pod could make way. */
  noneMadeWayAt: number;
}

export class Claims {
  private readonly scheduler: Scheduler;
  private readonly functions: FunctionTable;
  private readonly pools = new WeakMap<FunctionState, GenericPool>();

  constructor(scheduler: Scheduler, functions: FunctionTable) {
    this.scheduler = scheduler;
    this.functions = functions;
  }

  /** What the pools that fit have for a function that lacks so many pods. From now on it is one of those who wait. */
  ask(fn: FunctionState, lacks: number, now: number): GenericPods {
    let [idle, coming, room, inLine] = [0, 0, 0, false];
    for (const pool of this.poolsOf(fn)) {
      pool.askers.set(fn, { lacks, holds: this.holds(fn, pool) });
      const offer = this.offerOf(pool, fn);
      idle += offer.idle;
      coming += offer.coming;
      room += offer.room;
      inLine ||= this.isInLine(pool, fn, now);
    }
    for (const pool of this.poolsOf(fn)) {
      const missing = lacks - idle - coming - room;
      if (missing > 0 && this.mayHoldMore(fn, pool)) room += this.makeWay(pool, fn, missing, now);
    }
    return { idle, coming, room, inLine };
  }

  /** It lacks nothing any more. */
  withdraw(fn: FunctionState): void {
    for (const pool of this.poolsOf(fn)) pool.askers.delete(fn);
  }

  /** How many functions wait for pods of the pools that fit. */
  crowd(fn: FunctionState): number {
    let most = 0;
    for (const pool of this.poolsOf(fn)) most = Math.max(most, pool.askers.size);
    return most;
  }

  /** Takes up to `count` idle pods for it, and orders `launch` more of the pools: what `ask` said there was. */
  claim(fn: FunctionState, count: number, launch: number): void {
    let pods = count;
    let orders = launch;
    for (const pool of this.poolsOf(fn)) {
      const offer = this.offerOf(pool, fn);
      for (const pod of idleOf(pool).slice(0, Math.min(pods, offer.idle))) {
        this.take(pool, pod, fn);
        pods--;
      }
      const ordered = Math.min(orders, Math.max(0, roomOf(pool, this.scheduler.ports.now())));
      if (ordered > 0) {
        orders -= ordered;
        this.scheduler.misses.order(pool.fn, 'pool', ordered);
      }
    }
  }

  private take(pool: GenericPool, pod: Pod, fn: FunctionState): void {
    const asker = pool.askers.get(fn);
    pool.claimed.add(pod);
    // What was seen in this turn is no longer so.
    pool.movesAt = -1;
    pod.origin = pool.fn;
    this.scheduler.pods.become(pod, fn); // C1
    // Its next turn comes after everybody's.
    pool.askers.delete(fn);
    if (asker !== undefined && asker.lacks > 1) {
      pool.askers.set(fn, { lacks: asker.lacks - 1, holds: asker.holds + 1 });
    }
  }

  /** A pod of the pool idles. True: somebody has taken it. */
  onIdle(pod: Pod): boolean {
    const pool = this.poolOf(pod.fn);
    this.serve(pool);
    return pod.fn !== pool.fn;
  }

  /** An earlier control plane gave it to its function. */
  adopted(pod: Pod, poolKey: string): void {
    const fn = this.functions.get(poolKey);
    if (fn === undefined) return;
    pod.origin = fn;
    this.poolOf(fn).claimed.add(pod);
  }

  /** A claimed pod gets no more work: its place in the pool is free. */
  onLeft(pod: Pod): void {
    if (pod.origin === null) return;
    const pool = this.poolOf(pod.origin);
    if (pool.claimed.delete(pod)) this.serve(pool);
  }

  /** Looks at those who ask, while there is something for them. */
  private serve(pool: GenericPool): void {
    const now = this.scheduler.ports.now();
    for (const fn of [...pool.askers.keys()]) {
      if (pool.fn.available.withFreeSlot === 0 && roomOf(pool, now) <= 0) return;
      this.scheduler.misses.look(fn, now);
    }
  }

  /** C3: ends up to `count` of others' idle pods. Gives how many. */
  private makeWay(pool: GenericPool, fn: FunctionState, count: number, now: number): number {
    if (pool.noneMadeWayAt === now) return 0;
    if (!mayLaunch(pool, now) || this.scheduler.handingOver) return 0;
    const idle = [...pool.claimed]
      .filter((pod) => makesWay(pod, fn, now))
      .sort((a, b) => a.idleSince - b.idleSince);
    let ended = 0;
    for (const pod of idle) {
      if (ended === count) break;
      // Another of its function may have gone just now.
      if (!makesWay(pod, fn, now)) continue;
      pool.claimed.delete(pod);
      this.scheduler.pods.drain(pod, `others wait for its pool, ${pool.fn.key}`);
      ended++;
    }
    if (ended === 0) pool.noneMadeWayAt = now;
    return ended;
  }

  /** The pool can launch no more, but goes on handing out. */
  private isInLine(pool: GenericPool, fn: FunctionState, now: number): boolean {
    if (pool.fn.deleted || !this.mayHoldMore(fn, pool)) return false;
    if (pool.fn.comingPods + pool.fn.orderedPods > 0) return true;
    if (this.scheduler.misses.hopeless(pool.fn, now)) return false;
    if (pool.movesAt !== now) {
      pool.movesAt = now;
      pool.moves = [...pool.claimed].some((pod) => pod.state === 'loading' || isSpare(pod));
    }
    return pool.moves;
  }

  private mayHoldMore(fn: FunctionState, pool: GenericPool): boolean {
    const size = pool.fn.record.spec.maxReplicas;
    return this.holds(fn, pool) < shareOf({ size, maxShare: maxShareOf(pool) });
  }

  /** What is this function's when all who ask are served in their turns. */
  private offerOf(pool: GenericPool, fn: FunctionState): Omit<GenericPods, 'inLine'> {
    const now = this.scheduler.ports.now();
    const ready = idleOf(pool).length;
    const onTheWay = pool.fn.comingPods + pool.fn.orderedPods;
    const room = Math.max(0, roomOf(pool, now));
    const maxShare = maxShareOf(pool);
    const size = ready + pool.claimed.size;
    const { askers, index } = firstOf(pool, fn, ready + onTheWay + room);
    if (index === -1) return NO_GENERIC_PODS;
    const get = (more: number, within: boolean) =>
      allot({ idle: ready + more, size: size + more, maxShare }, askers, index, within);
    const idle = get(0, false);
    const withComing = Math.max(idle, get(onTheWay, false));
    // Nothing is launched for what goes beyond a share.
    const withRoom = Math.max(withComing, get(onTheWay + room, true));
    return { idle, coming: withComing - idle, room: withRoom - withComing };
  }

  private holds(fn: FunctionState, pool: GenericPool): number {
    let count = 0;
    for (const pod of fn.pods) if (pod.origin === pool.fn && pool.claimed.has(pod)) count++;
    return count;
  }

  private *poolsOf(fn: FunctionState): Iterable<GenericPool> {
    for (const key of fn.record.claim?.pools ?? []) {
      const pool = this.functions.get(key);
      if (pool !== undefined) yield this.poolOf(pool);
    }
  }

  private poolOf(fn: FunctionState): GenericPool {
    let pool = this.pools.get(fn);
    if (pool === undefined) {
      pool = {
        ...{ fn, claimed: new Set<Pod>(), askers: new Map<FunctionState, Asker>() },
        ...{ movesAt: -1, moves: false, noneMadeWayAt: -1 },
      };
      this.pools.set(fn, pool);
    }
    return pool;
  }
}

/** C1, oldest first. */
function idleOf({ fn }: GenericPool): Pod[] {
  if (fn.available.withFreeSlot === 0) return [];
  const { revision } = fn.record;
  return [...fn.pods].filter(
    (pod) => pod.state === 'serving' && pod.link !== null && pod.revision === revision,
  );
}

/**
 * Those among whom `pods` are handed out, in order, and where among them the function stands; -1: behind as many who come first.
 * Each who holds none gets one before anybody gets a second, so that those behind need not be looked at.
 */
function firstOf(
  { askers }: GenericPool,
  fn: FunctionState,
  pods: number,
): { readonly askers: readonly Asker[]; readonly index: number } {
  const first: Asker[] = [];
  let index = -1;
  let served = 0;
  for (const [one, asker] of askers) {
    if (served >= pods) break;
    if (one === fn) index = first.length;
    first.push(asker);
    if (asker.lacks > 0 && asker.holds === 0) served++;
  }
  return { askers: first, index };
}

/** Pods that it may still launch (C3). */
function roomOf(pool: GenericPool, now: number): number {
  if (!mayLaunch(pool, now)) return 0;
  const { fn, claimed } = pool;
  return fn.record.spec.maxReplicas - fn.poolPods - fn.orderedPods - claimed.size;
}

function mayLaunch({ fn }: GenericPool, now: number): boolean {
  const hold = fn.holds.pool;
  return !fn.deleted && (hold === null || now >= hold.until);
}

function maxShareOf({ fn }: GenericPool): number {
  return fn.record.maxShare ?? 100;
}

/** It has nothing to do, and its function can do without it. */
function isSpare(pod: Pod): boolean {
  const { fn } = pod;
  return (
    pod.state === 'serving' &&
    pod.load === 0 &&
    fn.queue.length === 0 &&
    fn.poolPods > fn.record.spec.minReplicas
  );
}

function makesWay(pod: Pod, asker: FunctionState, now: number): boolean {
  return pod.fn !== asker && isSpare(pod) && now - pod.idleSince >= MAKES_WAY_AFTER_MS;
}

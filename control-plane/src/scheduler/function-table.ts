/** The functions by key and by the names that URLs give them: the one table that the warm path shares. */
import { urlNameOfKey, warmPoolName } from '@simmer/protocol/names';
import { allBlocks, type FunctionCounters, OTHER_SLOT } from '../shared/counters.ts';
import type { FunctionRecord, FunctionsMessage } from '../shared/messages.ts';
import { type FunctionOwner, FunctionState } from './function-state.ts';
import { NameTable } from './name-table.ts';
import type { Scheduler } from './scheduler.ts';

export class FunctionTable implements FunctionOwner {
  private readonly byKey = new Map<string, FunctionState>();
  /** `echo` and `echo.default` both. */
  private readonly byName = new NameTable<FunctionState>();
  /** Deleted, and not yet without pods and work. */
  private readonly leaving = new Set<FunctionState>();
  private readonly scheduler: Scheduler;
  private readonly blocks: readonly FunctionCounters[];

  constructor(scheduler: Scheduler, memory: SharedArrayBuffer) {
    this.scheduler = scheduler;
    this.blocks = allBlocks(memory);
  }

  get(key: string): FunctionState | undefined {
    return this.byKey.get(key);
  }

  byUrlName(name: string): FunctionState | undefined {
    return this.byName.get(name);
  }

  all(): Iterable<FunctionState> {
    return this.byKey.values();
  }

  /** Those that were deleted and are not done yet as well. */
  *everyone(): Iterable<FunctionState> {
    yield* this.byKey.values();
    for (const fn of this.leaving) {
      if (fn.pods.size + fn.queue.length + fn.waiting.length === 0) this.leaving.delete(fn);
      else yield fn;
    }
  }

  apply(message: FunctionsMessage): void {
    for (const key of message.remove) this.remove(key);
    for (const record of message.upsert) this.upsert(record);
  }

  private upsert(record: FunctionRecord): void {
    const known = this.byKey.get(record.key);
    if (known !== undefined) {
      // Of the pools that fitted until now; of those that fit from now on it asks below.
      this.scheduler.claims.withdraw(known);
      known.record = record;
      // What held launches back was the earlier revision's; what waits may be served by the new one.
      this.scheduler.misses.onServing(known);
      this.scheduler.misses.look(known, this.scheduler.ports.now());
      return;
    }
    const counters = this.blocks[record.slot] as FunctionCounters;
    const fn = new FunctionState(this, record, counters);
    this.byKey.set(record.key, fn);
    for (const name of namesOf(record.key)) this.byName.set(name, fn);
  }

  private remove(key: string): void {
    const fn = this.byKey.get(key);
    if (fn === undefined) return;
    this.byKey.delete(key);
    for (const name of namesOf(key)) this.byName.delete(name);
    fn.deleted = true;
    this.leaving.add(fn);
    // Its block may be given to another function, while this one still serves what waits; the shared one never is.
    if (fn.record.slot !== OTHER_SLOT) fn.counters = fn.counters.moved();
    const { pods, misses, ports } = this.scheduler;
    for (const pod of fn.pods) {
      pod.leaveWhenIdle = true;
      if (pod.load === 0 && fn.queue.length === 0) pods.drain(pod, 'its function was deleted');
    }
    misses.look(fn, ports.now());
  }

  onFunctionTimer(fn: FunctionState, now: number): void {
    this.scheduler.misses.look(fn, now);
  }
}

/** None of a WarmPool: its pods hold nothing that could be called. */
function namesOf(key: string): string[] {
  if (warmPoolName(key) !== undefined) return [];
  const slash = key.indexOf('/');
  return [urlNameOfKey(key), `${key.slice(slash + 1)}.${key.slice(0, slash)}`];
}

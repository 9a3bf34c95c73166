/**
 * Executions in memory, gone with the process.
 *
 * Invariants:
 *  M1. Never more than `maxCount` nor, when something is created, more than `maxBytes`: the one that ended first goes first,
 *      one that has not ended never. What an execution gains while it runs (its output) may evict others, not itself.
 *  M2. One that ended longer ago than `maxAgeMs` is not there.
 *  M3. The ids of the last `REMEMBERED` that went are remembered.
 */
import { Fifo, type FifoNode } from '../fifo.ts';
import { sequenceOf } from '../ids.ts';
import { bytesOf, type ExecutionRecord, hasEnded } from './record.ts';
import type { ExecutionFilter, ExecutionPage, ExecutionStore, Lookup } from './store.ts';

const REMEMBERED = 100_000;

export interface MemoryStoreLimits {
  readonly maxCount: number;
  readonly maxBytes: number;
  /** Milliseconds after its end. */
  readonly maxAgeMs: number;
}

interface Kept {
  readonly record: ExecutionRecord;
  bytes: number;
  /** Its place among those that ended; null before. */
  place: FifoNode<Kept> | null;
}

export class MemoryStore implements ExecutionStore {
  private readonly limits: MemoryStoreLimits;
  private readonly now: () => number;
  /** In the order they were created. */
  private readonly all = new Map<string, Kept>();
  /** In the order they ended. */
  private readonly ended = new Fifo<Kept>();
  private readonly evicted = new Set<string>();
  /** The same in the order they went, oldest at `nextRemembered` once it is full. */
  private readonly remembered: string[] = [];
  private nextRemembered = 0;
  private bytes = 0;
  private readonly forgotten: (id: string) => void;

  /** `now`: epoch milliseconds, as in the records. `forgotten` is told of each that is kept no longer. */
  constructor(
    limits: MemoryStoreLimits,
    now: () => number,
    forgotten: (id: string) => void = () => {},
  ) {
    this.limits = limits;
    this.now = now;
    this.forgotten = forgotten;
  }

  async create(record: ExecutionRecord): Promise<'created' | 'full'> {
    const kept: Kept = { record, bytes: bytesOf(record), place: null };
    if (!this.makeRoom(1, kept.bytes)) return 'full';
    this.all.set(record.id, kept);
    this.bytes += kept.bytes;
    return 'created';
  }

  async update(record: ExecutionRecord): Promise<void> {
    const kept = this.all.get(record.id);
    if (kept === undefined) return;
    const bytes = bytesOf(record);
    this.bytes += bytes - kept.bytes;
    kept.bytes = bytes;
    this.makeRoom(0, 0);
    if (hasEnded(record)) kept.place ??= this.ended.push(kept);
  }

  async remove({ id }: ExecutionRecord): Promise<void> {
    const kept = this.all.get(id);
    if (kept !== undefined) this.forget(kept);
  }

  async get(id: string): Promise<Lookup> {
    this.expire();
    return this.all.get(id)?.record ?? (this.evicted.has(id) ? 'evicted' : 'unknown');
  }

  async list(filter: ExecutionFilter): Promise<ExecutionPage> {
    const { functionKey, mayRead, status, limit, cursor } = filter;
    this.expire();
    const before = cursor === '' ? Number.POSITIVE_INFINITY : sequenceOf(cursor);
    // By their numbers, which are given before a request's body has come, and so before it is kept.
    const found = [...this.all.values()]
      .map(({ record }) => record)
      .filter(
        (record) =>
          sequenceOf(record.id) < before &&
          (functionKey === '' || record.functionKey === functionKey) &&
          (status === '' || record.status === status) &&
          mayRead(record.functionKey),
      )
      .sort((a, b) => sequenceOf(b.id) - sequenceOf(a.id));
    const records = found.slice(0, limit);
    return { records, next: found.length > limit ? (records.at(-1)?.id ?? '') : '' };
  }

  /** M1 */
  private makeRoom(count: number, bytes: number): boolean {
    this.expire();
    const { maxCount, maxBytes } = this.limits;
    const fits = () => this.all.size + count <= maxCount && this.bytes + bytes <= maxBytes;
    for (let { first } = this.ended; first !== null && !fits(); first = this.ended.first) {
      this.evict(first.value);
    }
    return fits();
  }

  /** M2 */
  private expire(): void {
    const oldest = this.now() - this.limits.maxAgeMs;
    for (let { first } = this.ended; first !== null; first = this.ended.first) {
      if ((first.value.record.endedAt as number) >= oldest) return;
      this.evict(first.value);
    }
  }

  private evict(kept: Kept): void {
    this.forget(kept);
    const { id } = kept.record;
    const before = this.remembered[this.nextRemembered];
    if (before !== undefined) this.evicted.delete(before);
    this.remembered[this.nextRemembered] = id;
    this.nextRemembered = (this.nextRemembered + 1) % REMEMBERED;
    this.evicted.add(id);
  }

  private forget(kept: Kept): void {
    this.all.delete(kept.record.id);
    if (kept.place !== null) this.ended.remove(kept.place);
    this.bytes -= kept.bytes;
    this.forgotten(kept.record.id);
  }
}

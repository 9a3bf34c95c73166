/**
 * Executions in memory, gone with the process.
 *
 * Invariants:
 *  M1. Never more than `maxCount` nor, when something is created, more than `maxBytes`: the one that ended first goes first,
 *      one that has not ended never. What an execution gains while it runs (its output) may evict others, not itself.
 *  M2. One that ended longer ago than `maxAgeMs` is not there.
 *  M3. The ids of the last `REMEMBERED` that went are remembered.
 */
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
}

export class MemoryStore implements ExecutionStore {
  private readonly limits: MemoryStoreLimits;
  private readonly now: () => number;
  /** In the order they were created. */
  private readonly all = new Map<string, Kept>();
  /** In the order they ended. */
  private readonly ended = new Set<Kept>();
  private readonly evicted = new Set<string>();
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
    const kept = { record, bytes: bytesOf(record) };
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
    if (hasEnded(record)) this.ended.add(kept);
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
    const records: ExecutionRecord[] = [];
    const newestFirst = [...this.all.values()].reverse();
    // The one that the page before ended with may be gone by now: then what is older than it.
    const before = cursor === '' ? Number.POSITIVE_INFINITY : sequenceOf(cursor);
    for (const { record } of newestFirst) {
      if (sequenceOf(record.id) >= before) continue;
      if (functionKey !== '' && record.functionKey !== functionKey) continue;
      if (!mayRead(record.functionKey)) continue;
      if (status !== '' && record.status !== status) continue;
      if (records.length === limit) return { records, next: records.at(-1)?.id ?? '' };
      records.push(record);
    }
    return { records, next: '' };
  }

  /** M1 */
  private makeRoom(count: number, bytes: number): boolean {
    this.expire();
    const { maxCount, maxBytes } = this.limits;
    const fits = () => this.all.size + count <= maxCount && this.bytes + bytes <= maxBytes;
    for (const kept of this.ended) {
      if (fits()) return true;
      this.evict(kept);
    }
    return fits();
  }

  /** M2 */
  private expire(): void {
    const oldest = this.now() - this.limits.maxAgeMs;
    for (const kept of this.ended) {
      if ((kept.record.endedAt as number) >= oldest) return;
      this.evict(kept);
    }
  }

  private evict(kept: Kept): void {
    this.forget(kept);
    this.evicted.add(kept.record.id);
    if (this.evicted.size > REMEMBERED) {
      const [first] = this.evicted;
      this.evicted.delete(first as string);
    }
  }

  private forget(kept: Kept): void {
    this.all.delete(kept.record.id);
    this.ended.delete(kept);
    this.bytes -= kept.bytes;
    this.forgotten(kept.record.id);
  }
}

/**
 * Dead letters in memory, gone with the process.
 *
 * Invariants:
 *  Q1. No function has more than `maxCount` or `maxBytes`, and all have no more than `maxTotalBytes`: the oldest go first.
 *  Q2. A function without letters takes no memory.
 */
import { type DeadLetter, keptLetter, letterBytes } from './letter.ts';
import type {
  DeadLetterFilter,
  DeadLetterPage,
  DeadLetterStore,
  DeadLetterUsage,
} from './store.ts';

export interface DeadLetterLimits {
  /** Of each function. */
  readonly maxCount: number;
  readonly maxBytes: number;
  /** Of all functions together. */
  readonly maxTotalBytes: number;
}

interface Kept {
  readonly letter: DeadLetter;
  readonly bytes: number;
  /** In the order they came. */
  readonly sequence: number;
}

interface Queue {
  readonly kept: Set<Kept>;
  bytes: number;
}

const NONE: DeadLetterUsage = { count: 0, bytes: 0 };

export class MemoryDeadLetters implements DeadLetterStore {
  private readonly limits: DeadLetterLimits;
  /** In the order they came. */
  private readonly all = new Map<string, Kept>();
  private readonly queues = new Map<string, Queue>();
  private bytes = 0;
  private last = 0;

  constructor(limits: DeadLetterLimits) {
    this.limits = limits;
  }

  async put(letter: DeadLetter): Promise<readonly DeadLetter[]> {
    const known = this.all.get(letter.id);
    if (known !== undefined) this.forget(known);
    const kept = {
      ...{ letter: keptLetter(letter), bytes: letterBytes(letter) },
      sequence: ++this.last,
    };
    let queue = this.queues.get(letter.functionKey);
    if (queue === undefined) {
      queue = { kept: new Set(), bytes: 0 };
      this.queues.set(letter.functionKey, queue);
    }
    queue.kept.add(kept);
    queue.bytes += kept.bytes;
    this.all.set(letter.id, kept);
    this.bytes += kept.bytes;
    return this.makeRoom(queue);
  }

  async get(id: string): Promise<DeadLetter | undefined> {
    return this.all.get(id)?.letter;
  }

  async list({ functionKey, shows, limit, cursor }: DeadLetterFilter): Promise<DeadLetterPage> {
    const from =
      functionKey === '' ? this.all.values() : (this.queues.get(functionKey)?.kept ?? []);
    const before = cursor === '' ? Number.POSITIVE_INFINITY : Number(cursor);
    const letters: DeadLetter[] = [];
    let last = 0;
    for (const { letter, sequence } of [...from].reverse()) {
      if (sequence >= before || !shows(letter.functionKey)) continue;
      if (letters.length === limit) return { letters, next: String(last) };
      letters.push(letter);
      last = sequence;
    }
    return { letters, next: '' };
  }

  async oldest(functionKey: string, limit: number): Promise<readonly DeadLetter[]> {
    const letters: DeadLetter[] = [];
    for (const { letter } of this.queues.get(functionKey)?.kept ?? []) {
      if (letters.length === limit) break;
      letters.push(letter);
    }
    return letters;
  }

  async remove(id: string): Promise<boolean> {
    const kept = this.all.get(id);
    if (kept !== undefined) this.forget(kept);
    return kept !== undefined;
  }

  async removeAll(functionKey: string): Promise<number> {
    const all = [...(this.queues.get(functionKey)?.kept ?? [])];
    for (const kept of all) this.forget(kept);
    return all.length;
  }

  async usage(functionKey: string): Promise<DeadLetterUsage> {
    if (functionKey === '') return { count: this.all.size, bytes: this.bytes };
    const queue = this.queues.get(functionKey);
    return queue === undefined ? NONE : { count: queue.kept.size, bytes: queue.bytes };
  }

  /** Q1 */
  private makeRoom(queue: Queue): DeadLetter[] {
    const { maxCount, maxBytes, maxTotalBytes } = this.limits;
    const gone: DeadLetter[] = [];
    const evict = (kept: Kept): void => {
      this.forget(kept);
      gone.push(kept.letter);
    };
    const isOver = () => queue.kept.size > maxCount || queue.bytes > maxBytes;
    // Looked at only then: a Set's first is behind a hole for each that was deleted.
    if (isOver()) {
      for (const kept of queue.kept) {
        evict(kept);
        if (!isOver()) break;
      }
    }
    if (this.bytes > maxTotalBytes) {
      for (const kept of this.all.values()) {
        evict(kept);
        if (this.bytes <= maxTotalBytes) break;
      }
    }
    return gone;
  }

  private forget(kept: Kept): void {
    const { id, functionKey } = kept.letter;
    const queue = this.queues.get(functionKey) as Queue;
    this.all.delete(id);
    this.bytes -= kept.bytes;
    queue.kept.delete(kept);
    queue.bytes -= kept.bytes;
    if (queue.kept.size === 0) this.queues.delete(functionKey); // Q2
  }
}

/**
 * The dead letters: taken in, found, replayed, deleted.
 *
 * Invariants:
 *  Z1. A replay removes its letter once what it leads to was accepted, and not before: whatever fails leaves it.
 *  Z2. A letter is replayed once at a time.
 */
import type { ErrorCode } from '@simmer/protocol/errors';
import type { ProcessCounters } from '../../shared/counters.ts';
import type { LogLine } from '../../shared/messages.ts';
import type { FunctionTable } from '../function-table.ts';
import type { CallbackLetter, DeadLetter, ExecutionLetter } from './letter.ts';
import type { DeadLetterStore } from './store.ts';

/** Replayed by one request, at most: each is an execution of its own. */
const MAX_REPLAYS = 1_000;

/** What a replay led to. `status`: of the execution. */
export type Replayed =
  | { readonly ok: true; readonly executionId: string; readonly status: string }
  | {
      readonly ok: false;
      readonly code: ErrorCode;
      readonly detail: string;
      readonly retryAfterSeconds: number;
    };

export interface DeadLettersPorts {
  log(line: LogLine): void;
  replayExecution(letter: ExecutionLetter): Promise<Replayed>;
  /** Delivers it once more. */
  replayCallback(letter: CallbackLetter): Promise<Replayed>;
}

export class DeadLetters {
  private readonly store: DeadLetterStore;
  private readonly functions: FunctionTable;
  private readonly counters: ProcessCounters;
  private readonly ports: DeadLettersPorts;
  /** Z2 */
  private readonly replaying = new Set<string>();

  constructor(
    store: DeadLetterStore,
    functions: FunctionTable,
    counters: ProcessCounters,
    ports: DeadLettersPorts,
  ) {
    this.store = store;
    this.functions = functions;
    this.counters = counters;
    this.ports = ports;
  }

  /** Never rejects: what cannot be kept is told in the log. */
  async add(letter: DeadLetter): Promise<void> {
    const { functionKey, attempts, error } = letter;
    this.functions.get(functionKey)?.counters.count('deadLettered');
    this.log('warn', 'dead letter', letter, { code: error.code, attempts: attempts.length });
    try {
      for (const gone of await this.store.put(letter)) {
        this.functions.get(gone.functionKey)?.counters.count('deadLettersDropped');
        this.log('warn', 'dead letter dropped: no room', gone);
      }
      await this.count();
    } catch (error) {
      this.log('error', 'dead letter not kept', letter, { error: (error as Error).message });
    }
  }

  get(id: string): Promise<DeadLetter | undefined> {
    return this.store.get(id);
  }

  list: DeadLetterStore['list'] = (filter) => this.store.list(filter);

  async remove(id: string): Promise<boolean> {
    const removed = await this.store.remove(id);
    await this.count();
    return removed;
  }

  async removeAll(functionKey: string): Promise<number> {
    const removed = await this.store.removeAll(functionKey);
    await this.count();
    return removed;
  }

  /** Z1 */
  async replay(letter: DeadLetter): Promise<Replayed> {
    const { id, functionKey } = letter;
    if (this.replaying.has(id)) {
      const detail = `Dead letter ${id} is being replayed.`;
      return { ok: false, code: 'dead_letter_busy', detail, retryAfterSeconds: 0 };
    }
    this.replaying.add(id);
    try {
      const replayed = await this.replayOne(letter);
      if (replayed.ok) {
        this.functions.get(functionKey)?.counters.count('replays');
        this.log('info', 'dead letter replayed', letter, { as: replayed.executionId });
        await this.remove(id);
      }
      return replayed;
    } finally {
      this.replaying.delete(id);
    }
  }

  /** Oldest first, until one is refused: why, if none was accepted. */
  async replayAll(
    functionKey: string,
  ): Promise<Replayed | { readonly replayed: readonly string[]; readonly remaining: number }> {
    const replayed: string[] = [];
    for (const letter of await this.store.oldest(functionKey, MAX_REPLAYS)) {
      const one = await this.replay(letter);
      if (one.ok) replayed.push(one.executionId);
      else if (one.code === 'dead_letter_busy') continue;
      else if (replayed.length === 0) return one;
      else break;
    }
    return { replayed, remaining: (await this.store.usage(functionKey)).count };
  }

  private async replayOne(letter: DeadLetter): Promise<Replayed> {
    if (letter.reason === 'execution') return this.ports.replayExecution(letter);
    return this.ports.replayCallback(letter);
  }

  private async count(): Promise<void> {
    const { count, bytes } = await this.store.usage('');
    this.counters.deadLetters = count;
    this.counters.deadLetterBytes = bytes;
  }

  private log(level: LogLine['level'], message: string, letter: DeadLetter, more: object = {}) {
    const { id, executionId, functionKey, traceId, reason } = letter;
    const fields = { function: functionKey, executionId, traceId, reason, deadLetter: id, ...more };
    this.ports.log({ level, message, fields });
  }
}

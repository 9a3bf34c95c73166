/**
 * What handlers printed, by execution, within bounds: each attempt may say so much, and all together may take so much memory.
 * Lines of asynchronous executions go with their record; those of synchronous ones only make way for newer ones.
 *
 * Invariants:
 *  L1. An attempt keeps at most `attemptBytes`, as the protocol counts them, whatever its pod sends.
 *  L2. A shelf never holds more than its bytes: the executions whose first line is the oldest go first, whole.
 *  L3. What is missing is told: a cut line, a line left out, and an execution whose lines have gone.
 */
import type { Log, LogLevel } from '@simmer/protocol/frames';
import { LOG_LINE_BYTES } from '@simmer/protocol/limits';
import { sequenceOf } from './ids.ts';
import type { Invocation } from './invocation.ts';

export interface LogLimits {
  /** Of one attempt; 0: nothing is kept, nor asked of the pods. */
  readonly attemptBytes: number;
  /** Of all asynchronous executions. */
  readonly maxBytes: number;
  /** Of all synchronous ones. */
  readonly syncMaxBytes: number;
}

export interface PrintedLine {
  /** When it came: epoch milliseconds. */
  readonly at: number;
  readonly attempt: number;
  readonly level: LogLevel;
  readonly text: string;
}

/** What one execution printed. */
export interface ExecutionLog {
  readonly functionKey: string;
  readonly lines: readonly PrintedLine[];
  readonly truncated: boolean;
}

/** A line beside its text, and an execution's entry: objects, times, its place in the table. Rough. */
const LINE_BYTES = 80;
const ENTRY_BYTES = 300;

class Entry implements ExecutionLog {
  readonly id: string;
  readonly functionKey: string;
  readonly lines: PrintedLine[] = [];
  truncated = false;
  /** Memory. */
  bytes = ENTRY_BYTES;
  /** Of the attempt that printed last (L1). */
  attempt = 0;
  attemptBytes = 0;
  // Its place on the shelf: a list, because a Map is slow to tell which of its keys is the oldest.
  older: Entry | null = null;
  newer: Entry | null = null;

  constructor(id: string, functionKey: string) {
    this.id = id;
    this.functionKey = functionKey;
  }
}

class Shelf {
  private readonly maxBytes: number;
  private readonly entries = new Map<string, Entry>();
  private oldest: Entry | null = null;
  private newest: Entry | null = null;
  private bytes = 0;
  /** Of the executions whose lines made way, the one that was numbered last. */
  private goneUpTo = 0;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  get(id: string): Entry | undefined {
    return this.entries.get(id);
  }

  /** Whether lines of it may have made way: all that is remembered is how far that has gone. */
  mayBeGone(id: string): boolean {
    return sequenceOf(id) <= this.goneUpTo;
  }

  open(id: string, functionKey: string): Entry {
    const entry = new Entry(id, functionKey);
    entry.truncated = this.mayBeGone(id);
    this.entries.set(id, entry);
    entry.older = this.newest;
    if (this.newest === null) this.oldest = entry;
    else this.newest.newer = entry;
    this.newest = entry;
    this.bytes += entry.bytes;
    this.makeRoom();
    return entry;
  }

  put(entry: Entry, line: PrintedLine): void {
    const bytes = LINE_BYTES + 2 * line.text.length;
    entry.lines.push(line);
    entry.bytes += bytes;
    this.bytes += bytes;
    this.makeRoom();
  }

  /** L2 */
  private makeRoom(): void {
    while (this.bytes > this.maxBytes && this.oldest !== null) {
      this.goneUpTo = Math.max(this.goneUpTo, sequenceOf(this.oldest.id));
      this.remove(this.oldest);
    }
  }

  remove(entry: Entry): void {
    const { older, newer } = entry;
    if (older === null) this.oldest = newer;
    else older.newer = newer;
    if (newer === null) this.newest = older;
    else newer.older = older;
    this.entries.delete(entry.id);
    this.bytes -= entry.bytes;
  }
}

export class ExecutionLogs {
  readonly attemptBytes: number;
  private readonly wallClock: () => number;
  private readonly kept: Shelf;
  private readonly passing: Shelf;

  constructor(limits: LogLimits, wallClock: () => number) {
    this.attemptBytes = limits.attemptBytes;
    this.wallClock = wallClock;
    this.kept = new Shelf(limits.maxBytes);
    this.passing = new Shelf(limits.syncMaxBytes);
  }

  /** A line of the attempt that runs. */
  add(invocation: Invocation, { level, text, cut = false }: Log): void {
    const { id, attempts } = invocation;
    const shelf = invocation.observer === null ? this.passing : this.kept;
    const entry = shelf.get(id) ?? shelf.open(id, invocation.fn.key);
    if (entry.attempt !== attempts) {
      entry.attempt = attempts;
      entry.attemptBytes = 0;
    }
    if (cut) entry.truncated = true;
    if (cut && text === '') return;
    // Never over by what the pod counts: a character takes at least a byte.
    const bytes = LOG_LINE_BYTES + text.length;
    if (entry.attemptBytes + bytes > this.attemptBytes) {
      entry.truncated = true; // L1
      return;
    }
    entry.attemptBytes += bytes;
    shelf.put(entry, { at: this.wallClock(), attempt: attempts, level, text });
  }

  /** undefined: none of its lines is here. */
  get(id: string): ExecutionLog | undefined {
    return this.kept.get(id) ?? this.passing.get(id);
  }

  /** Whether an execution of which nothing is here may have printed all the same. */
  mayBeGone(id: string): boolean {
    return this.kept.mayBeGone(id) || this.passing.mayBeGone(id);
  }

  /** Its record is kept no longer. */
  forget(id: string): void {
    const entry = this.kept.get(id);
    if (entry !== undefined) this.kept.remove(entry);
  }
}

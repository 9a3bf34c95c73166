/**
 * Log lines of the scheduler thread on their way to the control thread, which writes them: gathered and posted a few
 * times a second, bounded, so that a storm of failures costs the warm path an array push each and no more.
 */
import type { ProcessCounters } from '../shared/counters.ts';
import type { LogLine, ToControl } from '../shared/messages.ts';

export const FLUSH_INTERVAL_MS = 50;
const MAX_LINES_PER_FLUSH = 500;

export class LogBuffer {
  private lines: LogLine[] = [];
  private dropped = 0;
  private whenFull: (() => void) | null = null;
  private readonly counters: ProcessCounters;

  constructor(counters: ProcessCounters) {
    this.counters = counters;
  }

  add(line: LogLine): void {
    if (this.lines.length >= MAX_LINES_PER_FLUSH) this.whenFull?.();
    if (this.lines.length < MAX_LINES_PER_FLUSH) this.lines.push(line);
    else this.dropped++;
  }

  /** From here on none is dropped: what the process ends with is told whole, whatever that costs. */
  keepAll(post: (message: ToControl) => void): void {
    this.whenFull = () => this.flush(post);
  }

  /** What has gathered, as one message; a line says how many did not fit. */
  flush(post: (message: ToControl) => void): void {
    if (this.lines.length === 0) return;
    const { lines, dropped } = this;
    this.lines = [];
    this.dropped = 0;
    if (dropped > 0) {
      this.counters.droppedLogLines += dropped;
      lines.push({ level: 'warn', message: 'log lines dropped', fields: { dropped } });
    }
    post({ type: 'log', lines });
  }
}

/**
 * What the handler prints: one JSON line on standard output each, tagged with the attempt that printed it.
 *
 * Lines are written at once, not batched: the last line before a handler blocks its loop for good is the one its author
 * needs. `process.stdout` is opened at the first line, so a silent handler does not pay for it.
 */
import { format, inspect } from 'node:util';
import type { LogLevel } from '@simmer/protocol/frames';
import type { Attempt } from './attempt.ts';

/** Output that the reader of our pipe has not taken yet; past this, lines are dropped and counted. */
const MAX_BACKLOG_BYTES = 4_194_304;

/** Fields beside the fixed ones. */
export type LogFields = Readonly<Record<string, unknown>>;

const FIXED = new Set(['time', 'level', 'function', 'executionId', 'traceId', 'message']);

export class Log {
  /** The attempt whose code runs now, if any. */
  private readonly current: () => Attempt | undefined;
  private prefix = '';
  private opened = false;
  private dropped = 0;

  constructor(functionKey: string, current: () => Attempt | undefined) {
    this.current = current;
    this.functionKey = functionKey;
  }

  /** Stands in each line. */
  set functionKey(functionKey: string) {
    this.prefix = `,"function":${JSON.stringify(functionKey)}`;
  }

  /** One line. `attempt`: whose it is; by default the one whose code runs now. */
  write(
    level: LogLevel,
    message: string,
    fields?: LogFields,
    attempt: Attempt | undefined = this.current(),
  ): void {
    let line = `{"time":"${new Date().toISOString()}","level":"${level}"${this.prefix}`;
    if (attempt !== undefined) {
      line += `,"executionId":${JSON.stringify(attempt.executionId)}`;
      line += `,"traceId":${JSON.stringify(attempt.traceId)}`;
    }
    line += `,"message":${JSON.stringify(message)}`;
    const more = fields === undefined ? '' : extra(fields);
    this.print(`${line}${more}}\n`);
    if (attempt?.wantsLogs === true) attempt.sendLog(level, message + shown(fields, more));
  }

  /** Makes the global console write such lines. What bypasses it (`process.stdout.write`) passes through untouched. */
  takeOverConsole(): void {
    const levels = { debug: 'debug', log: 'info', info: 'info', warn: 'warn', error: 'error' };
    for (const [method, level] of Object.entries(levels)) {
      console[method as 'log'] = (...args: unknown[]) => {
        this.write(level as LogLevel, args.length === 1 ? plain(args[0]) : format(...args));
      };
    }
    console.trace = (...args: unknown[]) => {
      const trace = { name: 'Trace', message: format(...args), stack: '' };
      Error.captureStackTrace(trace, console.trace);
      this.write('debug', trace.message, { stack: trace.stack });
    };
    // The rest (table, count, group, assert, timeEnd, ...) prints through the methods above; dir alone does not.
    console.dir = (item: unknown, options?: object) => {
      this.write('info', inspect(item, { customInspect: false, ...options }));
    };
  }

  private print(line: string): void {
    const out = process.stdout;
    if (!this.opened) {
      this.opened = true;
      // Of many lines at once the kernel may say ENOBUFS, and the stream would be silent from then on: line by line.
      (out as { _writev: unknown })._writev = null;
      // Whoever read it may be gone; that must not count as the handler's crash.
      out.on('error', () => {});
    }
    if (out.writableLength > MAX_BACKLOG_BYTES) {
      this.dropped++;
      return;
    }
    if (this.dropped > 0) {
      const lines = this.dropped;
      this.dropped = 0;
      this.write('warn', `${lines} lines were dropped: the output is not read fast enough`);
    }
    out.write(line);
  }
}

function plain(value: unknown): string {
  return typeof value === 'string' ? value : format(value);
}

/** How fields stand behind a message. A stack is for whoever reads the pod's log. */
function shown(fields: LogFields | undefined, written: string): string {
  return written === '' || fields?.['stack'] !== undefined ? '' : ` {${written.slice(1)}}`;
}

/** The author's fields, which never replace the fixed ones. What JSON cannot say is inspected. */
function extra(fields: LogFields): string {
  let text = '';
  for (const key of Object.keys(fields)) {
    if (FIXED.has(key)) continue;
    let value: string | undefined;
    try {
      value = JSON.stringify(fields[key]);
    } catch {
      value = JSON.stringify(inspect(fields[key]));
    }
    if (value !== undefined) text += `,${JSON.stringify(key)}:${value}`;
  }
  return text;
}

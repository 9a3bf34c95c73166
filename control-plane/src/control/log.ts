/** The log: JSON lines on standard output, written by this thread alone. */
import pino from 'pino';
import type { Config } from '../config/config.ts';

export type Log = pino.Logger;

/** Where lines go. */
export interface LogSink {
  write(line: string): void;
}

/**
 * Synchronous: a line that tells of a crash must not die in a buffer. `sink` is the process's standard output, written
 * by its descriptor: a worker's `process.stdout` goes through the main thread, whose time is the scheduler's.
 */
export function standardOutput(): LogSink {
  return pino.destination({ fd: 1, sync: true });
}

/** A logger whose lines have a level's name and an ISO 8601 time. */
export function createLog(level: Config['logLevel'], sink: LogSink): Log {
  return pino(
    {
      level,
      base: null,
      // As the runtime's own lines name it.
      messageKey: 'message',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    sink,
  );
}

/** A line that a pod printed as a line of the log. */
import type { Log, LogSink } from '../log.ts';
import type { StreamName } from './pod-output.ts';

export interface PodName {
  readonly podId: string;
  readonly functionKey: string;
}

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
type Level = (typeof LEVELS)[number];

/**
 * The runtime's own lines (JSON objects with a level and a message, which carry function, execution and trace id) get
 * the pod's id and go on as they are; any other is the message of a new line.
 */
export function logPodLine(
  log: Log,
  sink: LogSink,
  pod: PodName,
  stream: StreamName,
  line: string,
): void {
  const level = levelOfStructured(line);
  if (level !== undefined) {
    if (!log.isLevelEnabled(level)) return;
    sink.write(`${line.trimEnd().slice(0, -1)},"podId":${JSON.stringify(pod.podId)}}\n`);
    return;
  }
  const fields = { podId: pod.podId, function: pod.functionKey, stream };
  log[stream === 'stdout' ? 'info' : 'warn'](fields, line);
}

/** The level of a line that is a structured log line, else undefined. */
function levelOfStructured(line: string): Level | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const { level, message } = JSON.parse(line) as { level?: unknown; message?: unknown };
    return typeof message === 'string' ? LEVELS.find((l) => l === level) : undefined;
  } catch {
    return undefined;
  }
}

const MAX_REASON_CHARS = 500;
/** What Node prints below the message of an uncaught error: the stack, a brace, its own version. */
const NO_MESSAGE = /^(\s|Node\.js v|[{}[\]^]+$)/;

/** Remembers the line of stderr that says best why a process ended. */
export class LastWords {
  private text = '';

  note(line: string): void {
    if (NO_MESSAGE.test(line)) return;
    this.text = messageOf(line).slice(0, MAX_REASON_CHARS);
  }

  /** Appended to an exit reason: `: message`, or nothing. */
  get suffix(): string {
    return this.text === '' ? '' : `: ${this.text}`;
  }
}

function messageOf(line: string): string {
  if (!line.startsWith('{')) return line;
  try {
    const { message } = JSON.parse(line) as { message?: unknown };
    return typeof message === 'string' ? message : line;
  } catch {
    return line;
  }
}

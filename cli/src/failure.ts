/** How a command fails: a line for people, and an exit code for scripts. */

/** docs/command-line.md tells of them. */
export const EXIT = {
  /** The call was made and failed: the handler, its pod, its result. */
  failed: 1,
  /** The command itself is wrong, or what it was given is. */
  usage: 2,
  /** No such function, execution, letter, file. */
  notFound: 3,
  /** The key is missing, unknown, or may not. */
  denied: 4,
  /** The server takes no more now: try again later. */
  busy: 5,
  /** The time passed. */
  timedOut: 6,
  /** The server does not answer. */
  unreachable: 7,
} as const;

export class Failure extends Error {
  readonly exitCode: number;
  /** What `--json` prints of it. */
  readonly json: unknown;

  constructor(exitCode: number, message: string, json?: unknown) {
    super(message);
    this.exitCode = exitCode;
    this.json = json ?? { detail: message };
  }
}

/** By the status of the answer. */
export function exitCodeOf(status: number): number {
  if (status === 401 || status === 403) return EXIT.denied;
  if (status === 404 || status === 410) return EXIT.notFound;
  if (status === 429 || status === 503) return EXIT.busy;
  if (status === 504) return EXIT.timedOut;
  return status === 499 || status >= 500 ? EXIT.failed : EXIT.usage;
}

/**
 * Watches how much memory the process takes: a limit that a function brings with it cannot be set on a process that runs. What its
 * launcher set (a container's limit) is the hard one, and ends it without a word.
 */

/** A read takes a few microseconds; what grows by gigabytes a second is for the hard limit. */
const WATCH_INTERVAL_MS = 100;

export interface MemoryWatchOptions {
  readonly limitBytes: number;
  /** Resident bytes now. */
  readonly resident: () => number;
  /** Once; then it watches no more. */
  readonly onOver: (residentBytes: number) => void;
}

/** Looks at once, and from then on; it keeps no process alive. */
export function watchMemory({ limitBytes, resident, onOver }: MemoryWatchOptions): void {
  const look = () => {
    const now = resident();
    if (now <= limitBytes) return;
    clearInterval(timer);
    onOver(now);
  };
  const timer = setInterval(look, WATCH_INTERVAL_MS);
  timer.unref();
  look();
}

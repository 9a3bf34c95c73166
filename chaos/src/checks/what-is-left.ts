/** Nothing is left of the load: not in the books, not in memory, not among the processes. */
import { type Check, each, type Indexed } from './indexed.ts';

/** Memory after the run, of what it was before. */
export const MEMORY_RATIO = 1.5;

export function nothingIsLeft({ all }: Indexed): Check {
  const { accepted, ended, ...left } = all.books;
  return each(
    'nothing is queued, runs, waits or is held',
    Object.entries(left),
    ([what, value]) => {
      return value !== 0 && `${what}: ${value}`;
    },
  );
}

export function booksAddUp({ all }: Indexed): Check {
  const { accepted, ended, queued, running, waiting } = all.books;
  const sum = queued + running + waiting + ended;
  return {
    name: 'accepted = queued + running + waiting + ended',
    looked: accepted,
    violations:
      accepted === sum ? [] : [`${accepted} = ${queued} + ${running} + ${waiting} + ${ended}`],
  };
}

export function memoryIsBack({ all }: Indexed): Check {
  const { before, after, peak } = all.memory;
  const ratio = after / before;
  const mib = (bytes: number) => `${Math.round(bytes / 1_048_576)} MiB`;
  return {
    name: `memory is back at its level, within ${MEMORY_RATIO} of it (${ratio.toFixed(2)})`,
    looked: before,
    violations:
      ratio <= MEMORY_RATIO
        ? []
        : [`${mib(before)} before, ${mib(after)} after, ${mib(peak)} at most`],
  };
}

export function processesAreKnown({ all }: Indexed): Check {
  const listed = new Set(all.processes.listed);
  return each(
    'at rest no process runs but the pods that it lists',
    all.processes.running,
    (pid) => {
      return !listed.has(pid) && `process ${pid}`;
    },
  );
}

export function endsCleanly({ all }: Indexed): Check {
  const violations = all.survivors.map((pid) => `pod ${pid} outlives it`);
  if (all.exit !== 0) violations.push(`it ended with ${all.exit}`);
  return { name: 'on SIGTERM it ends with 0, and its pods with it', looked: 1, violations };
}

export function noErrors({ all }: Indexed): Check {
  return { name: 'its log holds no error', looked: 1, violations: all.errors };
}

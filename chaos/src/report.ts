/** The run for a person: what was done, and each check. */
import type { Check } from './checks/indexed.ts';
import type { Evidence } from './evidence.ts';
import type { Plan } from './plan.ts';

/** Of each check; the rest is counted. */
const SHOWN_VIOLATIONS = 10;

export function introduction({ seed, seconds, clients, faults, changes }: Plan): string {
  const kills = faults.filter(({ kind }) => kind === 'kill').length;
  return [
    `Chaos: seed ${seed}, ${seconds} s (again: make chaos ARGS='--seconds ${seconds} --seed ${seed}')`,
    `Planned: ${clients} clients, ${kills} kills and ${faults.length - kills} freezes of pods, ${changes.length} changes of a manifest`,
  ].join('\n');
}

export function summary(e: Evidence): string {
  const shots = (kind: string) => e.shots.filter((shot) => shot.kind === kind).length;
  const retried = e.runs.filter((run) => run.attempt > 1).length;
  const mib = (bytes: number) => `${Math.round(bytes / 1_048_576)} MiB`;
  return [
    `Requests     ${e.offers.length}: ${tally(e.offers.map(({ route }) => route))}`,
    `  conduct    ${tally(e.offers.map(({ conduct }) => conduct))}`,
    `  answers    ${tally(e.offers.map(({ fate }) => (fate.kind === 'told' ? fate.told.code : fate.kind)))}`,
    `Followed     ${e.followed.length}: ${tally(e.followed.map(({ ends }) => ends[0]?.status ?? 'evicted'))}`,
    `Attempts     ${e.runs.length}, ${retried} of them retries: ${tally(e.runs.map((run) => run.outcome ?? 'no end'))}`,
    `Callbacks    ${e.deliveries.length} requests, ${e.deliveries.filter(({ taken }) => taken).length} of them taken`,
    `Dead letters ${e.letters.length}: ${tally(e.letters.map(({ reason }) => reason))}; ${e.followed.filter((one) => one.replayOf !== '').length} replayed`,
    `Pods         ${shots('kill')} killed, ${shots('freeze')} frozen, ${shots('thaw')} continued`,
    `Memory       ${mib(e.memory.before)} before, ${mib(e.memory.after)} after, ${mib(e.memory.peak)} at most`,
  ].join('\n');
}

function tally(names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  const inOrder = [...counts].sort((a, b) => b[1] - a[1]);
  return inOrder.map(([name, count]) => `${name} ${count}`).join(', ');
}

export function verdict(checks: readonly Check[]): string {
  return checks
    .flatMap(({ name, looked, violations }) => {
      const shown = violations.slice(0, SHOWN_VIOLATIONS).map((text) => `       ${text}`);
      const more = violations.length - shown.length;
      if (more > 0) shown.push(`       and ${more} more`);
      return [
        `${passes({ name, looked, violations }) ? 'ok    ' : 'FAILED'} ${name} [${looked}]`,
        ...shown,
      ];
    })
    .join('\n');
}

/** Nothing was found, and there was something to look at. */
export function passes({ looked, violations }: Check): boolean {
  return violations.length === 0 && looked > 0;
}

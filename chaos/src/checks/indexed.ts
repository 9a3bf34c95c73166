/** What a check is, and the evidence with what several of them look up. */
import type { Evidence, Offer, Shot, Told } from '../evidence.ts';
import type { Run } from '../ledger.ts';

export interface Check {
  /** What holds. */
  readonly name: string;
  /** What was looked at: a check that looked at nothing shows nothing. */
  readonly looked: number;
  /** Each a sentence; none: it holds. */
  readonly violations: readonly string[];
}

/** Between a shot and its note, or what it stops: a busy machine. */
const SHOT_MS = 1_000;
/** The evidence, with what several checks look up. */
export class Indexed {
  readonly all: Evidence;
  readonly runsOfExecution: ReadonlyMap<string, Run[]>;
  readonly runsOfOp: ReadonlyMap<string, Run[]>;
  /** Offers that were answered, with the answer. */
  readonly answers: readonly (Offer & { readonly told: Told })[];
  /** What was done to each pod, in order. */
  private readonly shots: ReadonlyMap<number, Shot[]>;

  constructor(all: Evidence) {
    this.all = all;
    this.runsOfExecution = grouped(all.runs, (run) => run.executionId);
    this.runsOfOp = grouped(all.runs, (run) => run.op);
    this.answers = all.offers.flatMap((offer) =>
      offer.fate.kind === 'told' ? [{ ...offer, told: offer.fate.told }] : [],
    );
    this.shots = grouped(all.shots, (shot) => shot.pid);
  }

  /** Its pod was killed or frozen while it ran, or shortly before: then it may have waited in its socket. */
  wasShot(run: Run): boolean {
    return this.wasShotBefore(run, run.lastAt + SHOT_MS);
  }

  /** Its pod was shot or given up, then or later: what it had to say may be lost. */
  wasLost(run: Run): boolean {
    return this.all.givenUp.includes(run.pid) || this.wasShotBefore(run, Number.POSITIVE_INFINITY);
  }

  private wasShotBefore({ pid, startedAt }: Run, end: number): boolean {
    const shots = this.shots.get(pid) ?? [];
    return shots.some(({ kind, at }, i) => {
      const until = kind === 'freeze' ? (shots[i + 1]?.at ?? Number.POSITIVE_INFINITY) : at;
      return at <= end && until >= startedAt - SHOT_MS;
    });
  }
}

export function grouped<T, K>(all: readonly T[], keyOf: (one: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const one of all) {
    const key = keyOf(one);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [one]);
    else group.push(one);
  }
  return groups;
}

/** A check of each of these: `fault` says what is wrong with one. */
export function each<T>(
  name: string,
  all: readonly T[],
  fault: (one: T) => string | undefined | false,
): Check {
  const violations = all.map(fault).filter((text) => typeof text === 'string');
  return { name, looked: all.length, violations };
}

/**
 * Who gets the pods of a generic pool. Pure: what there is and who asks in, how many each gets out.
 *
 * Rules:
 *  F1. Askers are served in the order in which they first asked, one pod each in turn.
 *  F2. Nobody gets more than its share of the pool's pods before everybody who asks for less has what it lacks.
 *  F3. Beyond its share nobody gets the last pod: one that has never run finds it.
 */

export interface Supply {
  /** To be handed out. */
  readonly idle: number;
  /** Pods of the pool in all: those, and those that it has handed out and that still live. */
  readonly size: number;
  /** Per cent of `size` that one function may hold. */
  readonly maxShare: number;
}

export interface Asker {
  /** Pods that it lacks. */
  readonly lacks: number;
  /** Pods of this pool that it holds. */
  readonly holds: number;
}

/** How many of a pool's pods one function may hold: never less than one. */
export function shareOf({ size, maxShare }: Omit<Supply, 'idle'>): number {
  return Math.max(1, Math.floor((size * maxShare) / 100));
}

/**
 * What the asker at `index` gets of what is idle, if all is handed out now. `askers`: in order. `within`: nobody is given more
 * than its share, whoever else may ask.
 */
export function allot(
  supply: Supply,
  askers: readonly Asker[],
  index: number,
  within = false,
): number {
  if (supply.idle <= 0) return 0;
  const share = shareOf(supply);
  const gets = askers.map(() => 0);
  const left = handOut(supply.idle, askers, gets, ({ lacks, holds }) =>
    Math.min(lacks, share - holds),
  );
  if (!within) handOut(left - 1, askers, gets, ({ lacks }) => lacks);
  return gets[index] ?? 0;
}

/** One each in turn, up to what `most` says; gives what is left. */
function handOut(
  pods: number,
  askers: readonly Asker[],
  gets: number[],
  most: (asker: Asker) => number,
): number {
  let left = pods;
  for (let served = true; served && left > 0; ) {
    served = false;
    for (let i = 0; i < askers.length && left > 0; i++) {
      if ((gets[i] as number) >= most(askers[i] as Asker)) continue;
      gets[i] = (gets[i] as number) + 1;
      left--;
      served = true;
    }
  }
  return left;
}

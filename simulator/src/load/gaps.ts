/**
 * The time between a function's calls: a renewal process with a given mean and coefficient of variation (CV). CV 0 is a
 * timer; up to 1, gamma-distributed gaps, which are the more regular the smaller the CV; beyond, the hyperexponential of
 * two phases with balanced means: spells of calls at about twice the mean rate, and long silences that take half of the time.
 * (A gamma distribution of a large CV would have nearly all of its calls at the same instant.)
 */
import type { Random } from '../../../chaos/src/random.ts';

/** Milliseconds to the next call. */
export type Gaps = () => number;

/** Below it, a period's own jitter is more than the process'. */
const TIMER_CV = 1e-4;

/** `first` is from a moment at which the process has been running forever; then `next`. */
export function gapsOf(random: Random, meanMs: number, cv: number): { first: number; next: Gaps } {
  if (cv < TIMER_CV) return { first: random.next() * meanMs, next: () => meanMs };
  if (cv <= 1) {
    const shape = 1 / (cv * cv);
    const scale = meanMs / shape;
    // The gap in which a moment lies is drawn by its length; of a gamma distribution that is one of a shape larger by 1.
    const first = random.next() * scale * gamma(random, shape + 1);
    return { first, next: () => scale * gamma(random, shape) };
  }
  const square = cv * cv;
  const often = (1 + Math.sqrt((square - 1) / (square + 1))) / 2;
  const oftenMs = meanMs / (2 * often);
  const rarelyMs = meanMs / (2 * (1 - often));
  const next = () => exponential(random) * (random.next() < often ? oftenMs : rarelyMs);
  // Balanced means: half of the time passes in gaps of each phase; what is left of one is distributed as the whole.
  const first = exponential(random) * (random.next() < 0.5 ? oftenMs : rarelyMs);
  return { first, next };
}

/** Of mean 1. */
export function exponential(random: Random): number {
  return -Math.log(1 - random.next());
}

/** Of mean 0 and variance 1 (Box and Muller). */
export function normal(random: Random): number {
  return Math.sqrt(2 * exponential(random)) * Math.cos(2 * Math.PI * random.next());
}

/** Of scale 1, shape at least 1 (Marsaglia and Tsang, "A simple method for generating gamma variables", 2000). */
function gamma(random: Random, shape: number): number {
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = normal(random);
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(1 - random.next()) < 0.5 * x * x + d - d * v + d * Math.log(v)) {
      return d * v;
    }
  }
}

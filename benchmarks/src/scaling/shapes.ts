/** Load that changes: a step, a ramp, a sawtooth, spikes. Rates are calls a second, times milliseconds. */

export interface Shape {
  readonly name: string;
  readonly durationMs: number;
  /** When the load rises at once to `rateOf` of that moment; a pool has settled within three cold starts of each. */
  readonly stepsAt: readonly number[];
  /** Within which the load is steady, once the pool has had its time to shrink. */
  readonly steady: readonly { readonly fromMs: number; readonly toMs: number }[];
  rateOf(ms: number): number;
}

const LOW = 1;
const HIGH = 200;
const SPIKE_EVERY_MS = 90_000;
const SPIKE_MS = 5_000;

export const SHAPES: readonly Shape[] = [
  {
    name: 'step',
    durationMs: 180_000,
    stepsAt: [20_000],
    steady: [{ fromMs: 60_000, toMs: 100_000 }],
    rateOf: (ms) => (ms >= 20_000 && ms < 100_000 ? HIGH : LOW),
  },
  {
    name: 'ramp',
    durationMs: 150_000,
    stepsAt: [],
    steady: [],
    rateOf: (ms) => LOW + (HIGH - LOW) * Math.max(0, 1 - Math.abs(ms - 75_000) / 60_000),
  },
  {
    name: 'sawtooth',
    durationMs: 160_000,
    stepsAt: [],
    steady: [],
    rateOf: (ms) => LOW + ((HIGH - LOW) * (ms % 40_000)) / 40_000,
  },
  {
    name: 'spikes',
    durationMs: 180_000,
    stepsAt: [20_000, 20_000 + SPIKE_EVERY_MS],
    steady: [],
    rateOf: (ms) => (ms >= 20_000 && (ms - 20_000) % SPIKE_EVERY_MS < SPIKE_MS ? HIGH : LOW),
  },
];

/** 0 to 1, the same for the same seed (mulberry32). */
export function random(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let x = Math.imul(a ^ (a >>> 15), 1 | a);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** When calls arrive: a Poisson process, thinned to the rate of each moment. */
export function arrivalsOf(shape: Pick<Shape, 'durationMs' | 'rateOf'>, seed: number): number[] {
  const next = random(seed);
  const at: number[] = [];
  let now = 0;
  for (;;) {
    now += (-Math.log(1 - next()) * 1_000) / HIGH;
    if (now >= shape.durationMs) return at;
    if (next() * HIGH < shape.rateOf(now)) at.push(now);
  }
}

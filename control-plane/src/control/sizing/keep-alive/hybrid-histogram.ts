/**
 * Keep-alive that learns when a function is called again, after the hybrid histogram policy of Shahrad et al., "Serverless in the
 * Wild", USENIX ATC 2020, section 4:
 *
 *  1. Idle times are counted in a histogram of one-minute bins up to four hours. Where it is representative (its bins' counts vary
 *     enough), pods go, one is ready again before the next call is likely (not before the 5th percentile), and is kept no
 *     longer than to the 99th, with 10 per cent of margin each.
 *  2. Where half of the idle times or more are longer than the histogram, the paper forecasts the next by an ARIMA model. Here the
 *     last few idle times are weighed themselves, with the same margins: there are few of them, a day or two's, and what a
 *     forecast could find in so few is their rhythm and how far to trust it.
 *  3. Until enough is known, and where nothing tells when the next call comes: `keepAliveMs`, as the fixed policy. The first ten
 *     idle times may add to that, but take nothing from it.
 *
 * Other than in the paper, percentiles are only the bounds: within them a pod is kept for those minutes that are worth their
 * idle time (docs/adr/0012-keep-alive-weighs-calls-against-idle-time.md). One call in n that finds a pod is worth `hitShare` of an
 * nth of the function's time with a pod that idles. So a function whose calls come in spells has pods for a while after each
 * call, one with a rhythm just before the next, and one that has both, both.
 */
import { type Gainful, IdleTimes } from './idle-times.ts';
import type { IdlePlan, KeepAlive, KeepAlivePolicy, Traits } from './policy.ts';

export interface HybridSettings {
  readonly headPercent: number;
  readonly tailPercent: number;
  /** Of the head, subtracted; of the tail, added. */
  readonly margin: number;
  /** Fewer idle times tell nothing. */
  readonly minSamples: number;
  /** With fewer, a pod is kept for `keepAliveMs` at least. */
  readonly trustedSamples: number;
  /** Bins' counts whose standard deviation over mean is less are not representative. */
  readonly minVariation: number;
  /** Share of idle times longer than the histogram from which the last few decide. */
  readonly outOfBoundsShare: number;
  /** Idle time, in mean idle times of the function, that one call is worth which finds a pod. */
  readonly hitShare: number;
}

export const HYBRID_DEFAULTS: HybridSettings = {
  headPercent: 5,
  tailPercent: 99,
  margin: 0.1,
  minSamples: 2,
  trustedSamples: 10,
  minVariation: 1,
  outOfBoundsShare: 0.5,
  hitShare: 1,
};

/** A gap of less is not worth ending a pod and launching another. */
const MIN_GAP_MS = 60_000;

export class HybridHistogram implements KeepAlivePolicy {
  readonly name = 'HybridHistogram';
  private readonly settings: HybridSettings;
  private readonly functions = new Map<string, KeepAlive>();

  constructor(settings: HybridSettings = HYBRID_DEFAULTS) {
    this.settings = settings;
  }

  of(key: string): KeepAlive {
    let found = this.functions.get(key);
    if (found === undefined) {
      found = new HybridKeepAlive(this.settings);
      this.functions.set(key, found);
    }
    return found;
  }

  forget(key: string): void {
    this.functions.delete(key);
  }
}

/** What the idle times say, margins included; or why they say nothing. */
type Learned =
  | {
      readonly stayMs: number;
      readonly fromMs: number;
      readonly untilMs: number;
      readonly by: string;
    }
  | { readonly why: string };

class HybridKeepAlive implements KeepAlive {
  private readonly settings: HybridSettings;
  private readonly times = new IdleTimes();
  /** With how many idle times it is learned anew: one more of many changes little. */
  private known: { readonly learned: Learned; readonly until: number } | undefined;

  constructor(settings: HybridSettings) {
    this.settings = settings;
  }

  called(_now: number, _calls: number, idleMs: number | undefined): void {
    if (idleMs !== undefined) this.times.observe(idleMs);
  }

  plan(_now: number, traits: Traits): IdlePlan {
    const { times, settings } = this;
    if (this.known === undefined || times.observed >= this.known.until) {
      const until = times.observed + 1 + Math.floor(times.total / 16);
      this.known = { learned: learn(times, settings), until };
    }
    const { learned } = this.known;
    if ('why' in learned) return standard(traits, learned.why);
    // A few idle times may add to what one was promised, not take from it.
    const least = times.observed < settings.trustedSamples ? traits.keepAliveMs : 0;
    return asPlan(learned, least);
  }
}

function learn(times: IdleTimes, settings: HybridSettings): Learned {
  const { margin, hitShare } = settings;
  if (times.observed < settings.minSamples) return { why: 'too little is known yet' };
  const hitMs = hitShare * times.mean();
  if (times.outOfBounds >= settings.outOfBoundsShare * times.total) {
    return learned(bestOf(times.recent(), hitMs, margin), 0, 'the last idle times');
  }
  if (times.variation() < settings.minVariation) return { why: 'idle times vary too much' };
  const [head, tail] = [times.lower(settings.headPercent), times.upper(settings.tailPercent)];
  return learned(times.bestPlan(head, tail, hitMs), margin, 'the histogram of idle times');
}

function learned(best: Gainful, margin: number, by: string): Learned {
  if (best.gain <= 0) return { why: 'no longer wait is worth its idle time' };
  const [longer, sooner] = [1 + margin, 1 - margin];
  const stayMs = best.stayMs * longer;
  // No window: it ends where it begins.
  if (best.fromMs >= best.untilMs) return { stayMs, fromMs: stayMs, untilMs: stayMs, by };
  return { stayMs, fromMs: best.fromMs * sooner, untilMs: best.untilMs * longer, by };
}

function asPlan(learned: Exclude<Learned, { why: string }>, leastMs: number): IdlePlan {
  const { fromMs, untilMs, by } = learned;
  const stayMs = Math.max(learned.stayMs, leastMs);
  if (fromMs - stayMs < MIN_GAP_MS) {
    const keepMs = Math.max(stayMs, untilMs);
    return { keepMs, prewarm: undefined, reason: `by ${by}, kept for ${seconds(keepMs)}` };
  }
  const again = `ready again from ${seconds(fromMs)} to ${seconds(untilMs)}`;
  const reason = `by ${by}, kept for ${seconds(stayMs)} and ${again}`;
  return { keepMs: stayMs, prewarm: { fromMs, untilMs }, reason };
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1_000)} s`;
}

function standard({ keepAliveMs }: Traits, why: string): IdlePlan {
  const reason = `idle for less than ${keepAliveMs / 1_000} s: ${why}`;
  return { keepMs: keepAliveMs, prewarm: undefined, reason };
}

/**
 * The same of single values, which ascend: stays and windows end at one of them, and windows begin at one, margins included.
 */
function bestOf(values: Float64Array, hitMs: number, margin: number): Gainful {
  const gainOf = (first: number, last: number, fromMs: number) => {
    const untilMs = (values[last] as number) * (1 + margin);
    let gain = (last - first + 1) * hitMs - (values.length - 1 - last) * (untilMs - fromMs);
    for (let i = first; i <= last; i++) gain -= (values[i] as number) - fromMs;
    return { gain, untilMs };
  };
  let stay = { gain: 0, untilMs: 0 };
  let best: Gainful = { gain: 0, stayMs: 0, fromMs: 0, untilMs: 0 };
  for (let first = 0; first < values.length; first++) {
    const fromMs = (values[first] as number) * (1 - margin);
    for (let last = first; last < values.length; last++) {
      const { gain, untilMs } = gainOf(first, last, fromMs);
      if (stay.gain + gain > best.gain && fromMs > stay.untilMs) {
        best = { gain: stay.gain + gain, stayMs: stay.untilMs, fromMs, untilMs };
      }
    }
    const { gain, untilMs } = gainOf(0, first, 0);
    if (gain > stay.gain) stay = { gain, untilMs };
    if (gain > best.gain) best = { gain, stayMs: untilMs, fromMs: untilMs, untilMs };
  }
  return best;
}

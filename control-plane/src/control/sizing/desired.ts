/**
 * How many pods a function is to have. A pure policy: a sample of the scheduler's counters and its state in, a decision
 * out; time is part of the sample. Kept small and cheap, for a thousand functions are sampled each second.
 *
 *     stable ──a burst needs twice what is ready──▶ panicking ──none for a stable window──▶ stable
 *
 * Load is measured over a stable window and a panic window of a tenth of it; what it needs follows from Little's law
 * (staffing.ts). The windows and panic are those of Knative's autoscaler (knative/serving, pkg/autoscaler/scaling); other
 * than there, growth itself is not this policy's: a miss grows the pool at once (scheduler/placement.ts). This policy
 * launches what misses have not, and says when fewer will do.
 *
 * Invariants:
 *  S1. `minReplicas` and `maxReplicas` bound what is desired, whatever else holds; a maximum below the minimum wins.
 *  S2. More load never means fewer pods, where misses have launched none lately.
 *  S3. Nothing is given up while panicking, nor within `scaleDownDelayMs` of when it was needed, nor what a miss launched
 *      within a panic window, or a stable window where the load does not explain it: a burst does not undo itself.
 *  S4. Slots that run something are never more than what is desired has, within the bounds.
 *  S5. While a function is called, or has been within its keep-alive, one pod at least stays of those that it has; once it has
 *      idled for longer, none but the minimum.
 *  S6. Nothing is launched to keep what there was: `ahead` is what load, the minimum and pre-warming ask for now.
 *  S7. Where pods of a WarmPool can be claimed it is the minimum alone: what the function lacks a miss claims, in milliseconds, and
 *      a pod that made way for others would come back beside the one that the next miss claims.
 */
import { type IdlePlan, inPlan, type KeepAlive, type Traits } from './keep-alive/policy.ts';
import { podsFor } from './staffing.ts';
import { HighWater, LoadWindow } from './windows.ts';

/** Panic begins where the panic window needs so many times the pods that are ready; as in Knative. */
const PANIC_THRESHOLD = 2;

/** Growth of up to so many times what the load needs is taken to have been for that load. */
const EXPLAINED = 2;
/** Standard deviations that are taken for chance. */
const CHANCE = 2;

/** What people set. */
export interface SizingSettings {
  readonly minReplicas: number;
  readonly maxReplicas: number;
  /** Somebody scales the function from outside (/scale): then the minimum is theirs. */
  readonly scaled: boolean;
  /** Its misses can claim pods of a WarmPool. */
  readonly claims: boolean;
  readonly concurrency: number;
  readonly targetUtilization: number;
  readonly stableWindowMs: number;
  readonly scaleDownDelayMs: number;
}

/** What was counted. `arrivals` counts from any start and never falls, save when it begins anew. */
export interface SizingSample {
  readonly now: number;
  /** Attempts that were asked for, since the start. */
  readonly arrivals: number;
  /** Attempts that run, and invocations that wait for a slot. */
  readonly running: number;
  readonly queued: number;
  /** Time of an attempt on a pod; undefined before the first ended. */
  readonly serviceMs: number | undefined;
  /** Pods there are, coming ones included and leaving ones not, and those that are ready. */
  readonly pods: number;
  readonly ready: number;
  /** Pods there were when a miss, since the last sample, had made the pool grow; 0: none did. */
  readonly grown: number;
  readonly traits: Traits;
}

export type DecidedBy = 'minReplicas' | 'maxReplicas' | 'keep-alive' | 'load' | 'panic' | 'scale';

export interface SizingDecision {
  /** Pods to have; beyond them the least recently used leave. */
  readonly desired: number;
  /** Of these, those to launch where they are not there. */
  readonly ahead: number;
  /** A pod that leaves must have idled for so long. */
  readonly idleMs: number;
  readonly decidedBy: DecidedBy;
  /** Calls that run at once on average, by what the windows say together. */
  readonly load: number;
  readonly panicking: boolean;
  /** Of the keep-alive, where it was asked. */
  readonly plan: IdlePlan | undefined;
  /** As long as nothing arrives, runs or is launched, nothing changes before this. */
  readonly wakeAt: number;
}

/** What is remembered of a function. `newSizing` makes one; `decideSize` alone changes it. */
export interface SizingState {
  at: number;
  arrivals: number;
  /** Made with the first load. */
  window: LoadWindow | undefined;
  /** No load is left in it after this. */
  loadUntil: number;
  readonly wanted: HighWater;
  /** Sizes that misses made. */
  readonly grown: HighWater;
  panic: { readonly until: number; readonly pods: number } | undefined;
  activity:
    | { readonly state: 'never' }
    | { readonly state: 'active' }
    | { readonly state: 'idle'; readonly since: number; plan: IdlePlan | undefined };
}

/** `arrivals`: as the counter stands now. */
export function newSizing(now: number, arrivals: number): SizingState {
  return {
    at: now,
    arrivals,
    window: undefined,
    loadUntil: now,
    wanted: new HighWater(),
    grown: new HighWater(),
    panic: undefined,
    activity: { state: 'never' },
  };
}

/**
 * Asked about once a second while something happens, and not before `wakeAt` otherwise. Between two samples either
 * nothing arrived or they are close to each other: what arrived is taken to have come evenly.
 */
export function decideSize(
  state: SizingState,
  sample: SizingSample,
  settings: SizingSettings,
  keepAlive: KeepAlive,
): SizingDecision {
  const { now } = sample;
  // A counter that stands lower than before began anew.
  const arrivals = Math.max(0, sample.arrivals - state.arrivals);
  measure(state, sample, settings, arrivals);
  let grown = sample.grown;
  if (state.activity.state === 'never' && sample.pods > 0) {
    // They were there before this began, launched for a load that is not known: as if they had been needed just now.
    grown = Math.max(grown, sample.pods);
    if (arrivals === 0) state.activity = { state: 'idle', since: now, plan: undefined };
  }
  const plan = follow(state, sample, keepAlive, arrivals);
  state.at = now;
  state.arrivals = sample.arrivals;

  const loads = {
    stable: state.window?.stable(now) ?? 0,
    panic: state.window?.panic(now) ?? 0,
  };
  const load = estimate(loads, sample, settings);
  const staffing = {
    serviceMs: sample.serviceMs,
    coldStartMs: sample.traits.coldStartMs,
    concurrency: settings.concurrency,
    targetUtilization: settings.targetUtilization,
    maxPods: settings.maxReplicas,
  };
  const panic = podsFor({ ...staffing, load: loads.panic, targetUtilization: 1 });
  // A load that has just risen is served without room to spare: misses see to what waits, and what stays becomes stable.
  const estimated = Math.max(
    podsFor({ ...staffing, load: Math.min(load, loads.stable) }),
    podsFor({ ...staffing, load, targetUtilization: 1 }),
  );
  // At the border between two sizes chance alone would launch and retire the same pod for ever.
  const wobble = Math.sqrt(load * chanceOf(sample, settings.stableWindowMs));
  const enough = podsFor({ ...staffing, load: load + wobble });
  const size = Math.max(estimated, enough);
  const panicPods = panicking(state, sample, settings, panic, size);
  const needed = panicPods > 0 ? Math.max(estimated, panic) : estimated;
  state.wanted.record(now, needed, Math.max(settings.stableWindowMs, settings.scaleDownDelayMs));
  state.grown.record(now, grown, settings.stableWindowMs);
  const lately = Math.max(
    enough,
    state.wanted.highest(now, settings.scaleDownDelayMs),
    grownLately(state, settings, now),
    panicPods,
  ); // S3
  const running = Math.ceil(sample.running / settings.concurrency); // S4
  // What is kept for what was is never more than there is (S6).
  let wanted = Math.max(needed, Math.min(Math.max(lately, running), sample.pods));
  let ahead = needed;
  let decidedBy: DecidedBy = panicPods > 0 && panicPods >= lately ? 'panic' : 'load';
  let idleMs = 0;
  let wakeAt = nextChange(state, settings, now);

  // S5
  if (plan !== undefined && state.activity.state === 'idle') {
    const { since } = state.activity;
    const { phase, untilMs } = inPlan(plan, now - since, sample.traits.coldStartMs);
    if (phase === 'gone') {
      wanted = 0;
      ahead = 0;
      decidedBy = 'keep-alive';
      idleMs = Math.min(now - since, plan.keepMs);
      wakeAt = since + untilMs;
    } else {
      const kept = phase === 'ahead' ? 1 : Math.min(1, sample.pods);
      if (wanted <= kept && needed === 0) decidedBy = 'keep-alive';
      if (phase === 'ahead') ahead = Math.max(ahead, 1);
      wanted = Math.max(wanted, kept);
      wakeAt = Math.min(wakeAt, since + untilMs);
    }
  } else if (state.activity.state !== 'never') {
    if (wanted === 0) decidedBy = 'keep-alive';
    wanted = Math.max(wanted, Math.min(1, sample.pods));
    wakeAt = Math.min(wakeAt, now + settings.stableWindowMs / 60);
  }

  return {
    ...bounded(wanted, settings.claims ? 0 : ahead, decidedBy, settings), // S7
    idleMs,
    load: panicPods > 0 ? Math.max(load, loads.panic) : load,
    panicking: panicPods > 0,
    plan,
    wakeAt,
  };
}

/** Puts the load since the last sample into the window. */
function measure(
  state: SizingState,
  { now, running, queued, serviceMs }: SizingSample,
  { stableWindowMs }: SizingSettings,
  arrivals: number,
): void {
  if (arrivals === 0 && running === 0 && queued === 0) {
    state.window?.record(now, 0);
    return;
  }
  const elapsed = now - state.at;
  state.window ??= new LoadWindow(stableWindowMs, state.at);
  if (elapsed <= 0) return;
  // Calls that are shorter than the time between two samples are counted; longer ones, and those of which none has ended yet,
  // are seen running. What waits is for misses to see to: it is gone before it would be part of a window.
  const counted = serviceMs !== undefined && serviceMs <= elapsed;
  const load = counted ? (arrivals * serviceMs) / elapsed : running;
  state.window.record(now, load);
  state.loadUntil = now + stableWindowMs * (1 + 1 / 60);
}

/**
 * The stable window's load, which chance moves little, as far as the panic window's agrees: what differs from that by more than
 * chance explains (calls that come independently of each other) is a load that has changed.
 */
function estimate(
  { stable, panic }: { readonly stable: number; readonly panic: number },
  sample: SizingSample,
  { stableWindowMs }: SizingSettings,
): number {
  const chance = CHANCE * Math.sqrt(panic * chanceOf(sample, stableWindowMs / 10));
  return Math.max(panic - chance, Math.min(stable, panic + chance));
}

/**
 * What misses have launched within the stable window. They take more than will be needed, for what waits at that moment;
 * once a panic window has passed and the load measured explains most of it, the load's own need is what holds. Where it
 * explains little (calls that come in clumps), all of it stays.
 */
function grownLately(state: SizingState, settings: SizingSettings, now: number): number {
  const { stableWindowMs, scaleDownDelayMs } = settings;
  const explained =
    EXPLAINED * state.wanted.highest(now, Math.max(stableWindowMs, scaleDownDelayMs));
  const grown = state.grown.highest(now, stableWindowMs);
  return grown > explained ? grown : state.grown.highest(now, stableWindowMs / 10);
}

/** Variance of a load of 1 over a window: of calls shorter than it that come independently, and of longer ones. */
function chanceOf({ serviceMs = 0 }: SizingSample, windowMs: number): number {
  return Math.min(1, serviceMs / windowMs);
}

/** Tells the keep-alive what came, and asks it for what holds while nothing does. */
function follow(
  state: SizingState,
  { now, running, queued, traits }: SizingSample,
  keepAlive: KeepAlive,
  arrivals: number,
): IdlePlan | undefined {
  const busy = running > 0 || queued > 0;
  const before = state.activity;
  if (arrivals > 0) {
    const idleMs = before.state === 'idle' ? now - before.since : undefined;
    keepAlive.called(now, arrivals, idleMs, traits);
  }
  if (busy) {
    if (before.state !== 'active') state.activity = { state: 'active' };
    return undefined;
  }
  if (arrivals > 0 || before.state === 'active') {
    state.activity = { state: 'idle', since: now, plan: undefined };
  } else if (before.state === 'idle' && now > before.since) {
    before.plan ??= keepAlive.plan(before.since, traits);
    return before.plan;
  }
  return undefined;
}

/** Pods that panic holds; 0: none. It ends a stable window after the last burst, when that is part of the stable load. */
function panicking(
  state: SizingState,
  { now, ready }: SizingSample,
  { stableWindowMs }: SizingSettings,
  panic: number,
  size: number,
): number {
  const { panic: before } = state;
  const held = before !== undefined && now < before.until ? before.pods : 0;
  if (panic > 1 && panic >= PANIC_THRESHOLD * Math.max(1, ready)) {
    state.panic = { until: now + stableWindowMs, pods: Math.max(held, panic, size) };
  } else if (held > 0 && before !== undefined) {
    const pods = Math.max(held, panic, size);
    if (pods > held) state.panic = { until: before.until, pods };
  } else {
    state.panic = undefined;
  }
  return state.panic?.pods ?? 0; // S3
}

function nextChange(state: SizingState, settings: SizingSettings, now: number): number {
  const tick = settings.stableWindowMs / 60;
  if (now < state.loadUntil) return now + tick;
  return Math.min(
    state.wanted.fallsAt(now, settings.scaleDownDelayMs),
    state.grown.fallsAt(now, settings.stableWindowMs / 10),
    state.grown.fallsAt(now, settings.stableWindowMs),
    state.panic?.until ?? Number.POSITIVE_INFINITY,
  );
}

/** S1 */
function bounded(
  wanted: number,
  ahead: number,
  decidedBy: DecidedBy,
  { minReplicas, maxReplicas, scaled }: SizingSettings,
): Pick<SizingDecision, 'desired' | 'ahead' | 'decidedBy'> {
  const least = Math.min(minReplicas, maxReplicas);
  const within = (pods: number) => Math.min(Math.max(pods, least), maxReplicas);
  let by = decidedBy;
  if (wanted > maxReplicas) by = 'maxReplicas';
  else if (least > 0 && wanted <= least) by = scaled ? 'scale' : 'minReplicas';
  return { desired: within(wanted), ahead: within(ahead), decidedBy: by };
}

/** One sentence for people. */
export function explain(decision: SizingDecision, settings: SizingSettings): string {
  const { desired, load, plan } = decision;
  const calls = `${load < 10 ? load.toPrecision(2) : Math.round(load)} calls at once`;
  const pods = desired === 1 ? '1 pod' : `${desired} pods`;
  switch (decision.decidedBy) {
    case 'minReplicas':
      return `minReplicas is ${settings.minReplicas}, and the load (${calls}) needs no more.`;
    case 'scale':
      return `It was scaled to ${settings.minReplicas} from outside, and the load (${calls}) needs no more.`;
    case 'maxReplicas':
      return `maxReplicas is ${settings.maxReplicas}; the load (${calls}) would need more.`;
    case 'panic':
      return `A burst needs ${pods}; none leaves before it is over for ${settings.stableWindowMs / 1_000} s.`;
    case 'keep-alive':
      if (plan === undefined) return 'It is called, so one pod stays.';
      if (desired === 0) return `It has idled past its keep-alive (${plan.reason}).`;
      return `Kept by its keep-alive: ${plan.reason}.`;
    case 'load':
      if (desired === 0) return 'Nothing calls it.';
      return `The load (${calls}) needs ${pods}, or did within the last ${settings.scaleDownDelayMs / 1_000} s.`;
  }
}

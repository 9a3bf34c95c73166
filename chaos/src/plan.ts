/**
 * What a run does, made from its seed alone: the same seed plans the same steps for each client, the same faults and the
 * same changes of manifests, at the same times. How many steps a client comes to depends on how fast they are answered.
 */
import { Random } from './random.ts';

/** What the handler is to do (functions/worker.mjs). */
export interface Work {
  readonly do: 'echo' | 'sleep' | 'spin' | 'throw' | 'exit' | 'bad';
  /** How long it sleeps or spins. */
  readonly ms: number;
  /** A sleep that does not heed its signal. */
  readonly deaf: boolean;
  /** `throw`, `exit`: attempts up to this one do; later ones echo. */
  readonly untilAttempt: number;
  /** Bytes of ballast in the request, and of the answer (streams: of the response's body). */
  readonly ballast: number;
}

/** How the client behaves on its connection. */
export type Conduct =
  | { readonly kind: 'patient' }
  /** A byte at a time. */
  | { readonly kind: 'slow'; readonly msPerByte: number }
  /** Sends the request and never reads, until it goes. */
  | { readonly kind: 'frozen'; readonly ms: number }
  /** Reads, with a pause after each piece. */
  | { readonly kind: 'sips'; readonly pauseMs: number }
  | {
      readonly kind: 'hangs-up';
      readonly stage: 'connected' | 'in-head' | 'in-body' | 'sent' | 'in-answer';
      readonly afterMs: number;
    };

/** `socket`: the clients' WebSocket. */
export type Route = 'invoke' | 'raw' | 'stream' | 'enqueue' | 'socket';

/** What follows a 202. */
export type FollowUp =
  | { readonly kind: 'waits' }
  | { readonly kind: 'polls'; readonly everyMs: number }
  /** Its end is looked up later. */
  | { readonly kind: 'leaves' }
  | { readonly kind: 'cancels'; readonly afterMs: number };

/**
 * How the receiver of a callback behaves (receiver.ts): some take it at once, some only in the end; `refuses` and `fails-on`
 * never do.
 */
export const CALLBACK_MANNERS = [
  ...['takes', 'fails', 'hangs', 'resets', 'redirects', 'trickles', 'refuses', 'fails-on'],
] as const;
export type CallbackManner = (typeof CALLBACK_MANNERS)[number];
export const NEVER_TAKES: ReadonlySet<CallbackManner> = new Set(['refuses', 'fails-on']);

/** Other requests that bring the step's Idempotency-Key. */
export interface Keyed {
  /**
   * `none`: it has no key. `again`: the same request once the first is through. `at-once`: the same, beside the first.
   * `other`: another request under the key.
   */
  readonly kind: 'none' | 'again' | 'at-once' | 'other';
  readonly times: number;
}

export interface Step {
  /** Names the operation: in its payload, in the ledger, in every finding. */
  readonly op: string;
  readonly route: Route;
  readonly function: FunctionName;
  readonly work: Work;
  /** X-Timeout-Ms; 0: none is sent. */
  readonly timeoutMs: number;
  /** X-Max-Retries; -1: none is sent. */
  readonly maxRetries: number;
  readonly conduct: Conduct;
  readonly follow: FollowUp;
  readonly keyed: Keyed;
  /** `enqueue`: who is told of its end; '' for nobody. */
  readonly callback: CallbackManner | '';
  readonly pauseMs: number;
}

export const FUNCTIONS = ['quick', 'spins', 'flaky', 'changing', 'streams'] as const;
export type FunctionName = (typeof FUNCTIONS)[number];
/** Of a manifest that says nothing, and of all of these. */
export const MAX_RETRIES = 3;
/** Between two attempts, at most: of all functions. */
export const MAX_DELAY_MS = 1_000;
/** Of all functions but `spins`. */
export const TIMEOUT_MS = 5_000;
export const SPIN_TIMEOUT_MS = 400;

export interface Fault {
  /** Milliseconds from the start of the faults. */
  readonly at: number;
  readonly kind: 'kill' | 'freeze';
  /** Which of the pods there are then, from 0 to 1. */
  readonly victim: number;
  /** A frozen one is continued after this; 0: never. */
  readonly thawAfterMs: number;
}

export interface Change {
  readonly at: number;
  readonly concurrency: number;
  readonly minReplicas: number;
  /** Its code changes too. */
  readonly code: boolean;
}

export interface Plan {
  readonly seed: number;
  readonly seconds: number;
  /** Load without faults comes first: the level that memory must come back to is taken after it. */
  readonly warmUpMs: number;
  readonly faultsMs: number;
  readonly clients: number;
  readonly faults: readonly Fault[];
  readonly changes: readonly Change[];
}

/** Bounds what is in flight: the run is about faults, not about overload. */
const CLIENTS = 20;
const WARM_UP_SHARE = 0.15;
const MAX_WARM_UP_MS = 30_000;
const MEAN_BETWEEN_FAULTS_MS = 1_200;
const MEAN_BETWEEN_CHANGES_MS = 6_000;

export function planOf(seed: number, seconds: number): Plan {
  const warmUpMs = Math.min(MAX_WARM_UP_MS, Math.round(seconds * 1_000 * WARM_UP_SHARE));
  const faultsMs = seconds * 1_000 - warmUpMs;
  return {
    ...{ seed, seconds, warmUpMs, faultsMs, clients: CLIENTS },
    faults: timesOf(`${seed}/faults`, faultsMs, MEAN_BETWEEN_FAULTS_MS).map(({ at, random }) => {
      const kind = random.pick({ kill: 55, freeze: 45 });
      const thaws = kind === 'freeze' && random.chance(0.65);
      const thawAfterMs = thaws ? random.whole(100, 4_000) : 0;
      return { at, kind, victim: random.next(), thawAfterMs };
    }),
    changes: timesOf(`${seed}/changes`, faultsMs, MEAN_BETWEEN_CHANGES_MS).map(
      ({ at, random }) => ({
        at,
        concurrency: random.whole(1, 6),
        minReplicas: random.whole(0, 1),
        code: random.chance(0.5),
      }),
    ),
  };
}

/** A Poisson process: gaps are exponential, so that two may fall together. */
function timesOf(seed: string, until: number, meanMs: number): { at: number; random: Random }[] {
  const gaps = new Random(seed);
  const times: { at: number; random: Random }[] = [];
  for (let at = 0; ; ) {
    at += Math.round(-Math.log(1 - gaps.next()) * meanMs);
    if (at >= until) return times;
    times.push({ at, random: new Random(`${seed}/${times.length}`) });
  }
}

/** The `n`th step of a client. */
export function stepOf(seed: number, client: number, n: number): Step {
  const random = new Random(`${seed}/${client}/${n}`);
  const route = random.pick({ invoke: 27, raw: 14, stream: 14, enqueue: 32, socket: 13 });
  const fn =
    route === 'stream' ? 'streams' : random.pick({ quick: 45, spins: 15, flaky: 20, changing: 20 });
  const work = workOf(random, fn);
  return {
    op: `c${client}-${n}`,
    ...{ route, work, function: fn },
    timeoutMs: random.chance(0.15) ? random.whole(50, 1_500) : 0,
    maxRetries: random.chance(0.3) ? random.whole(0, MAX_RETRIES) : -1,
    conduct: conductOf(random, route),
    follow: followUpOf(random),
    keyed: {
      kind:
        route === 'socket' ? 'none' : random.pick({ none: 72, again: 11, 'at-once': 13, other: 4 }),
      times: random.whole(1, 3),
    },
    callback: random.pick({
      ...{ '': 50, takes: 15, fails: 8, hangs: 4, resets: 5, redirects: 6, trickles: 3 },
      ...{ refuses: 4, 'fails-on': 4 },
    }),
    pauseMs: random.whole(0, 40),
  };
}

function workOf(random: Random, fn: FunctionName): Work {
  const kinds = {
    quick: { echo: 65, sleep: 33, bad: 2 },
    changing: { echo: 60, sleep: 40 },
    spins: { spin: 100 },
    flaky: { echo: 40, throw: 52, exit: 8 },
    streams: { echo: 100 },
  } as const;
  const kind: Work['do'] = random.pick<string>(kinds[fn]) as Work['do'];
  const ms = { sleep: random.whole(5, 400), spin: random.whole(20, 3 * SPIN_TIMEOUT_MS) };
  const large = random.chance(0.08);
  return {
    do: kind,
    ms: kind === 'sleep' || kind === 'spin' ? ms[kind] : 0,
    deaf: random.chance(0.3),
    // The last number is beyond every retry: it never succeeds.
    untilAttempt: random.pick({ '1': 50, '2': 25, '9': 25 }) === '1' ? 1 : random.whole(2, 9),
    ballast:
      fn === 'streams'
        ? random.whole(1, 40) * 32_768
        : large
          ? random.whole(20_000, 300_000)
          : random.whole(0, 200),
  };
}

function conductOf(random: Random, route: Route): Conduct {
  const kind = random.pick({
    patient: 78,
    slow: 3,
    frozen: route === 'stream' ? 8 : 1,
    sips: route === 'stream' ? 10 : 0,
    'hangs-up': 12,
  });
  switch (kind) {
    case 'patient':
      return { kind };
    case 'slow':
      return { kind, msPerByte: random.whole(1, 8) };
    case 'frozen':
      return { kind, ms: random.whole(200, 3_000) };
    case 'sips':
      return { kind, pauseMs: random.whole(1, 30) };
    case 'hangs-up': {
      const stage = random.pick({
        ...{ connected: 10, 'in-head': 15, 'in-body': 20, sent: 40, 'in-answer': 15 },
      });
      return { kind, stage, afterMs: random.chance(0.5) ? 0 : random.whole(1, 150) };
    }
  }
}

function followUpOf(random: Random): FollowUp {
  const kind = random.pick({ waits: 45, polls: 15, leaves: 25, cancels: 15 });
  switch (kind) {
    case 'polls':
      return { kind, everyMs: random.whole(10, 150) };
    case 'cancels':
      return { kind, afterMs: random.whole(0, 300) };
    default:
      return { kind };
  }
}

/** All that a run left to be judged: what clients saw, what handlers noted, what was done to pods, what Simmer says of itself. */
import type { Run } from './ledger.ts';
import type { CallbackManner, Conduct, Route } from './plan.ts';

/** What an answer told. */
export interface Told {
  readonly status: number;
  /** Of its problem document; 'ok' for a success. */
  readonly code: string;
  readonly executionId: string;
  /** Attempts made; undefined where it does not tell. */
  readonly attempts: number | undefined;
  /** Of the output: whose it is, and who made it. */
  readonly op: string | undefined;
  readonly pid: number | undefined;
  /** Idempotent-Replayed. */
  readonly isReplay: boolean;
  /** False: it was cut short. */
  readonly complete: boolean;
  /** Its body is as long as was asked for, and made of the right bytes. */
  readonly intact: boolean;
}

export type Fate =
  | { readonly kind: 'told'; readonly told: Told }
  /** The client went before its answer was there. */
  | { readonly kind: 'gone' }
  /** The server closed the connection without a byte. */
  | { readonly kind: 'closed' }
  /** Nothing came, long after its time was over. */
  | { readonly kind: 'silent' };

/** One request that asked for something to be run. */
export interface Offer {
  readonly op: string;
  readonly function: string;
  readonly route: Route;
  readonly conduct: Conduct['kind'];
  /** Attempts that may follow the first. */
  readonly maxRetries: number;
  readonly work: string;
  /** Under its Idempotency-Key: the `first`, the `same` request, `other` than it; '' without a key. */
  readonly keyed: '' | 'first' | 'same' | 'other';
  /** There was time for another attempt when its answer came. */
  readonly hadTime: boolean;
  readonly fate: Fate;
}

/** How an asynchronous execution was seen, at one time. */
export interface View {
  readonly status: string;
  readonly attempts: number;
  /** Their outcomes, in order. */
  readonly outcomes: readonly string[];
  readonly endedAt: string;
  readonly code: string;
  readonly op: string | undefined;
  readonly pid: number | undefined;
  /** There was time for another attempt when it ended. */
  readonly hadTime: boolean;
}

export interface Followed {
  readonly op: string;
  readonly executionId: string;
  readonly maxRetries: number;
  readonly work: string;
  /** How the receiver of its callback behaves; '' for none. */
  readonly callback: CallbackManner | '';
  /** The execution whose dead letter it is the replay of; '' for none. */
  readonly replayOf: string;
  /** DELETE was answered 200. */
  cancelled: boolean;
  /** Each time that it was seen ended. */
  readonly ends: View[];
  /** Answers other than the execution itself. */
  readonly odd: string[];
}

/** A callback, as it came to its receiver. */
export interface Delivery {
  readonly op: string;
  readonly executionId: string;
  /** It was answered 2xx. */
  readonly taken: boolean;
  /** What it told. */
  readonly end: View | undefined;
  readonly isSigned: boolean;
  /** Its headers name the execution that its body tells of. */
  readonly isNamed: boolean;
}

/** A dead letter, before it was replayed or deleted. */
export interface Letter {
  readonly reason: string;
  readonly executionId: string;
}

/** What was done to a pod. */
export interface Shot {
  readonly kind: 'kill' | 'freeze' | 'thaw';
  readonly pid: number;
  /** Monotonic milliseconds, as in the ledger. */
  readonly at: number;
}

/** Sums over all functions, once nothing is asked for any more. */
export interface Books {
  readonly accepted: number;
  readonly ended: number;
  readonly queued: number;
  readonly running: number;
  readonly waiting: number;
  readonly heldBytes: number;
  readonly callbacks: number;
}

export interface Evidence {
  readonly offers: readonly Offer[];
  readonly followed: readonly Followed[];
  readonly runs: readonly Run[];
  readonly deliveries: readonly Delivery[];
  readonly letters: readonly Letter[];
  readonly shots: readonly Shot[];
  /** Process ids of the pods that Simmer gave up by itself: one handler held on, and what else ran there was lost. */
  readonly givenUp: readonly number[];
  readonly books: Books;
  /** Attempts whose pod was claimed of the WarmPool for them. */
  readonly claims: number;
  /** Resident memory of the control plane, bytes: before the faults, after them, and the most between. */
  readonly memory: { readonly before: number; readonly after: number; readonly peak: number };
  /** Bytes that came to clients unasked, by op that they followed. */
  readonly unasked: readonly string[];
  /** Processes below the control plane at rest, beside its spawner, and pods that it lists. */
  readonly processes: { readonly running: readonly number[]; readonly listed: readonly number[] };
  /** What it ended with on SIGTERM, and who of its pods outlived it. */
  readonly exit: number | string;
  readonly survivors: readonly number[];
  /** Lines of its log of level error. */
  readonly errors: readonly string[];
}

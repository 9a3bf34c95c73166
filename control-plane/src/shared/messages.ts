/**
 * Everything that crosses between the scheduler thread and the control thread, as named messages.
 *
 * The scheduler owns invocations, queues, slots and the sockets of pods. The control thread owns functions, the
 * decision to launch or end a pod, backends, logs and metrics. Neither waits for the other: each message is a fact or
 * an order, and what is asked for may be refused later (`launch-refused`).
 */
import type { RateLimit } from '@simmer/protocol/api-keys';
import type { PodKind } from '@simmer/protocol/backend';
import type { EnvelopeReading } from '@simmer/protocol/envelope';
import type { ErrorCode } from '@simmer/protocol/errors';
import type { HeaderPairs } from '@simmer/protocol/frames';
import type { FunctionSpec } from '@simmer/protocol/manifest';
import type { FunctionSource } from '@simmer/protocol/registry';
import type { Config } from '../config/config.ts';
import type { Caller } from './caller.ts';

/** Handed to the control thread when it is created. */
export interface ControlThreadData {
  readonly config: Config;
  /** Of this process; stands in execution ids and pod ids. */
  readonly bootId: string;
  /** The memory of counters.ts. */
  readonly counters: SharedArrayBuffer;
  /** `ws://127.0.0.1:<port>`: where pods dial, with the port that was really bound. */
  readonly podAddress: string;
}

// ---- control thread -> scheduler -----------------------------------------------------------------------------------

/** What a pod is given with its code, before that is loaded. */
export interface Grant {
  readonly env: HeaderPairs;
  readonly secrets: HeaderPairs;
  /** Of resident memory; 0: no limit. Told to the pod as it stands. */
  readonly memoryBytes: number;
}

/** How a function gets pods of WarmPools. */
export interface ClaimRecord extends Grant {
  /** Keys of those whose pods fit, the first before the next. */
  readonly pools: readonly string[];
}

export interface FunctionRecord {
  readonly key: string;
  readonly spec: FunctionSpec;
  /** Pods of another revision are `stale`: they serve until pods of this one are ready. */
  readonly revision: string;
  /** Its code, where pods get it over their sockets. */
  readonly source?: FunctionSource;
  /** Index of its block in the shared counters. */
  readonly slot: number;
  /** Absent where no WarmPool fits. */
  readonly claim?: ClaimRecord;
  /** Of a WarmPool: of its pods, the per cent that one function may hold while others ask. */
  readonly maxShare?: number;
}

/** Functions that are new or changed, and keys that are gone. What waits for a deleted function is still served. */
export interface FunctionsMessage {
  readonly type: 'functions';
  readonly upsert: readonly FunctionRecord[];
  readonly remove: readonly string[];
}

/** A pod is being launched and will dial with this credential. Sent before the backend is asked. */
export interface PodExpectedMessage {
  readonly type: 'pod-expected';
  readonly podId: string;
  readonly kind: PodKind;
  readonly functionKey: string;
  readonly revision: string;
  readonly backend: string;
  /** The launch token, good once and for an hour; '' for a pod that was adopted: only its session counts. */
  readonly credential: string;
  /** Its UID is told by `pod-identified`; a hello that is ahead of it waits. Otherwise the UID is the podId. */
  readonly identified: boolean;
  /** Epoch milliseconds. */
  readonly launchedAt: number;
  /** It answers one unit of a `need`; otherwise upkeep launched it. */
  readonly needed: boolean;
  /** Key of the WarmPool that it was claimed from, by an earlier control plane. */
  readonly origin?: string;
}

/** Who may say hello as this pod (BackendEvent `identified`). */
export interface PodIdentifiedMessage {
  readonly type: 'pod-identified';
  readonly podId: string;
  readonly uid: string;
  readonly proofKey: string;
}

/** What sessions of pods are proved with, and the port's certificate. The pod port opens once this has come. */
export interface PodKeysMessage {
  readonly type: 'pod-keys';
  /** The first makes the proofs, any checks them. At least one. */
  readonly keys: readonly { readonly id: string; readonly key: Uint8Array }[];
  /** Paths of PEM files; absent: plain WebSockets. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
}

export interface PodStartedMessage {
  readonly type: 'pod-started';
  readonly podId: string;
  /** Process id or pod name. */
  readonly label: string;
  readonly at: number;
}

/** The backend says that the pod is gone. Counts at once, whatever its socket says. */
export interface PodExitedMessage {
  readonly type: 'pod-exited';
  readonly podId: string;
  readonly reason: string;
}

/** `count` units of a `need` will not be launched now. 0: none was asked for, but it would be refused (pods began to fail). */
export interface LaunchRefusedMessage {
  readonly type: 'launch-refused';
  readonly functionKey: string;
  readonly kind: PodKind;
  readonly count: number;
  readonly code: ErrorCode;
  readonly reason: string;
  /** Not to be asked again before this. */
  readonly retryAfterMs: number;
  /** Nothing suggests that waiting helps: what waits with no pod in sight is to be failed now. */
  readonly hopeless: boolean;
}

/** Drain up to `count` pool pods that have idled for at least `idleMs`, least recently used first. */
export interface RetireMessage {
  readonly type: 'retire';
  readonly functionKey: string;
  readonly count: number;
  readonly idleMs: number;
}

/** Send this pod no more work; it finishes what it runs and exits. For pods of an old revision or a deleted function. */
export interface DrainPodMessage {
  readonly type: 'drain-pod';
  readonly podId: string;
}

/**
 * Another control plane serves, at `address` for pods: each function's pods are sent there once nothing waits for them here, and
 * answers close their connections. `force`: send all of them now. May come again, to change either. Answered by `handed-over`.
 */
export interface HandOverMessage {
  readonly type: 'hand-over';
  readonly address: string;
  readonly force: boolean;
}

/** Answers a `check-envelope`. */
export interface EnvelopeCheckedMessage {
  readonly type: 'envelope-checked';
  readonly requestId: number;
  readonly reading: EnvelopeReading;
}

/** One POST to a callback URL. Times are epoch milliseconds. */
export interface DeliveryAttempt {
  /** From 1. */
  readonly number: number;
  readonly startedAt: number;
  readonly endedAt: number;
  /** HTTP status of the answer; null where there was none. */
  readonly status: number | null;
  readonly detail: string;
}

/** Nothing delivers this callback any more; `reason` is for a person. */
export interface CallbackDeadMessage extends Omit<CallbackMessage, 'type'> {
  readonly type: 'callback-dead';
  readonly attempts: readonly DeliveryAttempt[];
  readonly reason: string;
}

export interface HttpResponseMessage {
  readonly type: 'http-response';
  readonly requestId: number;
  readonly status: number;
  /** '' where there is no body. */
  readonly contentType: string;
  readonly headers?: readonly (readonly [name: string, value: string])[];
  /** Bytes: of memory that the threads share, and nobody changes. */
  readonly body: string | Uint8Array;
}

/** Every pod has ended: the scheduler may end the process. */
export interface StoppedMessage {
  readonly type: 'stopped';
}

/** The control plane that leads from now on, and serves. */
export interface Successor {
  /** Where pods find it: a ws or wss URL. */
  readonly address: string;
  /** Where its clients' port is: an http URL; '' where it does not tell. */
  readonly clientAddress: string;
}

/** Who takes over: answers `succeed`, and comes by itself when another leader is seen. */
export interface SuccessorMessage {
  readonly type: 'successor';
  /** Null: nobody does. */
  readonly successor: Successor | null;
}

/** The control thread has read its functions and listens on the management port. */
export interface StartedMessage {
  readonly type: 'started';
  readonly managementPort: number;
}

/** The control thread cannot start; `message` is for a person. */
export interface StartFailedMessage {
  readonly type: 'start-failed';
  readonly message: string;
}

/** An API key that holds. */
export interface ApiKeyRecord {
  readonly id: string;
  /** Both base64url, as in the file. */
  readonly pepper: string;
  readonly hash: string;
  readonly caller: Caller;
  /** Epoch milliseconds; 0: never. */
  readonly expiresAt: number;
  readonly rateLimit: RateLimit | null;
}

/** Keys that are new or changed, and ids of those that hold no longer. */
export interface ApiKeysMessage {
  readonly type: 'api-keys';
  readonly upsert: readonly ApiKeyRecord[];
  readonly remove: readonly string[];
}

/** There is another certificate in `tls-cert` and `tls-key`. */
export interface CertificateMessage {
  readonly type: 'certificate';
}

/** What a JWT was found to be. */
export type TokenVerdict =
  | {
      readonly kind: 'known';
      readonly caller: Caller;
      /** Epoch milliseconds. */
      readonly expiresAt: number;
    }
  | {
      readonly kind: 'refused';
      readonly code: 'unauthenticated' | 'identity_provider_unavailable';
      readonly detail: string;
    };

/** Answers a `verify-token`. */
export interface TokenVerifiedMessage {
  readonly type: 'token-verified';
  readonly requestId: number;
  readonly verdict: TokenVerdict;
}

export type ToScheduler =
  | FunctionsMessage
  | ApiKeysMessage
  | TokenVerifiedMessage
  | CertificateMessage
  | PodExpectedMessage
  | PodKeysMessage
  | PodStartedMessage
  | PodIdentifiedMessage
  | PodExitedMessage
  | LaunchRefusedMessage
  | RetireMessage
  | DrainPodMessage
  | HandOverMessage
  | HttpResponseMessage
  | CallbackDeadMessage
  | EnvelopeCheckedMessage
  | StoppedMessage
  | SuccessorMessage
  | StartedMessage
  | StartFailedMessage;

// ---- scheduler -> control thread -----------------------------------------------------------------------------------

/** A miss: launch `count` pods. Each unit is answered by one `pod-expected` with `needed`, or by `launch-refused`. */
export interface NeedMessage {
  readonly type: 'need';
  readonly functionKey: string;
  readonly kind: PodKind;
  readonly count: number;
}

export interface PodReadyMessage {
  readonly type: 'pod-ready';
  readonly podId: string;
}

/** A pod of a WarmPool has become this function's, of this revision. `pod-ready` follows, or what tells its end. */
export interface PodClaimedMessage {
  readonly type: 'pod-claimed';
  readonly podId: string;
  readonly functionKey: string;
  readonly revision: string;
}

/** The pod said `failed`: its handler does not load. Its exit follows. */
export interface PodFailedMessage {
  readonly type: 'pod-failed';
  readonly podId: string;
  readonly code: string;
  readonly message: string;
}

/** The scheduler gave the pod up (socket lost, heartbeat missed, protocol broken, over its grace): end it now. */
export interface PodLostMessage {
  readonly type: 'pod-lost';
  readonly podId: string;
  readonly reason: string;
}

/** The pod gets no more work and was told to drain: replace it if the pool needs one. */
export interface PodDrainingMessage {
  readonly type: 'pod-draining';
  readonly podId: string;
  readonly reason: string;
}

/** One line each in the log. */
export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}
export interface LogMessage {
  readonly type: 'log';
  readonly lines: readonly LogLine[];
}

export interface PodSnapshot {
  readonly podId: string;
  readonly kind: PodKind;
  readonly functionKey: string;
  readonly state: 'launching' | 'connected' | 'idle' | 'busy' | 'draining';
  readonly inFlight: number;
  readonly stale: boolean;
}

/** A large envelope, to be parsed where that holds up no invocation. */
export interface CheckEnvelopeMessage {
  readonly type: 'check-envelope';
  readonly requestId: number;
  readonly body: Uint8Array;
}

/** An execution has ended: to be told to this URL. Answered by `callback-dead`, or not at all. */
export interface CallbackMessage {
  readonly type: 'callback';
  readonly executionId: string;
  readonly functionKey: string;
  /** As it was given: it was good then. */
  readonly url: string;
  /** Of the execution: how it ended, and when (epoch milliseconds) it was accepted. */
  readonly status: string;
  readonly createdAt: number;
  readonly traceparent: string;
  /** JSON, as `GET /v1/executions/{id}` answers it. */
  readonly body: Uint8Array;
}

/** A rare request of the public port. `pods` only for /v1/pools and below. */
export interface HttpRequestMessage {
  readonly type: 'http-request';
  readonly requestId: number;
  /** Who has one of the operation's scopes. What it may of a function is for the one who answers. */
  readonly caller: Caller;
  readonly method: string;
  /** Path without query, as it came. */
  readonly path: string;
  readonly query: string;
  readonly executionId: string;
  readonly contentType: string;
  /** Of a write; '' where there is none. */
  readonly ifMatch: string;
  readonly contentDigest: string;
  /** null where the operation takes none. That of code is memory which the threads share. */
  readonly body: Uint8Array | null;
  readonly pods: readonly PodSnapshot[];
}

/** Invocations are drained: end the pods and what is pending of callbacks, then answer `stopped`. */
export interface StopMessage {
  readonly type: 'stop';
  readonly graceMs: number;
  readonly callbackGraceMs: number;
}

/** Clients and pods can connect: this control plane may tell the others that it leads. */
export interface ServingMessage {
  readonly type: 'serving';
}

/** This process is to end: is there another to take over? Answered by `successor`. */
export interface SucceedMessage {
  readonly type: 'succeed';
}

/** After `hand-over`: every pod has been sent on and every invocation has ended. Told once. */
export interface HandedOverMessage {
  readonly type: 'handed-over';
}

/** Shutting down has begun: launch nothing more, not ready. */
export interface DrainMessage {
  readonly type: 'drain';
}

/** A JWT that was not seen before. */
export interface VerifyTokenMessage {
  readonly type: 'verify-token';
  readonly requestId: number;
  readonly token: string;
}

export type ToControl =
  | VerifyTokenMessage
  | NeedMessage
  | PodReadyMessage
  | PodClaimedMessage
  | PodFailedMessage
  | PodLostMessage
  | PodDrainingMessage
  | LogMessage
  | HttpRequestMessage
  | CheckEnvelopeMessage
  | CallbackMessage
  | ServingMessage
  | SucceedMessage
  | HandedOverMessage
  | DrainMessage
  | StopMessage;

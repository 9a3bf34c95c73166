/**
 * What a backend promises: it starts and ends pods and tells what became of them. Both backends (child processes,
 * Kubernetes) pass the same contract tests.
 */
import type { FunctionSpec } from './manifest.ts';

/** `pool`: serves until it is retired. `job`: serves the queue's heads until none waits, then exits. */
export type PodKind = 'pool' | 'job';

export interface LaunchRequest {
  /** Chosen by the caller, unique for all time; the pod's `uid` on the process backend. */
  readonly podId: string;
  readonly kind: PodKind;
  /** namespace/name */
  readonly functionKey: string;
  readonly spec: FunctionSpec;
  /** RegisteredFunction.revision: what it will run. */
  readonly revision: string;
  /** Folder that `spec.handler` is relative to. */
  readonly baseDir: string;
  /** What the pod shows in its first hello. */
  readonly credential: string;
  /** `ws://host:port` of the pod port. */
  readonly address: string;
  /** Of a WarmPool: modules that the pod loads beforehand. */
  readonly preload?: readonly string[];
}

export interface BackendPod {
  readonly podId: string;
  readonly kind: PodKind;
  readonly functionKey: string;
  /** For people: the process id, or the pod's name. */
  readonly label: string;
  readonly revision: string;
}

/** A pod that an earlier control plane launched and that still runs: its session, not its launch token, proves it. */
export interface FoundPod extends BackendPod {
  /** Of those that may speak for it. */
  readonly uids: readonly string[];
  /** Key of the proof of a first hello. */
  readonly proofKey: string;
  /** Epoch milliseconds. */
  readonly launchedAt: number;
  /** Key of the WarmPool that it was claimed from. */
  readonly origin?: string;
}

export type BackendEvent =
  /** The pod runs (its process was spawned, its containers started). `at`: epoch milliseconds. */
  | {
      readonly type: 'started';
      readonly podId: string;
      readonly label: string;
      readonly at: number;
    }
  /**
   * The backend has seen who speaks for the pod: its UID (a Job may have several, one after the other). Where
   * `Backend.identifies` is true no hello is accepted before it. `proofKey`: of the first hello's proof; '' where none is asked for.
   */
  | {
      readonly type: 'identified';
      readonly podId: string;
      readonly uid: string;
      readonly proofKey: string;
    }
  /** It is gone, whoever ended it. `reason` is for people: exit code or signal, and its last line. */
  | {
      readonly type: 'exited';
      readonly podId: string;
      readonly reason: string;
      readonly at: number;
      /** It was lost or sent away from outside (a node, an eviction): says nothing against its code. */
      readonly blameless?: boolean;
    }
  /** It cannot start for now (image, quota, scheduling): the reason, for callers and status. It may start later. */
  | {
      readonly type: 'stuck';
      readonly podId: string;
      readonly reason: string;
      /** Nothing suggests that waiting helps. */
      readonly hopeless: boolean;
    }
  /** It was told from outside to end (an eviction, a node's drain): no new work for it; it finishes what it runs. */
  | { readonly type: 'leaving'; readonly podId: string; readonly reason: string };

export interface Backend {
  /** As `spec.backend` names it. */
  readonly name: string;
  /** It tells the UIDs of its pods by `identified`; otherwise a pod's UID is its podId. */
  readonly identifies: boolean;
  /** Its pods outlive this process: they are left to the next one when this one ends. */
  readonly outlives: boolean;
  /**
   * Creates the pod. Resolves once the backend has taken it on; `started` and `exited` follow as events.
   * @throws {SimmerError} `launch_failed` with the backend's reason; then no event follows.
   */
  launch(request: LaunchRequest): Promise<void>;
  /**
   * A pod of a WarmPool has become this function's. Marked outside in its own time: until then a control plane that starts takes it for
   * one that is generic. Unknown ids are ignored.
   */
  claimed(podId: string, functionKey: string, revision: string): void;
  /** Ends the pod: politely, and by force after `graceMs` (0: at once). Unknown ids are ignored. */
  terminate(podId: string, graceMs: number): Promise<void>;
  list(): Promise<readonly BackendPod[]>;
  /** What an earlier process launched and left running. Called once, before the first launch; each is as if launched by now. */
  adopt(): Promise<readonly FoundPod[]>;
  /** One listener; events of one pod come in order, `exited` last and exactly once for each that was launched. */
  onEvent(listener: (event: BackendEvent) => void): void;
  /** Ends every pod and releases what the backend holds. */
  close(): Promise<void>;
}

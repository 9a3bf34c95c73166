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
  /** Folder that `spec.handler` is relative to. */
  readonly baseDir: string;
  /** What the pod shows in its first hello. */
  readonly credential: string;
  /** `ws://host:port` of the pod port. */
  readonly address: string;
}

export interface BackendPod {
  readonly podId: string;
  readonly kind: PodKind;
  readonly functionKey: string;
  /** For people: the process id, or the pod's name. */
  readonly label: string;
}

export type BackendEvent =
  /** The pod runs (its process was spawned, its containers started). `at`: epoch milliseconds. */
  | {
      readonly type: 'started';
      readonly podId: string;
      readonly label: string;
      readonly at: number;
    }
  /** It is gone, whoever ended it. `reason` is for people: exit code or signal, and its last line. */
  | {
      readonly type: 'exited';
      readonly podId: string;
      readonly reason: string;
      readonly at: number;
    };

export interface Backend {
  /** As `spec.backend` names it. */
  readonly name: string;
  /**
   * Creates the pod. Resolves once the backend has taken it on; `started` and `exited` follow as events.
   * @throws {SimmerError} `launch_failed` with the backend's reason; then no event follows.
   */
  launch(request: LaunchRequest): Promise<void>;
  /** Ends the pod: politely, and by force after `graceMs` (0: at once). Unknown ids are ignored. */
  terminate(podId: string, graceMs: number): Promise<void>;
  list(): Promise<readonly BackendPod[]>;
  /** One listener; events of one pod come in order, `exited` last and exactly once for each that was launched. */
  onEvent(listener: (event: BackendEvent) => void): void;
  /** Ends every pod and releases what the backend holds. */
  close(): Promise<void>;
}

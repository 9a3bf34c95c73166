/**
 * What a pod's status says, in the terms of the backend's events: pure.
 *
 *     starting ──container runs──▶ running ──terminated──▶ exited
 *        └──never got to run (evicted, refused by the kubelet)────▶
 *
 * `deleting` stands beside: a pod of any state may have been told to go.
 */
import type { KubeObject } from '../api/resources.ts';
import { lastWords } from './last-words.ts';
import { ANNOTATION, CONTAINER } from './names.ts';

/** Why something cannot start for now. `code` in CamelCase, as in conditions and events. */
export interface Stuck {
  readonly code:
    | 'ImagePullFailed'
    | 'Unschedulable'
    | 'ContainerRefused'
    | 'QuotaExceeded'
    | 'PodRefused'
    | 'MountFailed'
    | 'SandboxFailed';
  readonly message: string;
  /** Nothing suggests that waiting helps. */
  readonly hopeless: boolean;
}

export type PodState =
  | { readonly name: 'starting'; readonly stuck?: Stuck }
  /** `since`: epoch milliseconds, of whole seconds. */
  | { readonly name: 'running'; readonly since: number }
  | {
      readonly name: 'exited';
      readonly ran: boolean;
      /** Exit code 0. */
      readonly clean: boolean;
      readonly reason: string;
      /** Nobody's code did it: the node, the scheduler, an eviction. */
      readonly blameless: boolean;
    };

export interface PodView {
  readonly name: string;
  readonly uid: string;
  readonly state: PodState;
  /** Why it was told to go, in so far as Kubernetes says; undefined: it was not. */
  readonly deleting: string | undefined;
  /** It has a node: only the kubelet can say that it has ended. */
  readonly bound: boolean;
}

interface ContainerStatus {
  name: string;
  state?: {
    waiting?: { reason?: string; message?: string };
    running?: { startedAt?: string };
    terminated?: {
      exitCode: number;
      signal?: number;
      reason?: string;
      message?: string;
      startedAt?: string;
    };
  };
}

interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
}

interface PodStatus {
  phase?: string;
  reason?: string;
  message?: string;
  conditions?: Condition[];
  containerStatuses?: ContainerStatus[];
}

export function viewPod(pod: KubeObject): PodView {
  const { metadata } = pod;
  const status = (pod['status'] ?? {}) as PodStatus;
  const disrupted = conditionOf(status, 'DisruptionTarget', 'True');
  return {
    name: metadata.name ?? '',
    uid: metadata.uid ?? '',
    state: stateOf(status, disrupted),
    deleting:
      metadata.deletionTimestamp === undefined
        ? undefined
        : disrupted === undefined
          ? 'deleted from outside'
          : phrase(disrupted),
    bound: typeof (pod['spec'] as { nodeName?: unknown } | undefined)?.nodeName === 'string',
  };
}

/** Epoch milliseconds. */
export function launchedAtOf(object: KubeObject): number {
  const { annotations, creationTimestamp } = object.metadata;
  const at = Date.parse(annotations?.[ANNOTATION.launchedAt] ?? creationTimestamp ?? '');
  return Number.isNaN(at) ? 0 : at;
}

function stateOf(status: PodStatus, disrupted: Condition | undefined): PodState {
  const state = status.containerStatuses?.find((c) => c.name === CONTAINER)?.state;
  const over = status.phase === 'Failed' || status.phase === 'Succeeded';
  if (state?.terminated) {
    const { reason = '' } = state.terminated;
    const outside = status.reason !== undefined || disrupted !== undefined;
    const ran = reason !== 'ContainerStatusUnknown' && reason !== 'StartError';
    const why = outside ? `${outsideReason(status, disrupted)}; ` : '';
    return {
      name: 'exited',
      ran,
      clean: state.terminated.exitCode === 0,
      reason: why + howItEnded(state.terminated),
      blameless: outside || reason === 'ContainerStatusUnknown',
    };
  }
  if (over) {
    const reason = outsideReason(status, disrupted);
    return { name: 'exited', ran: false, clean: false, reason, blameless: true };
  }
  if (state?.running) {
    const since = Date.parse(state.running.startedAt ?? '');
    return { name: 'running', since: Number.isNaN(since) ? 0 : since };
  }
  const stuck = stuckOf(status, state?.waiting);
  return stuck === undefined ? { name: 'starting' } : { name: 'starting', stuck };
}

/** Signals that end containers, by number; others stay numbers. */
const SIGNALS: Readonly<Record<number, string>> = {
  2: 'SIGINT',
  4: 'SIGILL',
  6: 'SIGABRT',
  7: 'SIGBUS',
  8: 'SIGFPE',
  9: 'SIGKILL',
  11: 'SIGSEGV',
  13: 'SIGPIPE',
  15: 'SIGTERM',
};
/** A shell's and a container runtime's way to say `by signal`. */
const SIGNAL_BASE = 128;

function howItEnded(t: NonNullable<NonNullable<ContainerStatus['state']>['terminated']>): string {
  const words = lastWords(t.message ?? '');
  const suffix = words === '' ? '' : `: ${words}`;
  if (t.reason === 'OOMKilled') return `out of memory (OOMKilled)${suffix}`;
  if (t.reason === 'StartError' || t.reason === 'ContainerCannotRun') {
    return `the container cannot run${suffix}`;
  }
  if (t.reason === 'ContainerStatusUnknown') return 'its node lost sight of it';
  const signal = t.signal || t.exitCode - SIGNAL_BASE;
  const name = SIGNALS[signal];
  return name === undefined ? `exit code ${t.exitCode}${suffix}` : `signal ${name}${suffix}`;
}

function outsideReason(status: PodStatus, disrupted: Condition | undefined): string {
  const reason = status.reason ?? disrupted?.reason ?? 'Failed';
  const message = status.message ?? disrupted?.message ?? '';
  return message === '' ? reason : `${reason}: ${message}`;
}

/** Waiting reasons of the kubelet whose cause is the image. */
const IMAGE_REASONS: ReadonlySet<string> = new Set([
  'ErrImagePull',
  'ImagePullBackOff',
  'InvalidImageName',
  'ErrImageNeverPull',
  'ImageInspectError',
  'RegistryUnavailable',
  'SignatureValidationFailed',
]);
const CONTAINER_REASONS: ReadonlySet<string> = new Set([
  'CreateContainerConfigError',
  'CreateContainerError',
  'RunContainerError',
  'PreCreateHookError',
  'PreStartHookError',
]);
const HOPELESS_REASONS: ReadonlySet<string> = new Set(['InvalidImageName', 'ErrImageNeverPull']);
/** The kubelet has not read the pod's Secrets and ConfigMaps yet; it tries again. */
const NOT_YET_READ = /failed to sync \w+ cache|timed out/i;
/** A registry that answers so will not answer otherwise soon; one that does not answer may. */
const IMAGE_REFUSED =
  /not found|manifest unknown|name unknown|denied|unauthorized|authentication required|invalid reference|no match for platform/i;

function stuckOf(
  status: PodStatus,
  waiting: { reason?: string; message?: string } | undefined,
): Stuck | undefined {
  const reason = waiting?.reason ?? '';
  const message = waiting?.message ?? reason;
  if (IMAGE_REASONS.has(reason)) {
    const hopeless = HOPELESS_REASONS.has(reason) || IMAGE_REFUSED.test(message);
    return { code: 'ImagePullFailed', message, hopeless };
  }
  if (CONTAINER_REASONS.has(reason)) {
    return { code: 'ContainerRefused', message, hopeless: !NOT_YET_READ.test(message) };
  }
  const unscheduled = conditionOf(status, 'PodScheduled', 'False');
  if (unscheduled?.reason === 'Unschedulable') {
    // A cluster may grow for it.
    return { code: 'Unschedulable', message: unscheduled.message ?? '', hopeless: false };
  }
  return undefined;
}

function conditionOf(status: PodStatus, type: string, value: string): Condition | undefined {
  return status.conditions?.find((c) => c.type === type && c.status === value);
}

function phrase(condition: Condition): string {
  const { reason = condition.type, message = '' } = condition;
  return message === '' ? reason : `${reason}: ${message}`;
}

export interface JobView {
  readonly uid: string;
  /** Undefined: it has not finished. */
  readonly finished: { readonly reason: string; readonly failed: boolean } | undefined;
  readonly deleting: boolean;
}

export function viewJob(job: KubeObject): JobView {
  const status = (job['status'] ?? {}) as PodStatus;
  const failed = conditionOf(status, 'Failed', 'True');
  const complete = conditionOf(status, 'Complete', 'True');
  const end = failed ?? complete;
  return {
    uid: job.metadata.uid ?? '',
    finished: end && { reason: phrase(end), failed: end === failed },
    deleting: job.metadata.deletionTimestamp !== undefined,
  };
}

/** Whether the API server's or the Job controller's refusal to create a pod names a quota. */
const QUOTA = /exceeded quota|failed quota|limited: |quota/i;
/** The names of pods that were not created differ from try to try. */
const POD_NAME = /pods? "[^"]*"/g;

/** A refusal to create a pod, as it comes in an ApiError or in an event of the Job. */
export function refusedPod(message: string): Stuck {
  const text = message.replace(POD_NAME, 'the pod');
  return QUOTA.test(text)
    ? { code: 'QuotaExceeded', message: text, hopeless: false }
    : { code: 'PodRefused', message: text, hopeless: /forbidden|invalid/i.test(text) };
}

/** For people and for callers. */
export function stuckReason(stuck: Stuck): string {
  return `${stuck.code}: ${stuck.message}`;
}

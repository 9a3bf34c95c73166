/**
 * What a function's state comes to in the words of the Kubernetes API: conditions, and the trouble that an event tells
 * of. Pure.
 * https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties
 */
import type { ManifestIssue } from '@simmer/protocol/manifest';
import type { PoolStatus } from './pool-status.ts';

export interface Condition {
  readonly type: 'Ready' | 'Progressing' | 'Degraded' | 'Claimable';
  readonly status: 'True' | 'False';
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
  /** RFC 3339, in seconds. */
  readonly lastTransitionTime: string;
}

/** Something that a person should know. `reason` is stable while it lasts; the message may change. */
export interface Trouble {
  readonly reason: string;
  readonly message: string;
  /** How often it has happened in a row. */
  readonly count: number;
}

export interface Judged {
  readonly pool: PoolStatus;
  readonly minReplicas: number;
  readonly generation: number;
  /** What is wrong with the manifest at present. */
  readonly issues: readonly ManifestIssue[];
  /** A manifest is in force: the present one, or the last valid one. */
  readonly served: boolean;
  /** A WarmPool: nobody calls it. */
  readonly generic: boolean;
}

/** As the conditions' schema bounds a message, in characters; a pod's last words can be long. */
const MAX_MESSAGE = 1_024;

/** Everything that is wrong at present, the most telling first. */
export function troublesOf({ pool, issues }: Judged): readonly Trouble[] {
  const troubles: Trouble[] = [];
  if (issues.length > 0) {
    const message = issues.map(({ field, reason }) => (field ? `${field}: ${reason}` : reason));
    troubles.push({ reason: 'ManifestRefused', message: short(message.join('; ')), count: 1 });
  }
  const { stuck, failure } = pool;
  if (failure) {
    const { count } = failure;
    const times = count === 1 ? 'once' : `${count} times in a row`;
    const message = `pods failed before they were ready, ${times}: ${failure.message}`;
    troubles.push({ reason: reasonOf(failure), message: short(message), count });
  }
  if (stuck && !troubles.some(({ reason }) => reason === stuck.reason)) {
    troubles.push({ reason: stuck.reason, message: short(stuck.message), count: 1 });
  }
  return troubles;
}

/** In the order of the schema; `before`: what the object says at present, whose times of transition are kept. */
export function conditionsOf(
  judged: Judged,
  before: readonly Condition[],
  now: string,
): readonly Condition[] {
  const worst = troublesOf(judged)[0];
  const condition = (
    type: Condition['type'],
    holds: boolean,
    reason: string,
    message: string,
  ): Condition => {
    const status = holds ? 'True' : 'False';
    const last = before.find((c) => c.type === type);
    const lastTransitionTime = last?.status === status ? last.lastTransitionTime : now;
    const observedGeneration = judged.generation;
    return { type, status, reason, message, observedGeneration, lastTransitionTime };
  };
  return [
    condition('Ready', ...readiness(judged, worst)),
    condition('Progressing', ...progress(judged)),
    worst
      ? condition('Degraded', true, worst.reason, worst.message)
      : condition('Degraded', false, 'AsExpected', ''),
    ...claimability(judged).map((verdict) => condition('Claimable', ...verdict)),
  ];
}

type Verdict = [holds: boolean, reason: string, message: string];

function readiness(
  { pool, minReplicas, served, generic }: Judged,
  worst: Trouble | undefined,
): Verdict {
  if (!served) return [false, worst?.reason ?? 'ManifestRefused', worst?.message ?? ''];
  if (pool.ready > 0 && pool.ready >= minReplicas) {
    return [true, 'Serving', `${pods(pool.ready)} ready`];
  }
  if (worst && worst.reason !== 'ManifestRefused') return [false, worst.reason, worst.message];
  if (minReplicas > 0) return [false, 'Starting', `${pool.ready} of ${pods(minReplicas)} ready`];
  return [true, 'ScaledToZero', generic ? 'no pods are kept' : 'the next call starts a pod'];
}

/** None where there is no WarmPool to speak of. */
function claimability({ pool: { warmPools } }: Judged): Verdict[] {
  if (warmPools === undefined) return [];
  const { names, reason } = warmPools;
  if (names.length === 0) return [[false, 'NoWarmPoolFits', short(reason)]];
  return [[true, 'WarmPoolFits', `pods of ${names.join(', ')} may become its own`]];
}

function progress({ pool, served }: Judged): Verdict {
  if (!served) return [false, 'ManifestRefused', ''];
  if (pool.rolling) return [true, 'Rolling', 'pods of an earlier revision are being replaced'];
  if (pool.ready < pool.desired) {
    return [true, 'Starting', `${pool.ready} of ${pods(pool.desired)} ready`];
  }
  return [false, 'Settled', ''];
}

/** A backend's words begin with a reason in CamelCase where it has one: `ImagePullFailed: ...`. */
function reasonOf({ code, message }: { code: string; message: string }): string {
  if (code === 'exited_before_ready') return 'CrashLoop';
  const own = /^(?:cannot launch a pod of [-a-z0-9]+: )?([A-Z][A-Za-z]+):/.exec(message)?.[1];
  if (code === 'launch_failed' && own !== undefined) return own;
  return code.replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function pods(count: number): string {
  return count === 1 ? '1 pod' : `${count} pods`;
}

function short(message: string): string {
  return message.length <= MAX_MESSAGE ? message : `${message.slice(0, MAX_MESSAGE - 1)}…`;
}

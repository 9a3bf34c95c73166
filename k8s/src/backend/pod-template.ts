/**
 * A function's spec as the pod or the Job that runs it: pure.
 *
 * Invariants:
 *  1. Nothing of ours is a volume, and no token is mounted: a pod with any volume starts 300 ms later.
 *  2. What is not asked for otherwise is what the restricted Pod Security Standard asks for.
 *  3. A pod that is told to go may finish the longest invocation that it can have been given.
 *  4. The token of a launch stands nowhere but in that pod's own environment.
 */
import type { LaunchRequest } from '@simmer/protocol/backend';
import type { FunctionSpec } from '@simmer/protocol/manifest';
import { warmPoolName } from '@simmer/protocol/names';
import { RUNTIME_ENV } from '@simmer/protocol/runtime-environment';
import {
  apiVersionOf,
  FUNCTIONS,
  JOBS,
  type KubeObject,
  type ObjectMeta,
  PODS,
  WARM_POOLS,
} from '../api/resources.ts';
import {
  ANNOTATION,
  CONTAINER,
  LABEL,
  MANAGED_BY,
  MANAGER,
  POOL_SECRET_KEY,
  poolLabel,
  poolSecretName,
} from './names.ts';

/** Beyond timeout and grace: what the kubelet and the last frames take. */
const TERMINATION_SLACK_MS = 2_000;
/** The runtime ends by itself this much ahead of the kubelet's SIGKILL, so that its last results leave. */
const KILL_MARGIN_MS = 1_000;
/** The longest grace that a runtime takes. */
const MAX_RUNTIME_GRACE_MS = 86_400_000;

/** What is the same for every launch. */
export interface TemplateSettings {
  /** Of functions that name no image. */
  readonly runtimeImage: string;
  /** PEM; '' where pods connect without TLS. */
  readonly caPem: string;
  /** Where pods dial when the launcher's address answers no more; '' : nowhere. */
  readonly fallbackAddress: string;
  /** The longest time that a request may ask for. */
  readonly maxTimeoutMs: number;
  /** How long a Job may live; longer where one invocation alone may take longer. */
  readonly maxLifetimeMs: number;
  /** How long a finished Job stays to be looked at. */
  readonly jobTtlSeconds: number;
}

/** What is new with each launch. */
export interface Launch
  extends Pick<
    LaunchRequest,
    'podId' | 'kind' | 'functionKey' | 'spec' | 'revision' | 'credential' | 'address' | 'preload'
  > {
  /** UID of the Function object; absent where there is none. */
  readonly functionUid?: string;
  /** Epoch milliseconds. */
  readonly launchedAt: number;
}

/** A Job, or a bare pod? */
export function isJob(launch: Pick<LaunchRequest, 'kind' | 'spec'>): boolean {
  return launch.kind === 'job' && launch.spec.overflowKind === 'Job';
}

export function podObject(launch: Launch, settings: TemplateSettings): KubeObject {
  return {
    apiVersion: apiVersionOf(PODS),
    kind: PODS.kind,
    metadata: metadataOf(launch, true),
    spec: podSpecOf(launch, settings),
  };
}

export function jobObject(launch: Launch, settings: TemplateSettings): KubeObject {
  const { labels, annotations } = metadataOf(launch, false);
  return {
    apiVersion: apiVersionOf(JOBS),
    kind: JOBS.kind,
    metadata: metadataOf(launch, true),
    spec: {
      // What becomes of its invocations is decided by their retry policy, not by the Job's.
      backoffLimit: 0,
      completions: 1,
      parallelism: 1,
      activeDeadlineSeconds: lifetimeSecondsOf(launch.spec, settings),
      ttlSecondsAfterFinished: settings.jobTtlSeconds,
      template: { metadata: { labels, annotations }, spec: podSpecOf(launch, settings) },
    },
  };
}

/** How long the pod is given after it was told to go (3), in seconds. */
export function terminationSecondsOf(
  spec: FunctionSpec,
  settings: Pick<TemplateSettings, 'maxTimeoutMs'>,
): number {
  const asked = spec.template?.terminationGracePeriodSeconds;
  if (asked !== undefined) return asked;
  const longest = Math.max(spec.timeoutMs, settings.maxTimeoutMs);
  return Math.ceil((longest + spec.graceMs + TERMINATION_SLACK_MS) / 1_000);
}

function lifetimeSecondsOf(spec: FunctionSpec, settings: TemplateSettings): number {
  const longest = Math.max(spec.timeoutMs, settings.maxTimeoutMs);
  const one = spec.startupTimeoutMs + longest + spec.graceMs;
  return Math.ceil(Math.max(settings.maxLifetimeMs, one) / 1_000);
}

function metadataOf(launch: Launch, named: boolean): ObjectMeta {
  const { podId, kind, functionKey, spec, revision, functionUid, launchedAt } = launch;
  const [namespace] = split(functionKey);
  return {
    labels: {
      ...spec.template?.labels,
      [MANAGED_BY]: MANAGER,
      ...poolLabel(functionKey),
      [LABEL.podId]: podId,
      [LABEL.kind]: kind,
      [LABEL.revision]: revision,
    },
    annotations: {
      ...spec.template?.annotations,
      [ANNOTATION.launchedAt]: new Date(launchedAt).toISOString(),
    },
    ...(named && { name: podId, namespace }),
    ...(named &&
      functionUid !== undefined && { ownerReferences: [ownerOf(functionKey, functionUid)] }),
  };
}

/**
 * Deleting the function leaves nothing. As the controller, too: `kubectl drain` refuses to evict pods that nobody would
 * replace. Without `blockOwnerDeletion`, which would need a permission on finalizers.
 */
export function ownerOf(functionKey: string, uid: string) {
  const warmPool = warmPoolName(functionKey);
  const resource = warmPool === undefined ? FUNCTIONS : WARM_POOLS;
  const name = warmPool ?? split(functionKey)[1];
  return { apiVersion: apiVersionOf(resource), kind: resource.kind, name, uid, controller: true };
}

function podSpecOf(launch: Launch, settings: TemplateSettings): object {
  const { spec } = launch;
  const template = spec.template;
  const terminationSeconds = terminationSecondsOf(spec, settings);
  return given({
    restartPolicy: 'Never',
    automountServiceAccountToken: false, // 1
    enableServiceLinks: false,
    terminationGracePeriodSeconds: terminationSeconds,
    securityContext: {
      runAsNonRoot: true,
      seccompProfile: { type: 'RuntimeDefault' },
      ...given({ runAsUser: template?.runAsUser }),
      ...template?.podSecurityContext,
    }, // 2
    containers: [
      given({
        name: CONTAINER,
        image: spec.image ?? settings.runtimeImage,
        imagePullPolicy: template?.imagePullPolicy,
        command: template?.command,
        args: template?.args,
        env: [...spec.env, ...environmentOf(launch, settings, terminationSeconds)],
        envFrom: template?.envFrom,
        resources: template?.resources,
        volumeMounts: template?.volumeMounts,
        // A pod that ends with an error says with its last lines why.
        terminationMessagePolicy: 'FallbackToLogsOnError',
        securityContext: {
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'] },
          readOnlyRootFilesystem: template?.readOnlyRootFilesystem ?? false,
          ...template?.securityContext,
        }, // 2
      }),
    ],
    volumes: template?.volumes,
    imagePullSecrets: template?.imagePullSecrets,
    nodeSelector: template?.nodeSelector,
    tolerations: template?.tolerations,
    affinity: template?.affinity,
    topologySpreadConstraints: template?.topologySpreadConstraints,
    priorityClassName: template?.priorityClassName,
    runtimeClassName: template?.runtimeClassName,
    serviceAccountName: template?.serviceAccountName,
  });
}

function environmentOf(launch: Launch, settings: TemplateSettings, terminationSeconds: number) {
  const { spec, functionKey } = launch;
  const [, name] = split(functionKey);
  const untilKillMs = Math.max(0, terminationSeconds * 1_000 - KILL_MARGIN_MS);
  const graceMs = Math.min(untilKillMs, MAX_RUNTIME_GRACE_MS);
  const value = (key: string, text: string) => ({ name: key, value: text });
  return [
    value(RUNTIME_ENV.address, launch.address),
    ...(settings.fallbackAddress === ''
      ? []
      : [value(RUNTIME_ENV.fallbackAddress, settings.fallbackAddress)]),
    ...(settings.caPem === '' ? [] : [value(RUNTIME_ENV.ca, settings.caPem)]),
    { name: RUNTIME_ENV.podUid, valueFrom: { fieldRef: { fieldPath: 'metadata.uid' } } },
    {
      name: RUNTIME_ENV.poolKey,
      valueFrom: { secretKeyRef: { name: poolSecretName(name), key: POOL_SECRET_KEY } },
    },
    value(RUNTIME_ENV.token, launch.credential), // 4
    value(RUNTIME_ENV.function, functionKey),
    // Code that the manifest holds comes over the socket.
    ...(spec.source === undefined ? [value(RUNTIME_ENV.handler, spec.handler)] : []),
    value(RUNTIME_ENV.capacity, String(spec.concurrency)),
    value(RUNTIME_ENV.graceMs, String(graceMs)), // 3
    ...(launch.preload ? [value(RUNTIME_ENV.preload, launch.preload.join(','))] : []),
  ];
}

/** Namespace and name. */
export function split(functionKey: string): readonly [namespace: string, name: string] {
  const slash = functionKey.indexOf('/');
  return [functionKey.slice(0, slash), functionKey.slice(slash + 1)];
}

/** Without the fields that are undefined. */
function given<T extends object>(fields: T): T {
  return Object.fromEntries(Object.entries(fields).filter(([, v]) => v !== undefined)) as T;
}

/** Names that the backend gives: labels, annotations, Secrets. They are an interface: people select by them. */

import { functionKey, warmPoolKey, warmPoolName } from '@simmer/protocol/names';

/** `app.kubernetes.io/managed-by`, recommended by Kubernetes. */
export const MANAGED_BY = 'app.kubernetes.io/managed-by';
export const MANAGER = 'simmer';

export const LABEL = {
  /** Name of the function; its namespace is the pod's own. */
  function: 'simmer.dev/function',
  /** In its place: name of the WarmPool. */
  pool: 'simmer.dev/pool',
  podId: 'simmer.dev/pod-id',
  /** `pool` or `job`: what the pod is for, not what it is made with. */
  kind: 'simmer.dev/kind',
  revision: 'simmer.dev/revision',
  /** Of a pod that has become a function's: name of the WarmPool that it comes from. */
  claimedFrom: 'simmer.dev/claimed-from',
} as const;

export const ANNOTATION = {
  /** RFC 3339 with milliseconds, by the control plane's clock. */
  launchedAt: 'simmer.dev/launched-at',
} as const;

/** What the backend watches: everything that it launched, and nothing else. */
export const LAUNCHED_SELECTOR = `${MANAGED_BY}=${MANAGER},${LABEL.podId}`;

/** The container that runs the handler; injected ones (a mesh's) have other names. */
export const CONTAINER = 'function';

/** Which pool it is of, as a label. */
export function poolLabel(key: string): Record<string, string> {
  const warmPool = warmPoolName(key);
  if (warmPool !== undefined) return { [LABEL.pool]: warmPool };
  return { [LABEL.function]: key.slice(key.indexOf('/') + 1) };
}

/** The inverse. */
export function keyOfLabels(namespace: string, labels: Readonly<Record<string, string>>): string {
  const warmPool = labels[LABEL.pool];
  if (warmPool !== undefined) return warmPoolKey(namespace, warmPool);
  return functionKey(namespace, labels[LABEL.function] ?? '');
}

/** Key of the WarmPool that a pod with these labels was claimed from. */
export function originOfLabels(
  namespace: string,
  labels: Readonly<Record<string, string>>,
): string | undefined {
  const name = labels[LABEL.claimedFrom];
  return name === undefined ? undefined : warmPoolKey(namespace, name);
}

/** The Secret that holds the key of a pool, and the one key in it. A WarmPool's name in its key is no function's. */
export const POOL_SECRET_KEY = 'key';
export function poolSecretName(nameInKey: string): string {
  return `simmer-pool-${nameInKey}`;
}

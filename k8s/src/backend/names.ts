/** Names that the backend gives: labels, annotations, Secrets. They are an interface: people select by them. */

/** `app.kubernetes.io/managed-by`, recommended by Kubernetes. */
export const MANAGED_BY = 'app.kubernetes.io/managed-by';
export const MANAGER = 'simmer';

export const LABEL = {
  /** Name of the function; its namespace is the pod's own. */
  function: 'simmer.dev/function',
  podId: 'simmer.dev/pod-id',
  /** `pool` or `job`: what the pod is for, not what it is made with. */
  kind: 'simmer.dev/kind',
  revision: 'simmer.dev/revision',
} as const;

export const ANNOTATION = {
  /** RFC 3339 with milliseconds, by the control plane's clock. */
  launchedAt: 'simmer.dev/launched-at',
} as const;

/** What the backend watches: everything that it launched, and nothing else. */
export const LAUNCHED_SELECTOR = `${MANAGED_BY}=${MANAGER},${LABEL.podId}`;

/** The container that runs the handler; injected ones (a mesh's) have other names. */
export const CONTAINER = 'function';

/** The Secret that holds the key of a function's pool, and the one key in it. */
export const POOL_SECRET_KEY = 'key';
export function poolSecretName(functionName: string): string {
  return `simmer-pool-${functionName}`;
}

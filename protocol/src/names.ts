/** Names of functions and pools. Inside Simmer every key is `namespace/name`; in a URL it is `name` or `name.namespace`. */

export const DEFAULT_NAMESPACE = 'default';

/** A DNS label (RFC 1123) of at most 40 characters: leaves room for a suffix within a pod name's 63. */
export const NAME_PATTERN = '^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$';
const NAME = new RegExp(NAME_PATTERN);

export function isName(text: string): boolean {
  return NAME.test(text);
}

/** `namespace/name` */
export function functionKey(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

const WARM_POOL = 'pool.';

/** The key of a WarmPool, among those of functions: no function's name has a dot. */
export function warmPoolKey(namespace: string, name: string): string {
  return `${namespace}/${WARM_POOL}${name}`;
}

/** The name of the WarmPool that the key is of; undefined where it is a function's. */
export function warmPoolName(key: string): string | undefined {
  const name = key.slice(key.indexOf('/') + 1);
  return name.startsWith(WARM_POOL) ? name.slice(WARM_POOL.length) : undefined;
}

/**
 * The key that a URL's `{name}` stands for, or undefined where it is no name at all.
 * `echo` -> `default/echo`, `echo.team-a` -> `team-a/echo`.
 */
export function keyOfUrlName(urlName: string): string | undefined {
  const dot = urlName.indexOf('.');
  if (dot === -1) return isName(urlName) ? functionKey(DEFAULT_NAMESPACE, urlName) : undefined;
  const name = urlName.slice(0, dot);
  const namespace = urlName.slice(dot + 1);
  return isName(name) && isName(namespace) ? functionKey(namespace, name) : undefined;
}

/** The inverse of keyOfUrlName: how a key is written in a URL and shown to people. */
export function urlNameOfKey(key: string): string {
  const slash = key.indexOf('/');
  const namespace = key.slice(0, slash);
  const name = key.slice(slash + 1);
  return namespace === DEFAULT_NAMESPACE ? name : `${name}.${namespace}`;
}

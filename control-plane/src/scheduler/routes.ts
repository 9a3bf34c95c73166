/** Finds the operation that a request asks for (protocol/operations.ts). Invocations do not come here: ingress.ts knows them by heart. */
import { OPERATIONS, type Operation } from '@simmer/protocol/operations';

interface Route {
  readonly pattern: RegExp;
  readonly operations: readonly Operation[];
}

/** What stands for `{name}` or `{id}`: of a name's own characters those that no operation's verb begins with. */
const SEGMENT_PART = '([^/:]+)';

const ROUTES: readonly Route[] = [...new Set(OPERATIONS.map(({ path }) => path))]
  .filter((path) => !path.includes('...}'))
  .map((path) => ({
    pattern: new RegExp(`^${path.replaceAll('.', '\\.').replace(/\{\w+\}/g, SEGMENT_PART)}$`),
    operations: OPERATIONS.filter((o) => o.path === path),
  }));

export type Routed =
  | { readonly kind: 'found'; readonly operation: Operation; readonly parameter: string }
  /** `allow`: the methods that the path has. */
  | { readonly kind: 'wrong-method'; readonly allow: string }
  | { readonly kind: 'not-found' };

/** `parameter`: what stands for the path's first `{...}`, as it came; '' where it has none. */
export function routeOf(method: string, path: string): Routed {
  for (const { pattern, operations } of ROUTES) {
    const match = pattern.exec(path);
    if (match === null) continue;
    const operation = operations.find((o) => o.method === method);
    if (operation !== undefined) return { kind: 'found', operation, parameter: match[1] ?? '' };
    return { kind: 'wrong-method', allow: operations.map((o) => o.method).join(', ') };
  }
  return { kind: 'not-found' };
}

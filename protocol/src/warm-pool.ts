/**
 * A WarmPool as its keeper sees it: the pool of a function that nobody can call. So its pods are launched, counted, rolled
 * and ended as every function's are.
 */
import {
  API_VERSION,
  type FunctionManifest,
  resolveManifest,
  type WarmPoolManifest,
} from './manifest.ts';

const NO_CODE = '// none yet';

/** What a WarmPool says that no function says. */
export type WarmPoolSettings = Pick<
  WarmPoolManifest['spec'],
  'idle' | 'tenancy' | 'maxShare' | 'preload'
>;

export function settingsOf({ spec }: WarmPoolManifest): WarmPoolSettings {
  const { idle, tenancy, maxShare, preload } = spec;
  return { ...(idle !== undefined && { idle }), tenancy, maxShare, preload };
}

/** Its pods wait for code that comes over the socket. Those beyond the minimum are of no use to anybody: they go at once. */
export function asFunction(manifest: WarmPoolManifest): FunctionManifest {
  const { metadata } = manifest;
  const { idle: _, tenancy: __, maxShare: ___, preload: ____, ...spec } = manifest.spec;
  const resolved = resolveManifest({
    apiVersion: API_VERSION,
    kind: 'Function',
    metadata,
    spec: { ...spec, source: { inline: NO_CODE }, keepAliveMs: 0 },
  });
  // What a WarmPool may say, a function may say: schema/warm-pool.ts takes its fields from there.
  if (!resolved.ok) throw new Error(`no function: ${JSON.stringify(resolved.issues)}`);
  return resolved.manifest as FunctionManifest;
}

/** A Function or WarmPool object as the API server gives it -> what the control plane serves. Pure but for the contents it asks for. */
import { createHash } from 'node:crypto';
import {
  type FunctionManifest,
  type FunctionSpec,
  type ManifestIssue,
  resolveManifest,
} from '@simmer/protocol/manifest';
import { functionKey, warmPoolKey, warmPoolName } from '@simmer/protocol/names';
import {
  type Bundles,
  bundleOf,
  type FunctionSource,
  type RegisteredFunction,
} from '@simmer/protocol/registry';
import { asFunction, settingsOf, type WarmPoolSettings } from '@simmer/protocol/warm-pool';
import { type KubeObject, WARM_POOLS } from '../api/api.ts';
import { environmentOf, type Values } from './environment.ts';
import type { Reference } from './references.ts';
import { referencesOf } from './references.ts';

/** kubectl's copy of the whole manifest. */
export const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

/** What stands in the Secrets and ConfigMaps of the function's namespace (contents.ts). */
export interface KnownContents extends Values {
  unknown(kind: Reference['kind']): string | undefined;
  digest(reference: Reference): string;
  read(name: string, key: string): Uint8Array | string;
}

export type Checked =
  | {
      readonly ok: true;
      readonly key: string;
      readonly manifest: FunctionManifest;
      /** Of a WarmPool. */
      readonly pool?: WarmPoolSettings;
    }
  | { readonly ok: false; readonly issues: readonly ManifestIssue[] };

/** Checks it as every manifest is checked, without what only an object in the cluster has. */
export function checkObject(object: KubeObject): Checked {
  const { name, namespace, labels, annotations } = object.metadata;
  const kept = Object.entries(annotations ?? {}).filter(([key]) => key !== LAST_APPLIED);
  const resolved = resolveManifest({
    apiVersion: object.apiVersion,
    kind: object.kind,
    metadata: {
      name,
      namespace,
      ...(labels && { labels }),
      ...(kept.length > 0 && { annotations: Object.fromEntries(kept) }),
    },
    spec: object['spec'],
  });
  if (!resolved.ok) return resolved;
  const { manifest } = resolved;
  const key = keyOf(object);
  if (manifest.kind !== 'WarmPool') return { ok: true, key, manifest };
  return { ok: true, key, manifest: asFunction(manifest), pool: settingsOf(manifest) };
}

export function keyOf({ kind, metadata }: KubeObject): string {
  const { namespace = '', name = '' } = metadata;
  return (kind === WARM_POOLS.kind ? warmPoolKey : functionKey)(namespace, name);
}

/** Where a registry's informers keep who scaled an object. */
const SCALED_BY = 'scaledBy';

/**
 * Keeps who last set `spec.minReplicas` through the scale subresource (an autoscaler, `kubectl scale`): the API server's record of
 * it is not kept. Whoever else sets the field takes it from them.
 */
export function withScaler(object: KubeObject): KubeObject {
  const { managedFields } = object.metadata;
  if (!Array.isArray(managedFields)) return object;
  for (const entry of managedFields as readonly ManagedFields[]) {
    const { manager = '', subresource, fieldsV1 } = entry;
    if (subresource === 'scale' && fieldsV1?.['f:spec']?.['f:minReplicas'] !== undefined) {
      object[SCALED_BY] = manager;
    }
  }
  return object;
}

/** https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management */
interface ManagedFields {
  readonly manager?: string;
  readonly subresource?: string;
  readonly fieldsV1?: Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>;
}

/** The name that `withScaler` kept. */
export function scalerOf(object: KubeObject): string | undefined {
  const name = object[SCALED_BY];
  return typeof name === 'string' ? name : undefined;
}

export interface RegisterOptions {
  /** What it was before, where it is known: of the same revision, its environment is the same. */
  readonly before?: RegisteredFunction | undefined;
  /** Pods that run already may become its own: its environment is to be known. */
  readonly claimable: boolean;
  /** What a function without an image runs; pods of another one are replaced. */
  readonly stockImage: string;
  readonly bundles: Bundles;
}

/** What it is with the present contents; or why it cannot be served as it stands. */
export function register(
  { key, manifest, pool }: Extract<Checked, { ok: true }>,
  uid: string,
  contents: KnownContents,
  options: RegisterOptions,
): RegisteredFunction | ManifestIssue {
  const { spec } = manifest;
  const references = referencesOf(spec);
  for (const { kind, name } of references) {
    const reason = contents.unknown(kind);
    if (reason !== undefined) return { field: 'spec', reason: `reads ${kind} ${name}: ${reason}` };
  }
  const given = spec.source !== undefined && warmPoolName(key) === undefined;
  const source = given ? sourceOf(spec, contents, options.bundles) : undefined;
  if (source && 'field' in source) return source;
  const digests = references.map((r) => [r.kind, r.name, r.key ?? null, contents.digest(r)]);
  const revision = revisionOf(spec, source?.digest ?? null, digests, options, pool?.preload);
  const { before, claimable } = options;
  const known = before?.revision === revision ? before.environment : undefined;
  const asked = claimable && warmPoolName(key) === undefined;
  const environment =
    known && !('reason' in known) ? known : asked ? environmentOf(spec, contents) : undefined;
  return {
    key,
    manifest,
    baseDir: '',
    revision,
    uid,
    ...(asked && environment && { environment }),
    ...(pool && { pool }),
    ...(source && { source }),
  };
}

function sourceOf(
  spec: FunctionSpec,
  contents: KnownContents,
  bundles: Bundles,
): FunctionSource | ManifestIssue {
  const { inline, configMap, bundle, folder } = spec.source ?? {};
  if (bundle !== undefined) return bundleOf(bundles, bundle, spec.handler);
  if (folder !== undefined) {
    return { field: 'spec.source.folder', reason: 'can be read only from the folder of functions' };
  }
  let bytes: Uint8Array | string = Buffer.from(inline ?? '');
  if (inline === undefined && configMap !== undefined) {
    const field = 'spec.source.configMap';
    const reason = contents.unknown('ConfigMap');
    if (reason !== undefined) return { field, reason };
    bytes = contents.read(configMap.name, configMap.key);
    if (typeof bytes === 'string') return { field, reason: bytes };
  }
  const digest = createHash('sha256').update(bytes).digest('hex');
  return { entry: spec.handler, digest, bytes: bytes as Uint8Array };
}

/**
 * Over all that a running pod cannot take over, and nothing that it can: replicas, queue and the control plane's own
 * times apply at once. The same for the same objects in every process: adopted pods are told apart by it.
 */
function revisionOf(
  spec: FunctionSpec,
  sourceDigest: string | null,
  contents: readonly unknown[],
  options: RegisterOptions,
  preload: readonly string[] = [],
): string {
  const running = {
    handler: spec.handler,
    sourceDigest,
    contents,
    runtime: spec.runtime,
    backend: spec.backend ?? null,
    image: spec.image ?? options.stockImage,
    template: spec.template ?? null,
    env: spec.env,
    concurrency: spec.concurrency,
    graceMs: spec.graceMs,
    maxRequestBytes: spec.maxRequestBytes,
    maxResultBytes: spec.maxResultBytes,
    ...(spec.inputSchema && { inputSchema: spec.inputSchema }),
    ...(spec.outputSchema && { outputSchema: spec.outputSchema }),
    ...(preload.length > 0 && { preload }),
  };
  return createHash('sha256').update(canonical(running)).digest('hex').slice(0, 16);
}

/** JSON with sorted names. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => {
    if (typeof part !== 'object' || part === null || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

/**
 * Whether pods of a WarmPool can become a function's, and why not. Pure.
 *
 * A pod that runs can be given code, environment and the limits that its runtime keeps. It cannot be given another image, node,
 * service account or volume: of these a function may ask only for what the pool's pods have.
 */
import { isDeepStrictEqual } from 'node:util';
import type { FunctionSpec, PodTemplate } from '@simmer/protocol/manifest';
import { functionKey, warmPoolKey, warmPoolName } from '@simmer/protocol/names';
import type { RegisteredFunction } from '@simmer/protocol/registry';
import type { ClaimRecord, Grant } from '../../shared/messages.ts';
import { quantityOf } from './quantity.ts';

/** `reason`: why none fits, for its author. `isAsked`: there are some, or the function names one. */
export type Fit =
  | { readonly claim: ClaimRecord }
  | { readonly reason: string; readonly isAsked: boolean };

/** Names of the WarmPools whose pods may become the function's. */
export function fittingNames(fit: Fit | undefined): readonly string[] {
  if (fit === undefined || !('claim' in fit)) return [];
  return fit.claim.pools.map((key) => warmPoolName(key) as string);
}

/**
 * Environment and schemas go in one frame (protocol/limits.ts, MAX_FRAME_BYTES): half of it for the environment. Its variables
 * are at most 500, so their number fits.
 */
const MAX_ENVIRONMENT_BYTES = 524_288;

/** `pools`: the WarmPools of its namespace. */
export function fitOf(
  fn: RegisteredFunction,
  pools: readonly RegisteredFunction[],
  defaultBackend: string,
): Fit {
  const found = claimOf(fn, pools, defaultBackend);
  const isAsked = pools.length > 0 || fn.manifest.spec.pool !== undefined;
  return 'reason' in found ? { ...found, isAsked } : found;
}

function claimOf(
  fn: RegisteredFunction,
  pools: readonly RegisteredFunction[],
  defaultBackend: string,
): { readonly claim: ClaimRecord } | { readonly reason: string } {
  const { spec, metadata } = fn.manifest;
  if (fn.source === undefined) {
    return {
      reason:
        'its handler is a file of its image or folder: only what spec.source holds can be sent to a pod',
    };
  }
  const environment = environmentOf(fn);
  if ('reason' in environment) return environment;
  const asked = candidates(fn, pools);
  if (typeof asked === 'string') return { reason: asked };
  const fitting: string[] = [];
  const reasons: string[] = [];
  for (const pool of asked) {
    const fault = misfit(spec, pool.manifest.spec, defaultBackend);
    if (fault === undefined) fitting.push(pool.key);
    else reasons.push(`WarmPool ${warmPoolName(pool.key)}: ${fault}`);
  }
  if (fitting.length === 0) {
    const none = `there is no WarmPool in the namespace ${metadata.namespace}`;
    return { reason: reasons.length === 0 ? none : reasons.join('; ') };
  }
  const memoryBytes = Math.floor(
    quantityOf(spec.template?.resources?.limits?.['memory'] ?? 0) ?? 0,
  );
  return { claim: { ...environment, pools: fitting, memoryBytes } };
}

/** Those that it may use; or why there is none. */
function candidates(
  { manifest }: RegisteredFunction,
  pools: readonly RegisteredFunction[],
): readonly RegisteredFunction[] | string {
  const { spec, metadata } = manifest;
  if (spec.pool === undefined) return pools.filter((pool) => pool.pool?.tenancy !== 'Named');
  const key = warmPoolKey(metadata.namespace, spec.pool);
  const named = pools.filter((pool) => pool.key === key);
  return named.length > 0 ? named : `there is no WarmPool ${spec.pool} in its namespace`;
}

/** Its variables, as the registry read them where they stand elsewhere. */
function environmentOf(fn: RegisteredFunction): Omit<Grant, 'memoryBytes'> | { reason: string } {
  const { env, template } = fn.manifest.spec;
  const outside = env.find(({ valueFrom }) => valueFrom !== undefined);
  if (outside?.valueFrom?.fieldRef !== undefined) {
    return { reason: `its variable ${outside.name} is a field of its own pod` };
  }
  if ((template?.envFrom ?? []).length > 0) {
    return { reason: 'spec.template.envFrom needs pods of its own' };
  }
  if (outside !== undefined && fn.environment === undefined) {
    return { reason: `its variable ${outside.name} is read from the cluster when a pod starts` };
  }
  const given = fn.environment ?? {
    env: env.map(({ name, value }) => [name, value ?? ''] as const),
    secrets: [],
  };
  if ('reason' in given) return given;
  let bytes = 0;
  for (const [name, value] of [...given.env, ...given.secrets]) {
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
  }
  if (bytes <= MAX_ENVIRONMENT_BYTES) return given;
  return { reason: `its environment is ${bytes} bytes, over ${MAX_ENVIRONMENT_BYTES}` };
}

function misfit(
  spec: FunctionSpec,
  pool: FunctionSpec,
  defaultBackend: string,
): string | undefined {
  if (spec.runtime !== pool.runtime) return `its runtime is ${pool.runtime}`;
  const backend = pool.backend ?? defaultBackend;
  if ((spec.backend ?? defaultBackend) !== backend) return `its pods are of the backend ${backend}`;
  if (spec.image !== undefined && spec.image !== pool.image) {
    return 'its pods have another image';
  }
  return misfitOfTemplate(spec.template, pool.template);
}

function misfitOfTemplate(
  asked: PodTemplate | undefined,
  given: PodTemplate | undefined,
): string | undefined {
  for (const [field, value] of Object.entries(asked ?? {})) {
    if (field === 'resources') {
      const fault = misfitOfResources(asked?.resources, given?.resources);
      if (fault !== undefined) return fault;
      continue;
    }
    const has = given?.[field as keyof PodTemplate];
    if (!isDeepStrictEqual(value, field === 'readOnlyRootFilesystem' ? (has ?? false) : has)) {
      return `its pods have another ${field}`;
    }
  }
  return undefined;
}

type Resources = PodTemplate['resources'];

/** Requests are had by who asks for no more. A limit of memory is kept by the runtime; others only by the container. */
function misfitOfResources(asked: Resources, given: Resources): string | undefined {
  for (const [name, text] of Object.entries(asked?.requests ?? {})) {
    const wanted = quantityOf(text) ?? Number.POSITIVE_INFINITY;
    const had = quantityOf(given?.requests?.[name] ?? given?.limits?.[name] ?? 0) ?? 0;
    if (wanted > had) return `its pods have less ${name}`;
  }
  for (const [name, text] of Object.entries(asked?.limits ?? {})) {
    const wanted = quantityOf(text) ?? Number.POSITIVE_INFINITY;
    const had = quantityOf(given?.limits?.[name] ?? Number.POSITIVE_INFINITY);
    if (name === 'memory' ? wanted > (had ?? Number.POSITIVE_INFINITY) : wanted !== had) {
      return `its pods have another limit of ${name}`;
    }
  }
  return undefined;
}

/** Fits of all functions, by key. */
export function fitsOf(
  registered: readonly RegisteredFunction[],
  defaultBackend: string,
): ReadonlyMap<string, Fit> {
  const pools = new Map<string, RegisteredFunction[]>();
  const fits = new Map<string, Fit>();
  for (const one of registered) {
    if (warmPoolName(one.key) === undefined) continue;
    const { namespace } = one.manifest.metadata;
    const known = pools.get(namespace);
    if (known === undefined) pools.set(namespace, [one]);
    else known.push(one);
  }
  for (const one of registered) {
    if (warmPoolName(one.key) !== undefined) continue;
    const { name, namespace } = one.manifest.metadata;
    fits.set(functionKey(namespace, name), fitOf(one, pools.get(namespace) ?? [], defaultBackend));
  }
  return fits;
}

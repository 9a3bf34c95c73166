/**
 * The manifests `Function` and `WarmPool` of `simmer.dev/v1alpha1`: one format for `kubectl apply`, for a folder of
 * YAML files and for the REST body. The schemas keep to what a CRD's structural schema can say: no `const`, no numeric
 * `exclusiveMinimum`, no typed `anyOf`; defaults stand in them and are applied by `resolve`.
 *
 * Importing this compiles schemas (about 300 ms): never from the runtime or the scheduler thread; types only there.
 */
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { Value } from 'typebox/value';
import { DEFAULT_NAMESPACE, NAME_PATTERN } from './names.ts';

export const API_VERSION = 'simmer.dev/v1alpha1';

const closed = { additionalProperties: false };
const MAX_POD_COUNT = 10_000;
const DAY_MS = 86_400_000;
/** A function's limits lie below what one process may sensibly hold in memory for one request. */
const MAX_BODY_BYTES = 1_073_741_824;
const BODY_BYTES = 10_485_760;

const EnvVar = Type.Object(
  {
    name: Type.String({
      pattern: '^[A-Za-z_][A-Za-z0-9_]*$',
      maxLength: 256,
      description: 'Name of the variable. `SIMMER_` is reserved.',
    }),
    value: Type.String({ maxLength: 65_536, description: 'Its value.' }),
  },
  closed,
);

/** `Type.Record` would say `patternProperties`, which a structural schema may not hold. */
const StringMap = Type.Unsafe<Record<string, string>>({
  type: 'object',
  additionalProperties: { type: 'string' },
});

const Metadata = Type.Object(
  {
    name: Type.String({
      pattern: NAME_PATTERN,
      description: 'A DNS label of at most 40 characters.',
    }),
    namespace: Type.String({
      pattern: NAME_PATTERN,
      default: DEFAULT_NAMESPACE,
      description: 'The tenant. A DNS label of at most 40 characters.',
    }),
    labels: Type.Optional(StringMap),
    annotations: Type.Optional(StringMap),
  },
  closed,
);

const replicas = (description: string, value: number) =>
  Type.Integer({ minimum: 0, maximum: MAX_POD_COUNT, default: value, description });

const FunctionSpecSchema = Type.Object(
  {
    runtime: Type.Enum(['node'], {
      default: 'node',
      description: 'The language runtime that loads the handler.',
    }),
    handler: Type.String({
      minLength: 1,
      maxLength: 4_096,
      description:
        "The module that exports the handler: a path relative to the manifest (process backend) or to the image's working directory.",
    }),
    env: Type.Array(EnvVar, {
      maxItems: 500,
      default: [],
      description: "Environment of the handler's process.",
    }),
    concurrency: Type.Integer({
      minimum: 1,
      maximum: 1_000,
      default: 1,
      description: 'Invocations that one pod runs at once (its slots).',
    }),
    minReplicas: replicas('Pods kept warm when nothing calls.', 0),
    maxReplicas: Type.Integer({
      minimum: 1,
      maximum: MAX_POD_COUNT,
      default: 10,
      description: 'Pods that the pool may grow to. Jobs come on top, within `overflow`.',
    }),
    overflow: Type.Integer({
      minimum: 0,
      maximum: 1_000,
      default: 4,
      description: 'One-shot pods (Jobs) at once for misses that find the pool at its maximum.',
    }),
    keepAliveMs: Type.Integer({
      minimum: 0,
      maximum: DAY_MS,
      default: 300_000,
      description:
        'How long a pod over the minimum may idle before it is retired, in milliseconds.',
    }),
    startupTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 3_600_000,
      default: 30_000,
      description: 'How long a pod may take from its launch until it is ready, in milliseconds.',
    }),
    timeoutMs: Type.Integer({
      minimum: 1,
      maximum: DAY_MS,
      default: 30_000,
      description:
        'Time an invocation has, its wait in the queue included, in milliseconds. A request may ask for another with X-Timeout-Ms.',
    }),
    graceMs: Type.Integer({
      minimum: 0,
      maximum: 600_000,
      default: 1_000,
      description:
        'How long a handler may go on after its signal was aborted before its pod is killed, in milliseconds.',
    }),
    queue: Type.Object(
      {
        maxLength: Type.Integer({
          minimum: 0,
          maximum: 1_000_000,
          default: 100,
          description: 'Invocations that may wait for a slot. One more is refused with 429.',
        }),
        maxBytes: Type.Integer({
          minimum: 0,
          maximum: 17_179_869_184,
          default: 67_108_864,
          description: 'Bytes of the request bodies that are received, wait or run.',
        }),
      },
      { ...closed, default: {} },
    ),
    maxRequestBytes: Type.Integer({
      minimum: 0,
      maximum: MAX_BODY_BYTES,
      default: BODY_BYTES,
      description: 'Largest request body; a longer one is refused with 413.',
    }),
    maxResultBytes: Type.Integer({
      minimum: 0,
      maximum: MAX_BODY_BYTES,
      default: BODY_BYTES,
      description: 'Largest result that is not streamed; a longer one is result_too_large.',
    }),
    backend: Type.Optional(
      Type.String({
        pattern: NAME_PATTERN,
        description:
          "The backend that launches its pods; the control plane's default where absent.",
      }),
    ),
  },
  closed,
);

const WarmPoolSpecSchema = Type.Object(
  {
    runtime: Type.Enum(['node'], {
      default: 'node',
      description: 'The language runtime of its pods.',
    }),
    minReplicas: replicas('Generic pods kept ready to become a function.', 0),
    maxReplicas: Type.Integer({
      minimum: 1,
      maximum: MAX_POD_COUNT,
      default: 10,
      description: 'Generic pods at most.',
    }),
    backend: Type.Optional(
      Type.String({ pattern: NAME_PATTERN, description: 'The backend that launches its pods.' }),
    ),
  },
  closed,
);

/** A function: the code that is run and how its pods, queue and limits are set. */
export const FunctionManifestSchema = Type.Object(
  {
    apiVersion: Type.Enum([API_VERSION]),
    kind: Type.Enum(['Function']),
    metadata: Metadata,
    spec: FunctionSpecSchema,
  },
  closed,
);

/** A generic pool: warm pods of a runtime that hold no function yet. */
export const WarmPoolManifestSchema = Type.Object(
  {
    apiVersion: Type.Enum([API_VERSION]),
    kind: Type.Enum(['WarmPool']),
    metadata: Metadata,
    spec: WarmPoolSpecSchema,
  },
  closed,
);

export type FunctionManifest = Static<typeof FunctionManifestSchema>;
export type WarmPoolManifest = Static<typeof WarmPoolManifestSchema>;
export type Manifest = FunctionManifest | WarmPoolManifest;
export type FunctionSpec = FunctionManifest['spec'];

/** Where a manifest is wrong: a dotted path (`spec.queue.maxLength`) and a sentence. */
export interface ManifestIssue {
  readonly field: string;
  readonly reason: string;
}

export type ResolvedManifest =
  | { readonly ok: true; readonly manifest: Manifest }
  | { readonly ok: false; readonly issues: readonly ManifestIssue[] };

const validators = {
  Function: { schema: FunctionManifestSchema, check: Compile(FunctionManifestSchema) },
  WarmPool: { schema: WarmPoolManifestSchema, check: Compile(WarmPoolManifestSchema) },
};

/** Applies defaults to one parsed document and checks it. Never throws; `input` is not changed. */
export function resolveManifest(input: unknown): ResolvedManifest {
  try {
    return resolve(input);
  } catch (error) {
    // Nested so deep that walking it exhausts the stack, or no data at all (a function).
    return failed('', `cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function resolve(input: unknown): ResolvedManifest {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    return failed('', 'must be an object with apiVersion, kind, metadata and spec');
  }
  const { apiVersion, kind } = input as { apiVersion?: unknown; kind?: unknown };
  if (apiVersion !== API_VERSION) return failed('apiVersion', `must be ${API_VERSION}`);
  if (kind !== 'Function' && kind !== 'WarmPool') {
    return failed('kind', 'must be Function or WarmPool');
  }
  const { schema, check } = validators[kind];
  const manifest = Value.Default(schema, structuredClone(input)) as Manifest;
  if (!check.Check(manifest)) {
    // An unknown field is told twice: by its object's additionalProperties, and once more as `schema is false` of itself.
    const issues = check
      .Errors(manifest)
      .filter((e) => e.keyword !== 'boolean')
      .map((e) => ({ field: fieldOf(e.instancePath), reason: reasonOf(e) }));
    return { ok: false, issues };
  }
  const { minReplicas, maxReplicas } = manifest.spec;
  if (minReplicas > maxReplicas) {
    return failed('spec.minReplicas', `must be at most spec.maxReplicas (${maxReplicas})`);
  }
  if (manifest.kind === 'Function') {
    const reserved = manifest.spec.env.findIndex((e) => e.name.startsWith('SIMMER_'));
    if (reserved !== -1) {
      return failed(`spec.env[${reserved}].name`, 'names that begin with SIMMER_ are reserved');
    }
  }
  return { ok: true, manifest };
}

function failed(field: string, reason: string): ResolvedManifest {
  return { ok: false, issues: [{ field, reason }] };
}

/** `/spec/env/0/name` -> `spec.env[0].name` */
function fieldOf(pointer: string): string {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => (/^\d+$/.test(part) ? `[${part}]` : `.${part}`))
    .join('')
    .replace(/^\./, '');
}

function reasonOf(e: { keyword: string; message: string; params: object }): string {
  const params = e.params as Record<string, unknown>;
  switch (e.keyword) {
    case 'additionalProperties':
      return `unknown field ${(params['additionalProperties'] as string[]).join(', ')}`;
    case 'required':
      return `lacks ${(params['requiredProperties'] as string[]).join(', ')}`;
    case 'enum':
      return `must be one of ${(params['allowedValues'] as unknown[]).join(', ')}`;
    default:
      return e.message;
  }
}

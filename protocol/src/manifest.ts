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
import { compileSchema, SchemaError } from './json-schema.ts';
import { DEFAULT_NAMESPACE, NAME_PATTERN } from './names.ts';
import { closed, stringMap } from './schema/common.ts';
import { FunctionSpecSchema } from './schema/function.ts';
import { brokenRules } from './schema/rules.ts';
import { WarmPoolSpecSchema } from './schema/warm-pool.ts';

export type { KubernetesPart } from './schema/common.ts';
export { MAX_INLINE_SOURCE_LENGTH } from './schema/environment.ts';
export { RULES, type Rule } from './schema/rules.ts';

export const API_VERSION = 'simmer.dev/v1alpha1';

/** What `spec.handler` is where `spec.source` holds the code and nothing names it. */
export const DEFAULT_SOURCE_NAME = 'handler.js';

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
    labels: Type.Optional(stringMap('Labels of the object.', {}, {})),
    annotations: Type.Optional(stringMap('Annotations of the object.', {}, {})),
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
export type WarmPoolSpec = WarmPoolManifest['spec'];
/** `spec.template` */
export type PodTemplate = NonNullable<FunctionSpec['template']>;
/** One of `spec.env` */
export type EnvVar = FunctionSpec['env'][number];
/** One of `spec.template.envFrom` */
export type EnvFrom = NonNullable<PodTemplate['envFrom']>[number];

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
  const given = structuredClone(input);
  if (kind === 'Function') nameSource(given);
  const manifest = Value.Default(schema, given) as Manifest;
  if (!check.Check(manifest)) {
    const issues = told(check.Errors(manifest)).map((e) => ({
      field: fieldOf(e.instancePath),
      reason: reasonOf(e),
    }));
    return { ok: false, issues };
  }
  const issues = [
    ...brokenRules(kind, manifest),
    ...repeatedVariables(manifest),
    ...badSchemas(manifest),
  ];
  return issues.length > 0 ? { ok: false, issues } : { ok: true, manifest };
}

/** A default that depends on another field, which a schema cannot say. */
function nameSource(manifest: object): void {
  const { spec } = manifest as { spec?: unknown };
  if (typeof spec !== 'object' || spec === null) return;
  const { source, handler } = spec as Record<string, unknown>;
  if (source !== undefined && handler === undefined) {
    Object.assign(spec, { handler: DEFAULT_SOURCE_NAME });
  }
}

/** The CRD says the same by a list that is a map of `name`. */
function repeatedVariables(manifest: Manifest): ManifestIssue[] {
  if (manifest.kind !== 'Function') return [];
  const seen = new Set<string>();
  return manifest.spec.env.flatMap(({ name }, i) => {
    if (!seen.has(name)) {
      seen.add(name);
      return [];
    }
    return [{ field: `spec.env[${i}].name`, reason: `${name} stands in env twice` }];
  });
}

/** What no CRD can say. Compiled as the pods will, so that none fails to start over it. */
function badSchemas(manifest: Manifest): ManifestIssue[] {
  if (manifest.kind !== 'Function') return [];
  const { inputSchema, outputSchema } = manifest.spec;
  return Object.entries({ inputSchema, outputSchema }).flatMap(([name, schema]) => {
    if (schema === undefined) return [];
    try {
      compileSchema(schema);
      return [];
    } catch (error) {
      if (!(error instanceof SchemaError)) throw error;
      return [{ field: `spec.${name}${error.field}`, reason: error.reason }];
    }
  });
}

function failed(field: string, reason: string): ResolvedManifest {
  return { ok: false, issues: [{ field, reason }] };
}

interface Fault {
  readonly keyword: string;
  readonly instancePath: string;
  readonly message: string;
  readonly params: object;
}

/**
 * Without what only repeats another: an unknown field is told by its object and once more as `schema is false` of itself,
 * a wrong value of a map by itself and once more as an unknown field, a wrong alternative by each alternative.
 */
function told(faults: readonly Fault[]): Fault[] {
  const alternatives = new Set(
    faults.filter((e) => e.keyword === 'anyOf').map((e) => e.instancePath),
  );
  return faults.filter((e) => {
    if (e.keyword === 'boolean') return false;
    if (e.keyword === 'type') return !alternatives.has(e.instancePath);
    if (e.keyword !== 'additionalProperties') return true;
    const { additionalProperties } = e.params as { additionalProperties: string[] };
    return !additionalProperties.every((name) =>
      faults.some((f) => f.keyword !== 'boolean' && f.instancePath === `${e.instancePath}/${name}`),
    );
  });
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

function reasonOf(e: Fault): string {
  const params = e.params as Record<string, unknown>;
  switch (e.keyword) {
    case 'additionalProperties':
      return `unknown field ${(params['additionalProperties'] as string[]).join(', ')}`;
    case 'required':
      return `lacks ${(params['requiredProperties'] as string[]).join(', ')}`;
    case 'enum':
      return `must be one of ${(params['allowedValues'] as unknown[]).join(', ')}`;
    case 'anyOf':
      return 'must be a number or a string';
    default:
      return e.message;
  }
}

/** What the schemas of the manifests share. They say nothing that a CRD's structural schema cannot. */
import { Type } from 'typebox';

/** No field but those that are named. */
export const closed = { additionalProperties: false };

/**
 * On Kubernetes: keep what the schema does not name. Such a part is handed to the pod as it stands, and the API server
 * judges it when the pod is created.
 */
export const openEnded = { 'x-kubernetes-preserve-unknown-fields': true };

/** Pods of one pool at most: beyond what a cluster's largest namespaces hold. */
export const MAX_POD_COUNT = 10_000;
/** Of a name that Kubernetes checks itself: a DNS subdomain. */
export const MAX_OBJECT_NAME_LENGTH = 253;
/** Of lists that people write by hand; bounds what a validation costs the API server. */
export const MAX_LIST_LENGTH = 64;

/** A part that Kubernetes defines and Simmer hands on. */
export type KubernetesPart = Readonly<Record<string, unknown>>;

/** `Type.Record` would say `patternProperties`, which a structural schema may not hold. */
export const stringMap = (
  description: string,
  value: object = {},
  bounds: object = { maxProperties: MAX_LIST_LENGTH },
) =>
  Type.Unsafe<Record<string, string>>({
    type: 'object',
    additionalProperties: { type: 'string', ...value },
    ...bounds,
    description,
  });

export const kubernetesPart = (description: string) =>
  Type.Unsafe<KubernetesPart>({ type: 'object', ...openEnded, description });

/** Judged by json-schema.ts, which a structural schema cannot say. */
export const jsonSchema = (description: string) =>
  Type.Optional(kubernetesPart(`${description} JSON Schema 2020-12.`));

/** `500m`, `1`, `128Mi` */
export const quantityMap = (description: string) =>
  Type.Unsafe<Record<string, string | number>>({
    type: 'object',
    additionalProperties: {
      'x-kubernetes-int-or-string': true,
      anyOf: [{ type: 'integer' }, { type: 'string' }],
    },
    maxProperties: MAX_LIST_LENGTH,
    description,
  });

export const objectName = (description: string) =>
  Type.String({ minLength: 1, maxLength: MAX_OBJECT_NAME_LENGTH, description });

/** A key of a Secret or ConfigMap. */
export const dataKey = (description: string) =>
  Type.String({ minLength: 1, maxLength: 253, pattern: '^[-._a-zA-Z0-9]+$', description });

export const optionalFlag = (description: string) => Type.Optional(Type.Boolean({ description }));

export const replicas = (description: string, value: number) =>
  Type.Integer({ minimum: 0, maximum: MAX_POD_COUNT, default: value, description });

export const maxReplicas = (description: string) =>
  Type.Integer({ minimum: 1, maximum: MAX_POD_COUNT, default: 10, description });

/**
 * Turns a manifest's schema into the structural schema of a CRD:
 * https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
 */
import type { Rule } from '@simmer/protocol/manifest';

export type Schema = Record<string, unknown>;

type Properties = Record<string, Schema>;

/** A copy in the API server's words. `rules` are those that judge values below `schema`; paths start at it. */
export function structural(schema: object, rules: readonly Rule[]): Schema {
  const copy = convert(JSON.parse(JSON.stringify(schema)) as Schema);
  for (const rule of rules) {
    const target = at(copy, rule.path);
    const validations = (target['x-kubernetes-validations'] ?? []) as Schema[];
    target['x-kubernetes-validations'] = [...validations, validationOf(rule)];
  }
  return copy;
}

function validationOf(rule: Rule): Schema {
  return {
    rule: rule.cel,
    message: rule.message,
    ...(rule.field === '' ? {} : { fieldPath: rule.field }),
  };
}

/** The part of a schema that `spec.env[].valueFrom` stands for. */
export function at(schema: Schema, path: string): Schema {
  let found = schema;
  for (const part of path.split('.')) {
    const child = ((found['properties'] ?? {}) as Properties)[part.replace('[]', '')];
    if (child === undefined) throw new Error(`no ${path} in the schema`);
    found = part.endsWith('[]') ? (child['items'] as Schema) : child;
  }
  return found;
}

function convert(schema: Schema): Schema {
  const { additionalProperties, required, properties, items, ...rest } = schema;
  // TypeBox leaves the type of an enum out; the tests see to it that each is of strings.
  const converted: Schema = rest['enum'] === undefined ? rest : { type: 'string', ...rest };
  // A structural schema may not close an object: the API server prunes unknown fields, and kubectl refuses them by itself.
  if (typeof additionalProperties === 'object' && additionalProperties !== null) {
    converted['additionalProperties'] = convert(additionalProperties as Schema);
  }
  if (items !== undefined) converted['items'] = convert(items as Schema);
  if (properties !== undefined) {
    const children = properties as Properties;
    converted['properties'] = Object.fromEntries(
      Object.entries(children).map(([name, child]) => [name, convert(child)]),
    );
    // Defaults are applied before validation, so a field with one is never missing; `kubectl explain` should not ask for it.
    const missing = ((required ?? []) as string[]).filter(
      (name) => children[name]?.['default'] === undefined,
    );
    if (missing.length > 0) converted['required'] = missing;
  }
  return converted;
}

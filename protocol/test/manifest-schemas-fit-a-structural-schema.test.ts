/**
 * What a CRD's schema may hold: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
 * ("Specifying a structural schema"), the OpenAPI 3.0 subset that the API server accepts.
 */
import t from 'tap';
import { FunctionManifestSchema, WarmPoolManifestSchema } from '../src/manifest.ts';

type Schema = Record<string, unknown>;

/** Keywords that a structural schema may hold at any level, by what we use of them. */
const ALLOWED = new Set([
  'type',
  'properties',
  'required',
  'additionalProperties',
  'items',
  'maxItems',
  'minLength',
  'maxLength',
  'pattern',
  'minimum',
  'maximum',
  'enum',
  'default',
  'description',
  'maxProperties',
  'x-kubernetes-preserve-unknown-fields',
]);

/** Takes the place of a type: a quantity is written `1` or `500m`. */
const INT_OR_STRING: Schema = {
  'x-kubernetes-int-or-string': true,
  anyOf: [{ type: 'integer' }, { type: 'string' }],
};

function faults(schema: Schema, path: string): string[] {
  if (JSON.stringify(schema) === JSON.stringify(INT_OR_STRING)) return [];
  const found: string[] = [];
  for (const keyword of Object.keys(schema)) {
    if (keyword.startsWith('~')) continue; // TypeBox's own marks are not enumerable in JSON
    if (!ALLOWED.has(keyword)) found.push(`${path}: ${keyword}`);
  }
  // Every value is typed; a TypeBox enum says its values only, and the CRD's writer adds `type: string`.
  const isEnum = Array.isArray(schema['enum']);
  if (typeof schema['type'] !== 'string' && !isEnum) found.push(`${path}: no type`);
  if (isEnum && !(schema['enum'] as unknown[]).every((v) => typeof v === 'string')) {
    found.push(`${path}: an enum of something else than strings`);
  }
  const properties = (schema['properties'] ?? {}) as Record<string, Schema>;
  for (const [name, child] of Object.entries(properties)) {
    found.push(...faults(child, `${path}.${name}`));
  }
  if (schema['items'] !== undefined) found.push(...faults(schema['items'] as Schema, `${path}[]`));
  const additional = schema['additionalProperties'];
  if (typeof additional === 'object' && additional !== null) {
    // The API server refuses `properties` beside a schema for the others.
    if (schema['properties'] !== undefined) found.push(`${path}: both kinds of properties`);
    found.push(...faults(additional as Schema, `${path}.*`));
  }
  return found;
}

for (const [kind, schema] of Object.entries({ FunctionManifestSchema, WarmPoolManifestSchema })) {
  t.test(`${kind} holds only what a structural schema can say`, async (t) => {
    t.same(faults(JSON.parse(JSON.stringify(schema)) as Schema, kind), []);
  });
  t.test(`${kind} describes every field of its spec, and its bounds`, async (t) => {
    const spec = (schema.properties as unknown as Record<string, Schema>)['spec'] as Schema;
    const walk = (s: Schema, path: string): void => {
      for (const [name, child] of Object.entries(
        (s['properties'] ?? {}) as Record<string, Schema>,
      )) {
        t.ok(child['description'], `${path}.${name}`);
        if (child['type'] === 'object') walk(child, `${path}.${name}`);
        if (child['type'] === 'array') walk(child['items'] as Schema, `${path}.${name}[]`);
        if (child['type'] === 'integer')
          t.ok(typeof child['maximum'] === 'number', `${path}.${name}`);
      }
    };
    walk(spec, 'spec');
  });
}

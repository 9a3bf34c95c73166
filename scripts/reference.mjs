/** docs/reference.md: every field of the manifests, from the CRDs, which are made from the schemas. */
import { customResourceDefinitions } from '../k8s/dist/crds/definitions.js';

const cell = (text) => String(text).replaceAll('|', '\\|').replaceAll('\n', ' ');

function typeOf(schema) {
  if (schema['x-kubernetes-int-or-string']) return 'number or string';
  if (schema.type === 'array') return `list of ${typeOf(schema.items)}`;
  if (typeof schema.additionalProperties === 'object')
    return `map to ${typeOf(schema.additionalProperties)}`;
  if (schema.type === 'object') return schema.properties ? 'object' : 'object, as in a pod';
  return schema.type;
}

function allowed(schema) {
  const words = [];
  if (schema.enum) words.push(schema.enum.map((v) => `\`${v}\``).join(', '));
  if (schema.minimum !== undefined || schema.maximum !== undefined) {
    const { minimum = '', maximum = '' } = schema;
    words.push(`${minimum} to ${maximum}`);
  }
  if (schema.pattern && schema.type === 'string') words.push(`\`${schema.pattern}\``);
  if (schema.maxLength) words.push(`at most ${schema.maxLength} characters`);
  if (schema.maxItems) words.push(`at most ${schema.maxItems}`);
  if (schema.maxProperties) words.push(`at most ${schema.maxProperties}`);
  return words.join('; ');
}

function* rows(schema, path) {
  const required = new Set(schema.required ?? []);
  for (const [name, child] of Object.entries(schema.properties ?? {})) {
    const here = path === '' ? name : `${path}.${name}`;
    const byDefault = child.default === undefined ? '' : `\`${JSON.stringify(child.default)}\``;
    yield [
      `\`${here}\``,
      typeOf(child),
      required.has(name) ? 'required' : byDefault,
      allowed(child),
      child.description ?? '',
    ];
    if (child.type === 'array') yield* rows(child.items, `${here}[]`);
    else yield* rows(child, here);
  }
}

const table = (head, body) =>
  [head, head.map(() => '---'), ...body]
    .map((row) => `| ${row.map(cell).join(' | ')} |`)
    .join('\n');

function* rules(schema, path) {
  for (const { message, fieldPath = '' } of schema['x-kubernetes-validations'] ?? []) {
    const field = `${path}${fieldPath}`.replace(/^\./, '');
    yield `- \`${field}\` ${message}`;
  }
  for (const [name, child] of Object.entries(schema.properties ?? {})) {
    const here = path === '' ? name : `${path}.${name}`;
    yield* rules(child, here);
    if (child.type === 'array') yield* rules(child.items, `${here}[]`);
  }
}

const section = ({ spec }) => {
  const [version] = spec.versions;
  const schema = version.schema.openAPIV3Schema;
  const { kind, shortNames, plural } = spec.names;
  const columns = version.additionalPrinterColumns
    .filter(({ priority = 0 }) => priority === 0)
    .map(({ name, description }) => [`\`${name.toUpperCase()}\``, description]);
  return [
    `## ${kind}`,
    `${schema.description} \`kubectl get ${plural}\`, in short \`${shortNames.join('`, `')}\`; \`kubectl explain ${shortNames[0]}.spec\` tells the same as this page.`,
    `### ${kind}: spec`,
    table(['Field', 'Type', 'Default', 'Allowed', 'Meaning'], rows(schema.properties.spec, 'spec')),
    `### ${kind}: rules`,
    'What is refused beyond the shape of each field, in the words of the refusal:',
    [...rules(schema, '')].join('\n'),
    `### ${kind}: status`,
    table(
      ['Field', 'Type', 'Meaning'],
      [...rows(schema.properties.status, 'status')].map(([f, type, , , text]) => [f, type, text]),
    ),
    `### ${kind}: columns of kubectl get`,
    table(['Column', 'Meaning'], columns),
  ].join('\n\n');
};

export function renderReferenceDoc() {
  return `${[
    '# Reference of the manifests',
    '<!-- Made from protocol/src/manifest.ts by `make docs`; `make lint` holds the two together. -->',
    [
      '`apiVersion: simmer.dev/v1alpha1`. The same manifests are applied to a cluster with `kubectl apply`, and read from a folder by the',
      'process backend (`make run`), which ignores `image` and `template`, and refuses a function that reads Secrets or ConfigMaps. Names are DNS',
      'labels of at most 40 characters. What is wrong with a manifest is told by `kubectl apply`, before anything is stored.',
    ].join('\n'),
    ...[...customResourceDefinitions().values()].map(section),
  ].join('\n\n')}\n`;
}

/**
 * JSON Schema 2020-12 of functions' inputs and outputs: what may stand in one, and how values are held against it. The registry
 * refuses by it at apply time, pods check by it; importing it loads ajv and re2js (tens of milliseconds): never on the
 * scheduler thread.
 *
 * A schema is its author's, a value is anybody's. So the bounds keep a schema from making code without end, and a value from
 * running it without end:
 *  J1. At most MAX_SCHEMA_BYTES, MAX_DEPTH, MAX_SUBSCHEMAS; compiling takes well under a second.
 *  J2. References stay inside (`#...`), reach schemas only, never lead back to themselves on the spot, and all of them together are
 *      tried at most MAX_EXPANDED times on one value: `allOf` of two references to `allOf` of two references doubles each time.
 *  J3. Regular expressions run in time linear in the text (RE2), and their programs are bounded.
 *  J4. `uniqueItems` takes time linear in the list; ajv's own compares each with each.
 */
import { Ajv2020, type AnySchemaObject, type ErrorObject } from 'ajv/dist/2020.js';
import { RE2JS } from 're2js';

/** As JSON. */
export const MAX_SCHEMA_BYTES = 65_536;
/** Of everything in it, values of `const` and the like included. */
const MAX_DEPTH = 64;
const MAX_SUBSCHEMAS = 500;
const MAX_EXPANDED = 10_000;
const MAX_PATTERN_CHARS = 1_000;
/** Instructions of all regular expressions together, about: `x{1000}` has a thousand. */
const MAX_PATTERN_SIZE = 10_000;
/** Of one value that does not fit: the field that is wrong, and for alternatives some of what each had asked. */
const MAX_FAULTS = 5;
const MAX_FAULT_CHARS = 1_000;

const DIALECT = 'https://json-schema.org/draft/2020-12/schema';

/** What is wrong with a schema: `field` is a dotted path in it, `.properties.price.pattern`; '' for all of it. */
export class SchemaError extends Error {
  readonly field: string;
  readonly reason: string;
  constructor(field: string, reason: string) {
    super(`${field}: ${reason}`);
    this.field = field;
    this.reason = reason;
  }
}

/** A field that is wrong, as a JSON Pointer (RFC 6901), and what it must be. */
export type ValueFault = readonly [path: string, message: string];

/** What is wrong with a value; undefined: it fits. */
export type Check = (value: unknown) => readonly ValueFault[] | undefined;

type Schema = Readonly<Record<string, unknown>>;

/** How a keyword holds others: one schema, a list, by name; `here`: they judge the same value, not a part of it. */
const HOLDS: Readonly<
  Record<string, { readonly as: 'one' | 'list' | 'map'; readonly here?: true }>
> = {
  allOf: { as: 'list', here: true },
  anyOf: { as: 'list', here: true },
  oneOf: { as: 'list', here: true },
  not: { as: 'one', here: true },
  if: { as: 'one', here: true },
  // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
  then: { as: 'one', here: true },
  else: { as: 'one', here: true },
  dependentSchemas: { as: 'map', here: true },
  properties: { as: 'map' },
  patternProperties: { as: 'map' },
  additionalProperties: { as: 'one' },
  propertyNames: { as: 'one' },
  unevaluatedProperties: { as: 'one' },
  prefixItems: { as: 'list' },
  items: { as: 'one' },
  contains: { as: 'one' },
  unevaluatedItems: { as: 'one' },
  contentSchema: { as: 'one' },
  $defs: { as: 'map' },
  definitions: { as: 'map' },
};

const OTHERS = new Set([
  ...['$schema', '$id', '$ref', '$dynamicRef', '$anchor', '$dynamicAnchor', '$comment'],
  ...['type', 'enum', 'const', 'required', 'dependentRequired', 'format', 'pattern'],
  ...['multipleOf', 'maximum', 'exclusiveMaximum', 'minimum', 'exclusiveMinimum'],
  ...['maxLength', 'minLength', 'maxItems', 'minItems', 'uniqueItems', 'maxContains'],
  ...['minContains', 'maxProperties', 'minProperties', 'title', 'description', 'default'],
  ...['deprecated', 'readOnly', 'writeOnly', 'examples', 'contentEncoding', 'contentMediaType'],
]);

/**
 * Compiles a schema.
 * `known`: it was compiled before and is not judged again.
 * @throws {SchemaError}
 */
export function compileSchema(schema: unknown, known = false): Check {
  const { $schema: _, $id: __, ...own } = schema as Schema;
  if (!known) {
    new Inspection(schema as Schema);
    judge(own);
  }
  const ajv = new Ajv2020({
    strictSchema: true,
    strictTypes: false,
    strictTuples: false,
    validateSchema: false,
    meta: false,
    // `format` tells people; what two libraries take for an e-mail address differs.
    validateFormats: false,
    inlineRefs: false,
    logger: false,
    code: { regExp: linear },
  });
  // Resolved, but not among those that its strict mode knows.
  ajv.addKeyword({ keyword: '$anchor', schemaType: 'string' });
  ajv.removeKeyword('uniqueItems');
  ajv.addKeyword({
    ...{ keyword: 'uniqueItems', type: 'array', schemaType: 'boolean' },
    error: { message: 'must NOT have duplicate items' },
    validate: (wanted: boolean, items: readonly unknown[]) => !wanted || areUnique(items), // J4
  });
  let validate: ReturnType<typeof ajv.compile>;
  try {
    validate = ajv.compile(own as AnySchemaObject);
  } catch (error) {
    throw new SchemaError('', (error as Error).message);
  }
  return (value) => {
    try {
      if (validate(value)) return undefined;
    } catch (error) {
      // A value nested so deep that a recursive schema exhausts the stack.
      return [['', `cannot be judged: ${(error as Error).message}`]];
    }
    return faultsOf(validate.errors ?? []);
  };
}

/** Of the dialect's own schema, which takes longer to compile than most. Made once. */
let dialect: Ajv2020 | undefined;

/** @throws {SchemaError} where a keyword has a value that it cannot have. */
function judge(schema: Schema): void {
  dialect ??= new Ajv2020({ validateFormats: false, logger: false, code: { regExp: linear } });
  if (dialect.validateSchema(schema as AnySchemaObject) === true) return;
  const { instancePath = '', message = 'is no schema' } = dialect.errors?.at(-1) ?? {};
  throw new SchemaError(fieldOfPointer(instancePath), message);
}

// ---- values ------------------------------------------------------------------------------------------------------

/** The last is the keyword that decided; of alternatives those before it say what each had asked. */
function faultsOf(errors: readonly ErrorObject[]): readonly ValueFault[] {
  const last = errors.at(-1);
  if (last === undefined) return [['', 'is not valid']];
  return [last, ...errors.slice(0, Math.min(errors.length - 1, MAX_FAULTS - 1))].map(faultOf);
}

function faultOf({
  instancePath,
  keyword,
  message = 'is not valid',
  params,
}: ErrorObject): ValueFault {
  const { missingProperty, additionalProperty, unevaluatedProperty, allowedValues, allowedValue } =
    params as Record<string, unknown>;
  const name = missingProperty ?? additionalProperty ?? unevaluatedProperty;
  const path = name === undefined ? instancePath : `${instancePath}/${escaped(String(name))}`;
  let text = message;
  if (keyword === 'required') text = 'is missing';
  else if (keyword === 'additionalProperties' || keyword === 'unevaluatedProperties') {
    text = 'is not allowed';
  } else if (keyword === 'enum') text = `must be one of ${JSON.stringify(allowedValues)}`;
  else if (keyword === 'const') text = `must be ${JSON.stringify(allowedValue)}`;
  return [path.slice(0, MAX_FAULT_CHARS), text.slice(0, MAX_FAULT_CHARS)];
}

const escaped = (name: string) => name.replaceAll('~', '~0').replaceAll('/', '~1');

function areUnique(items: readonly unknown[]): boolean {
  const scalars = new Set<unknown>();
  const others = new Set<string>();
  for (const item of items) {
    const isScalar = typeof item !== 'object' || item === null;
    const key = isScalar ? item : canonical(item);
    const seen: Set<unknown> = isScalar ? scalars : others;
    if (seen.has(key)) return false;
    seen.add(key);
  }
  return true;
}

/** JSON with the names in order: equal for what is equal. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => {
    if (typeof part !== 'object' || part === null || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

// ---- regular expressions (J3) ------------------------------------------------------------------------------------

/** ajv asks for it in place of RegExp. It knows its expressions apart by their text. */
const linear = Object.assign(
  (pattern: string) => {
    const compiled = RE2JS.compile(RE2JS.translateRegExp(pattern));
    return { test: (text: string) => compiled.test(text), toString: () => `re2 ${pattern}` };
  },
  { code: 're2' },
) as unknown as { (pattern: string, flags: string): RegExp; code: string };

/** `(?i)` */
const FLAGS = /\(\?[a-zA-Z-]*\)/y;

/** Half the instructions of its program at least. Told from the text: to compile one of a million takes seconds. */
export function sizeOfPattern(pattern: string): number {
  const groups = [{ size: 0, last: 0 }];
  const times = /\{(\d+)(?:,(\d*))?\}/y;
  let top = groups[0] as { size: number; last: number };
  const atom = (size: number) => {
    top.size += size;
    top.last = size;
  };
  const flags = (at: number) => {
    FLAGS.lastIndex = at;
    return FLAGS.test(pattern);
  };
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i];
    times.lastIndex = i;
    const counted = c === '{' ? times.exec(pattern) : null;
    if (counted !== null) {
      const count = Math.max(Number(counted[1]), Number(counted[2] ?? 0));
      top.size += top.last * count;
      top.last *= count + 1;
      i = times.lastIndex - 1;
    } else if (c === '(' && flags(i)) {
      // Nothing by itself: what repeats it repeats what stood before.
      i = FLAGS.lastIndex - 1;
    } else if (c === '(') {
      top = { size: 0, last: 0 };
      groups.push(top);
    } else if (c === ')' && groups.length > 1) {
      const { size } = groups.pop() as { size: number };
      top = groups.at(-1) as { size: number; last: number };
      atom(size + 2);
    } else if (c === '*' || c === '+' || c === '?') {
      top.size += 1;
      top.last += 1;
    } else if (c === '[') {
      while (i + 1 < pattern.length && pattern[i + 1] !== ']') i += pattern[i + 1] === '\\' ? 2 : 1;
      i++;
      atom(1);
    } else {
      if (c === '\\') i++;
      atom(1);
    }
  }
  // A group that is not closed is no expression: compiling tells.
  return groups.reduce((sum, { size }) => sum + size, 0);
}

// ---- schemas (J1, J2) --------------------------------------------------------------------------------------------

interface Edge {
  readonly to: Schema;
  readonly field: string;
}

/** Walks a schema, and throws at the first thing that may not stand in it. */
class Inspection {
  private readonly root: Schema;
  /** Each subschema, and those that it tries on the same value. */
  private readonly here = new Map<Schema, Edge[]>();
  private readonly references: { from: Schema; to: string; field: string }[] = [];
  private readonly anchors = new Map<string, Schema>();
  private count = 0;
  private patternSize = 0;

  constructor(root: Schema) {
    this.root = root;
    if (depthOf(root) > MAX_DEPTH) throw new SchemaError('', `is nested deeper than ${MAX_DEPTH}`);
    const bytes = new TextEncoder().encode(JSON.stringify(root)).length;
    if (bytes > MAX_SCHEMA_BYTES) {
      throw new SchemaError('', `is over ${MAX_SCHEMA_BYTES} bytes of JSON`);
    }
    this.walk(root, '');
    for (const { from, to, field } of this.references) {
      this.here.get(from)?.push({ to: this.target(to, field), field });
    }
    const tried = new Map<Schema, number>();
    for (const schema of this.here.keys()) this.expand(schema, '', tried);
  }

  private walk(schema: unknown, field: string): void {
    if (typeof schema === 'boolean') return;
    if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) {
      throw new SchemaError(field, 'must be a schema: an object, true or false');
    }
    if (++this.count > MAX_SUBSCHEMAS) {
      throw new SchemaError('', `holds more than ${MAX_SUBSCHEMAS} schemas`);
    }
    const own = schema as Schema;
    const edges: Edge[] = this.here.get(own) ?? [];
    this.here.set(own, edges);
    for (const [keyword, value] of Object.entries(own)) {
      const at = `${field}.${keyword}`;
      const holds = Object.hasOwn(HOLDS, keyword) ? HOLDS[keyword] : undefined;
      if (holds === undefined) this.keyword(own, keyword, value, at);
      else {
        for (const [child, where] of childrenOf(holds.as, value, at)) {
          if (keyword === 'patternProperties') this.pattern(where.slice(at.length + 1), where);
          this.walk(child, where);
          if (holds.here && typeof child === 'object') {
            edges.push({ to: child as Schema, field: where });
          }
        }
      }
    }
  }

  private keyword(schema: Schema, keyword: string, value: unknown, field: string): void {
    if (!OTHERS.has(keyword)) {
      throw new SchemaError(field, 'is no keyword of JSON Schema 2020-12 that is supported');
    }
    switch (keyword) {
      case '$schema':
        if (value !== DIALECT && value !== `${DIALECT}#`) {
          throw new SchemaError(field, `must be ${DIALECT}`);
        }
        if (schema !== this.root) throw new SchemaError(field, 'may stand at the top only');
        return;
      case '$id':
        if (schema !== this.root) throw new SchemaError(field, 'may stand at the top only');
        return;
      case '$ref':
      case '$dynamicRef':
        if (typeof value !== 'string' || !value.startsWith('#')) {
          throw new SchemaError(field, 'must begin with #: only parts of this schema can be named');
        }
        this.references.push({ from: schema, to: value, field });
        return;
      case '$anchor':
      case '$dynamicAnchor':
        this.anchors.set(String(value), schema);
        return;
      case 'pattern':
        this.pattern(value, field);
        return;
    }
  }

  private pattern(pattern: unknown, field: string): void {
    if (typeof pattern !== 'string') throw new SchemaError(field, 'must be a string');
    if (pattern.length > MAX_PATTERN_CHARS) {
      throw new SchemaError(field, `is longer than ${MAX_PATTERN_CHARS} characters`);
    }
    this.patternSize += sizeOfPattern(pattern);
    if (this.patternSize > MAX_PATTERN_SIZE) {
      const reason = `repeats too much: the regular expressions of a schema may come to ${MAX_PATTERN_SIZE} steps`;
      throw new SchemaError(field, reason);
    }
    try {
      linear(pattern, 'u');
    } catch (error) {
      const why = (error as Error).message.replace('error parsing regexp: ', '');
      throw new SchemaError(field, `is no regular expression that RE2 knows: ${why}`);
    }
  }

  /** Where a reference leads. */
  private target(reference: string, field: string): Schema {
    let found: unknown;
    if (reference === '#' || reference.startsWith('#/')) {
      found = this.root;
      for (const part of reference.split('/').slice(1)) {
        const name = unescaped(part);
        found =
          typeof found === 'object' && found !== null && Object.hasOwn(found, name)
            ? (found as Schema)[name]
            : undefined;
      }
    } else {
      found = this.anchors.get(reference.slice(1));
    }
    if (typeof found === 'boolean') return {};
    if (!this.here.has(found as Schema)) {
      throw new SchemaError(field, `${reference} names no schema in here`);
    }
    return found as Schema;
  }

  /** How many schemas are tried on one value, this one included. */
  private expand(schema: Schema, field: string, tried: Map<Schema, number>): number {
    const known = tried.get(schema);
    if (known === VISITING) {
      throw new SchemaError(field, 'leads back to itself without going into the value');
    }
    if (known !== undefined) return known;
    tried.set(schema, VISITING);
    let sum = 1;
    for (const edge of this.here.get(schema) ?? []) sum += this.expand(edge.to, edge.field, tried);
    if (sum > MAX_EXPANDED) {
      throw new SchemaError(field, `tries more than ${MAX_EXPANDED} schemas on one value`);
    }
    tried.set(schema, sum);
    return sum;
  }
}

const VISITING = -1;

function* childrenOf(
  as: 'one' | 'list' | 'map',
  value: unknown,
  field: string,
): Generator<readonly [child: unknown, field: string]> {
  if (as === 'one') {
    yield [value, field];
  } else if (as === 'list') {
    if (!Array.isArray(value)) throw new SchemaError(field, 'must be a list of schemas');
    for (const [i, child] of value.entries()) yield [child, `${field}[${i}]`];
  } else {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new SchemaError(field, 'must hold schemas by name');
    }
    for (const [name, child] of Object.entries(value)) yield [child, `${field}.${name}`];
  }
}

/** RFC 6901, section 6: percent-encoded in a URI's fragment. */
function unescaped(part: string): string {
  let text = part;
  try {
    text = decodeURIComponent(part);
  } catch {
    // As it stands.
  }
  return text.replaceAll('~1', '/').replaceAll('~0', '~');
}

/** `/properties/a/items/0` -> `.properties.a.items[0]` */
function fieldOfPointer(pointer: string): string {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => (/^\d+$/.test(part) ? `[${part}]` : `.${unescaped(part)}`))
    .join('');
}

/** Cut off past the bound: what is nested without end is not walked to its end. */
function depthOf(value: unknown, depth = 0): number {
  if (typeof value !== 'object' || value === null) return depth;
  let deepest = depth + 1;
  if (deepest > MAX_DEPTH) return deepest;
  for (const part of Object.values(value)) deepest = Math.max(deepest, depthOf(part, depth + 1));
  return deepest;
}

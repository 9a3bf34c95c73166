import fc from 'fast-check';
import { RE2JS, RE2JSException } from 're2js';
import t from 'tap';
import { compileSchema, SchemaError, sizeOfPattern } from '../src/json-schema.ts';
import { resolveManifest } from '../src/manifest.ts';

function faultOf(schema: unknown): { field: string; reason: string } | undefined {
  try {
    compileSchema(schema);
    return undefined;
  } catch (error) {
    if (!(error instanceof SchemaError)) throw error;
    return { field: error.field, reason: error.reason };
  }
}

const named = <T>(n: number, of: (i: number) => T) =>
  Object.fromEntries(Array.from({ length: n }, (_, i) => [`p${i}`, of(i)]));
const nested = (depth: number): object => (depth === 0 ? {} : { not: nested(depth - 1) });
const twice = (i: number) => ({
  allOf: [{ $ref: `#/$defs/p${i + 1}` }, { $ref: `#/$defs/p${i + 1}` }],
});

const REFUSED: Record<string, [schema: unknown, field: string, reason: RegExp]> = {
  'another dialect': [
    { $schema: 'http://json-schema.org/draft-07/schema#' },
    '.$schema',
    /2020-12/,
  ],
  'a reference to elsewhere': [
    { properties: { a: { $ref: 'https://example.com/a.json' } } },
    '.properties.a.$ref',
    /must begin with #/,
  ],
  'a reference to a file': [{ items: { $ref: 'a.json#/$defs/b' } }, '.items.$ref', /begin with #/],
  'a dynamic reference to elsewhere': [
    { $dynamicRef: 'https://example.com#node' },
    '.$dynamicRef',
    /begin with #/,
  ],
  'a reference to nothing': [{ $ref: '#/$defs/none' }, '.$ref', /names no schema/],
  'a reference to what is no schema': [
    { default: { pattern: '(?=a)' }, $ref: '#/default' },
    '.$ref',
    /names no schema/,
  ],
  'a reference to itself': [{ $ref: '#' }, '.$ref', /back to itself/],
  'a circle on the spot': [
    { $defs: { a: { anyOf: [{ $ref: '#/$defs/b' }] }, b: { not: { $ref: '#/$defs/a' } } } },
    '.$defs.b.not.$ref',
    /back to itself/,
  ],
  'an identity further down': [{ items: { $id: 'https://x/' } }, '.items.$id', /at the top only/],
  $async: [{ $async: true }, '.$async', /no keyword/],
  'a keyword that is misspelt': [{ requried: ['a'] }, '.requried', /no keyword/],
  $data: [{ properties: { a: { maximum: { $data: '1/b' } } } }, '.properties.a.maximum', /number/],
  'a type that is none': [{ properties: { a: { type: 'text' } } }, '.properties.a.type', /must/],
  'a schema that is none': [{ properties: { a: 3 } }, '.properties.a', /must be a schema/],
  lookahead: [{ pattern: '^(?=a)' }, '.pattern', /RE2/],
  'a backreference': [{ items: { pattern: '(a)\\1' } }, '.items.pattern', /RE2/],
  'a pattern for names': [
    { patternProperties: { '(?<!a)b': true } },
    '.patternProperties.(?<!a)b',
    /RE2/,
  ],
  'a pattern that is endless': [{ pattern: '((a{90}){90}){90}' }, '.pattern', /repeats too much/],
  'one that repeats across flags': [
    { pattern: `(${'a'.repeat(500)})(?i){900}` },
    '.pattern',
    /repeats too much/,
  ],
  'a pattern that is long': [{ pattern: 'a'.repeat(1_001) }, '.pattern', /longer than/],
  'many patterns': [
    { properties: named(20, () => ({ pattern: '^.{1,900}$' })) },
    '.properties.p11.pattern',
    /repeats too much/,
  ],
  'too many bytes': [
    { enum: named(1, () => 0), description: 'x'.repeat(65_536) },
    '',
    /65536 bytes/,
  ],
  'too deep': [nested(65), '', /deeper than 64/],
  'a value too deep': [
    { const: JSON.parse(`${'['.repeat(5_000)}${']'.repeat(5_000)}`) },
    '',
    /deeper than 64/,
  ],
  'too many schemas': [{ properties: named(501, () => ({})) }, '', /more than 500/],
  'doubled over and over': [
    { $defs: { ...named(40, twice), p40: {} }, $ref: '#/$defs/p0' },
    '.$defs.p27.allOf[0].$ref',
    /more than 10000/,
  ],
};

for (const [what, [schema, field, reason]] of Object.entries(REFUSED)) {
  t.test(`refused: ${what}`, async (t) => {
    const began = performance.now();
    const fault = faultOf(schema);
    t.equal(fault?.field, field);
    t.match(fault?.reason, reason);
    t.ok(performance.now() - began < 5_000);
  });
}

t.test('taken: what stays inside, whatever it is made of', async (t) => {
  const tree = { type: 'object', properties: { kids: { type: 'array', items: { $ref: '#' } } } };
  for (const schema of [
    {},
    { $schema: 'https://json-schema.org/draft/2020-12/schema', $id: 'https://x/y', type: 'null' },
    tree,
    { $dynamicAnchor: 'node', properties: { next: { $dynamicRef: '#node' } } },
    { $defs: { 'a/b~c d': { $anchor: 'here' } }, anyOf: [{ $ref: '#here' }] },
    { $defs: { 'a/b~c d': {} }, $ref: '#/$defs/a~1b~0c%20d' },
    { format: 'email', contentEncoding: 'base64', examples: [1], readOnly: true },
    { enum: Array.from({ length: 8_000 }, (_, i) => i) },
    {
      properties: named(499, () => ({ type: 'string' })),
      required: Object.keys(named(499, () => 0)),
    },
    { items: { properties: { __proto__: null, constructor: { type: 'string' } } } },
  ]) {
    t.equal(faultOf(schema), undefined, JSON.stringify(schema).slice(0, 60));
  }
});

t.test('the field that is wrong is told as a JSON Pointer', async (t) => {
  const check = compileSchema({
    type: 'object',
    required: ['items'],
    additionalProperties: false,
    properties: {
      items: { type: 'array', items: { properties: { price: { minimum: 0 } } } },
      'a/b': { enum: ['x', 'y'] },
      kind: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      mail: { format: 'email' },
    },
  });
  const items: unknown[] = [];
  t.equal(check({ items, mail: 'no mail' }), undefined, 'a format only tells people');
  t.same(check({ items: [{ price: 1 }, { price: -1 }] }), [['/items/1/price', 'must be >= 0']]);
  t.same(check({}), [['/items', 'is missing']]);
  t.same(check({ items, 'x~/y': 1 }), [['/x~0~1y', 'is not allowed']]);
  t.same(check({ items, 'a/b': 'z' }), [['/a~1b', 'must be one of ["x","y"]']]);
  t.same(check(undefined), [['', 'must be object']]);
  t.same(check({ items, kind: 3 })?.[0], ['/kind', 'must match a schema in anyOf']);
  const long = compileSchema({ maxProperties: 0, additionalProperties: false });
  for (const [path, what] of long({ ['n'.repeat(100_000)]: 1 }) ?? []) {
    t.ok(path.length <= 1_000 && what.length <= 1_000);
  }
});

t.test('what is exponential where one goes back is not here', async (t) => {
  const check = compileSchema({ pattern: '^(a+)+$' });
  const began = performance.now();
  t.ok(check(`${'a'.repeat(100_000)}!`));
  t.equal(check('a'.repeat(100_000)), undefined);
  const unique = compileSchema({ uniqueItems: true });
  t.equal(unique(Array.from({ length: 100_000 }, (_, i) => ({ i }))), undefined);
  t.ok(performance.now() - began < 5_000);
});

t.test('a value nested without end is an answer, not a crash', async (t) => {
  const check = compileSchema({ properties: { a: { $ref: '#' } } });
  let value: object = {};
  for (let i = 0; i < 200_000; i++) value = { a: value };
  t.match(check(value), [['', /cannot be judged/]]);
});

t.test('the size of a regular expression is told from its text', async () => {
  const part = fc.constantFrom(
    ...[
      'a',
      '.',
      '\\d',
      '\\p{L}',
      '[a-z]',
      '[^\\]x]',
      '[[:alpha:]]',
      '\\{',
      '\\u0041',
      '^',
      '{',
      'é',
    ],
    ...['(', ')', '(?:', '(?<n>', '(?i)', '|', '*', '+', '?', '{3}', '{2,7}', '{4,}', '{0,20}'],
  );
  fc.assert(
    fc.property(fc.array(part, { minLength: 1, maxLength: 12 }), (parts) => {
      const pattern = parts.join('');
      try {
        const program = RE2JS.compile(RE2JS.translateRegExp(pattern));
        return program.programSize() <= 2 * sizeOfPattern(pattern) + 10;
      } catch (error) {
        if (error instanceof RE2JSException) return true;
        throw error;
      }
    }),
    { numRuns: 20_000 },
  );
});

t.test('uniqueItems: as comparing each with each', async () => {
  const check = compileSchema({ uniqueItems: true });
  const same = (a: unknown, b: unknown): boolean => {
    if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
    if (Array.isArray(a) !== Array.isArray(b)) return false;
    const keys = Object.keys(a);
    if (keys.length !== Object.keys(b).length) return false;
    return keys.every(
      (key) => Object.hasOwn(b, key) && same(Reflect.get(a, key), Reflect.get(b, key)),
    );
  };
  const item = fc.oneof(
    fc.constantFrom<unknown>(0, 1, '0', '1', 'null', null, true, 'true', '{}', '[]'),
    fc.jsonValue({ maxDepth: 2 }),
  );
  fc.assert(
    fc.property(fc.array(item, { maxLength: 8 }), (items) => {
      const unique = items.every((a, i) => items.every((b, j) => i === j || !same(a, b)));
      return (check(items) === undefined) === unique;
    }),
    { numRuns: 2_000 },
  );
});

t.test('any data at all is a schema or is refused with one typed error', async () => {
  const keyword = fc.constantFrom(
    ...['type', 'properties', 'items', 'allOf', 'anyOf', 'not', '$ref', '$defs', 'pattern', 'enum'],
    ...['required', 'const', 'patternProperties', '$id', 'minimum', 'if', 'prefixItems'],
  );
  const { schema } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom('string', 'object', '#', '#/$defs/a', '^a+$', '(', 0, -1, true, null),
      fc.array(tie('value'), { maxLength: 3 }),
      tie('schema'),
      fc.dictionary(fc.constantFrom('a', 'b', '__proto__'), tie('value'), { maxKeys: 2 }),
    ),
    schema: fc.dictionary(keyword, tie('value'), { maxKeys: 4 }),
  }));
  fc.assert(
    fc.property(schema, (given) => {
      const fault = faultOf(given);
      if (fault !== undefined) return fault.reason !== '';
      // One that was judged compiles again, as pods do it.
      compileSchema(given, true);
      return true;
    }),
    { numRuns: 300 },
  );
});

t.test('a manifest names the field', async (t) => {
  const manifest = (spec: object) =>
    resolveManifest({
      apiVersion: 'simmer.dev/v1alpha1',
      kind: 'Function',
      metadata: { name: 'a' },
      spec: { handler: 'h.js', ...spec },
    });
  t.same(
    manifest({
      inputSchema: { properties: { a: { pattern: '(?=a)' } } },
      outputSchema: { items: [{ type: 'string' }] },
    }),
    {
      ok: false,
      issues: [
        {
          field: 'spec.inputSchema.properties.a.pattern',
          reason:
            'is no regular expression that RE2 knows: invalid or unsupported Perl syntax: `(?=`',
        },
        { field: 'spec.outputSchema.items', reason: 'must be a schema: an object, true or false' },
      ],
    },
  );
  t.match(manifest({ inputSchema: true }), { ok: false, issues: [{ field: 'spec.inputSchema' }] });
  t.match(manifest({ inputSchema: { type: 'object' }, outputSchema: {} }), { ok: true });
});

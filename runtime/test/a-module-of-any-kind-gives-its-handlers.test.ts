import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Stage } from './fake-control-plane.ts';

const ECHO = fileURLToPath(new URL('fixtures/echo.mjs', import.meta.url));

const DEFAULT_FORMS: Record<
  string,
  { file: string; source: string; files?: Record<string, string> }
> = {
  'an ES module': { file: 'h.mjs', source: 'export default async (n) => n + 1;' },
  'an ES module named .js, by its package': {
    file: 'h.js',
    source: 'export default async (n) => n + 1;',
    files: { 'package.json': '{"type":"module"}' },
  },
  'an ES module with a top-level await': {
    file: 'h.mjs',
    source: 'const one = await Promise.resolve(1); export default async (n) => n + one;',
  },
  'an ES module that imports one with a top-level await': {
    file: 'h.mjs',
    source: "import { one } from './one.mjs'; export default async (n) => n + one;",
    files: { 'one.mjs': 'export const one = await new Promise((r) => setImmediate(r, 1));' },
  },
  'CommonJS: module.exports': { file: 'h.cjs', source: 'module.exports = async (n) => n + 1;' },
  'CommonJS: exports.default': { file: 'h.cjs', source: 'exports.default = async (n) => n + 1;' },
  'TypeScript as ESM': {
    file: 'h.mts',
    source: 'export default async (n: number): Promise<number> => n + 1;',
  },
  'TypeScript as CommonJS': {
    file: 'h.cts',
    source: 'module.exports = (n: number): number => n + 1;',
  },
  'a handler that is not async': { file: 'h.mjs', source: 'export default (n) => n + 1;' },
  'a handler that returns a thenable': {
    file: 'h.mjs',
    source: 'export default (n) => ({ then: (done) => done(n + 1) });',
  },
};

for (const [name, { file, source, files }] of Object.entries(DEFAULT_FORMS)) {
  t.test(name, async (t) => {
    const stage = await Stage.open(t);
    const { link } = await stage.ready(source, { file, files: files ?? {} });
    t.equal(await link.output(link.call({ input: 1 })), 2);
  });
}

const FETCH_FORMS = {
  'an ES module': { file: 'h.mjs', source: "export const fetch = async () => new Response('hi');" },
  CommonJS: { file: 'h.cjs', source: "exports.fetch = async () => new Response('hi');" },
  'a default export with a fetch method': {
    file: 'h.mjs',
    source: "export default { text: 'hi', async fetch() { return new Response(this.text); } };",
  },
};

for (const [name, { file, source }] of Object.entries(FETCH_FORMS)) {
  t.test(`fetch from ${name}`, async (t) => {
    const stage = await Stage.open(t);
    const { link } = await stage.ready(source, { file });
    const result = await link.result(link.request('GET', '/'));
    t.equal(Buffer.from(result.body ?? []).toString(), 'hi');
  });
}

t.test('of a module with both, each answers its own form', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(`
    export default () => 'value';
    export const fetch = () => new Response('raw');`);
  t.equal(await link.output(link.call({})), 'value');
  const result = await link.result(link.request('GET', '/'));
  t.equal(Buffer.from(result.body ?? []).toString(), 'raw');
});

t.test('a path relative to the working directory', async (t) => {
  const stage = await Stage.open(t);
  stage.start('', { env: { SIMMER_HANDLER: relative(process.cwd(), ECHO) } });
  const link = await stage.plane.ready();
  t.same(await link.output(link.call({ input: [1] })), [1]);
});

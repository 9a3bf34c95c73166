import { spawnSync } from 'node:child_process';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const { failuresOf } = (await import(new URL('../scripts/failures.mjs', import.meta.url).href)) as {
  failuresOf: (report: string) => string[];
};

const TEST = `
import t from '${join(ROOT, 'node_modules/tap/dist/esm/index.js')}';
t.test('outer', async (t) => {
  await t.test('inner', async (t) => {
    t.ok(true, 'fine');
    t.equal(1, 2, 'one is two # time=3');
  });
  await t.test('throws', async () => {
    throw new Error('thrown by the test');
  });
  await t.test('passes', async (t) => t.ok(true));
});
t.test('to be written', { todo: true }, async (t) => t.fail('not yet'));
t.equal('a', 'b', 'at the top');
`;

t.test('each assertion that failed is named by what leads to it, and nothing else', async (t) => {
  const folder = t.testdir({ 'some.test.mjs': TEST, 'ends.test.mjs': 'process.exit(3);' });
  const files = ['some', 'ends'].map((name) => relative(ROOT, join(folder, `${name}.test.mjs`)));
  const run = join(ROOT, 'node_modules/tap/dist/esm/run.mjs');
  const options = ['--reporter=tap', '--no-color', '--disable-coverage'];
  const { TAP: _, ...env } = process.env;
  const { status, stdout } = spawnSync(process.execPath, [run, ...options, ...files], {
    cwd: ROOT,
    env,
    encoding: 'utf8',
  });
  t.not(status, 0);

  const failures = failuresOf(stdout);
  const titles = failures.map((failure) => failure.split('\n')[0]).sort();
  t.strictSame(titles, [
    files[1],
    `${files[0]} > at the top`,
    `${files[0]} > outer > inner > one is two # time=3`,
    `${files[0]} > outer > throws > thrown by the test`,
  ]);
  const one = failures.find((failure) => failure.includes('one is two')) ?? '';
  t.match(one, /\+\+\+ actual[\s\S]*-2[\s\S]*\+1/, 'with its difference');
  t.notMatch(one, /t\.ok\(true/, 'and without the source');
  t.match(
    failures.find((failure) => failure.startsWith(`${files[1]}`)),
    /exitCode: 3/,
  );
});

t.test('a long detail is cut, and a report without a failure has none', async (t) => {
  const detail = Array.from({ length: 100 }, (_, line) => `  line${line}: x`);
  const report = ['TAP version 14', 'not ok 1 - long', '  ---', ...detail, '  ...', '1..1'];
  const [failure = ''] = failuresOf(report.join('\n'));
  t.equal(failure.split('\n').length, 42);
  t.match(failure, /line39[\s\S]*\(60 lines more\)$/);
  t.strictSame(failuresOf('TAP version 14\nok 1 - a\nok 2 - b # SKIP\n1..2\n'), []);
});

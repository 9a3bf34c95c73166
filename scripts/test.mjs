/**
 * Runs the tests of all workspaces with tap and notes its own count of assertions in .tap/counts.json. What failed
 * stands at the end of the output as well; where that is no terminal (whose reporter sees to it), in .tap/failures.txt too.
 * `node scripts/test.mjs [tap options] [test files]`; without files: every test that needs no cluster.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { failuresOf } from './failures.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const COUNTS = join(ROOT, '.tap/counts.json');
const FAILURES = join(ROOT, '.tap/failures.txt');
/** The root's come last: they start everything. */
const FOLDERS = [
  'protocol',
  'runtime',
  'k8s',
  'control-plane',
  'client',
  'cli',
  'benchmarks',
  'chaos',
  'simulator',
  '.',
];
/** Below `k8s/test`: what needs a cluster (scripts/test-k8s.mjs). */
const NEEDS_CLUSTER = /^k8s\/test\/cluster\//;

function discover() {
  return FOLDERS.flatMap((folder) => {
    const tests = join(folder, 'test');
    if (!existsSync(join(ROOT, tests))) return [];
    return readdirSync(join(ROOT, tests), { recursive: true })
      .filter((name) => name.endsWith('.test.ts'))
      .sort()
      .map((name) => join(tests, name))
      .filter((path) => !NEEDS_CLUSTER.test(path));
  });
}

const given = process.argv.slice(2);
const options = given.filter((arg) => arg.startsWith('-'));
const files = given.filter((arg) => !arg.startsWith('-'));
const reporter = process.stdout.isTTY
  ? ['--reporter=base', '--color']
  : ['--reporter=tap', '--no-color'];

mkdirSync(join(ROOT, '.tap'), { recursive: true });
for (const path of [COUNTS, FAILURES]) rmSync(path, { force: true });
const tap = spawn(
  process.execPath,
  [
    join(ROOT, 'node_modules/tap/dist/esm/run.mjs'),
    ...reporter,
    ...options,
    ...(files.length > 0 ? files : discover()),
  ],
  { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] },
);

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => tap.kill(signal));

let report = '';
tap.stdout.setEncoding('utf8').on('data', (data) => {
  process.stdout.write(data);
  report += data;
});

tap.on('close', (code, signal) => {
  // tap ends its report with one line of totals.
  const totals =
    stripVTControlCharacters(report.slice(-4_096))
      .match(/# \{ total: (\d+)[^}]*\}\s/g)
      ?.at(-1) ?? '';
  const count = (name) => Number(totals.match(new RegExp(`${name}: (\\d+)`))?.[1] ?? 0);
  const passed = count('pass');
  let failed = count('fail');
  const ok = code === 0 && signal === null;
  // A runner that died, or one that found nothing to run, is a failure although it counted none.
  if ((!ok || passed === 0) && failed === 0) failed = 1;
  writeFileSync(COUNTS, JSON.stringify({ passed, failed }));
  const failures = failuresOf(report);
  if (failures.length > 0) {
    writeFileSync(FAILURES, `${failures.join('\n')}\n`);
    console.log(`\nFailed:\n${failures.join('\n')}`);
  }
  process.exitCode = failed === 0 ? 0 : 1;
});

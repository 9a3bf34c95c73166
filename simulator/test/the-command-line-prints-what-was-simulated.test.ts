import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { parse } from '../src/arguments.ts';
import { REGIME_NAMES } from '../src/regimes.ts';
import type { ReplayResult } from '../src/replay/replay.ts';
import type { Summary } from '../src/report/summary.ts';

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const SMALL = ['--functions', '12', '--days', '0.5'];

function simulate(...args: string[]) {
  return spawnSync(process.execPath, ['--import', 'tsx', MAIN, ...args], { encoding: 'utf8' });
}

t.test('a table with a line for each policy, and a plot', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'simmer-plot-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const svg = join(folder, 'plot.svg');
  const { status, stdout } = simulate(...SMALL, '--svg', svg);
  t.equal(status, 0);
  for (const name of [
    'none',
    'fixed 1 min',
    'fixed 10 min',
    'Knative KPA',
    'Simmer, HybridHistogram',
    'Simmer, GreedyDual',
  ]) {
    t.match(stdout, `| ${name} `);
  }
  t.match(stdout, '+ 10 generic');
  t.match(stdout, 'seed 1');
  const text = readFileSync(svg, 'utf8');
  t.match(text, /^<svg [\s\S]*<\/svg>\n$/);
  t.equal(text.match(/fill="none" stroke=/g)?.length, REGIME_NAMES.length);
});

t.test('JSON, the same for the same seed, one round for each', async (t) => {
  const args = [...SMALL, '--json', '--seeds', '5,6', '--policies', 'fixed-1m,fixed'];
  const [first, second] = [simulate(...args), simulate(...args)];
  t.equal(first.stdout, second.stdout);
  const rounds = JSON.parse(first.stdout) as { load: { seed: number }; results: Summary[] }[];
  t.same(
    rounds.map(({ load }) => load.seed),
    [5, 6],
  );
  t.same(
    rounds[0]?.results.map((r) => r.regime),
    ['fixed-10m', 'fixed-1m', 'fixed'],
    'and what they are measured against',
  );
  t.notSame(rounds[0]?.results, rounds[1]?.results);
});

t.test('a wrong argument is told, with what is allowed', async (t) => {
  const { status, stderr } = simulate('--policies', 'best');
  t.equal(status, 2);
  t.match(stderr, 'none, fixed-1m, fixed-10m');
  t.throws(() => parse(['--functions', '0']), /--functions takes a whole number from 1 to/);
  t.throws(() => parse(['--days', 'many']), /--days takes a number from/);
  t.throws(() => parse(['--burst-share', '1']), /--burst-share takes a number from 0 to 0.9/);
  t.throws(() => parse(['--what']), /Unknown option/);
  t.equal(parse(['--help']), 'help');
});

t.test('a file that is not there is named', async (t) => {
  const { status, stderr } = simulate('--trace-2021', 'nowhere.csv');
  t.equal(status, 1);
  t.match(stderr, "open 'nowhere.csv'");
  t.notMatch(stderr, ' at ');
});

t.test('a replay calls a real server and sets what came of it beside the prediction', async (t) => {
  const args = ['--replay', '--replay-functions', '3', '--replay-seconds', '6', '--json'];
  const { status, stdout, stderr } = simulate(...args);
  t.equal(status, 0, stderr);
  const { coldStartMs, comparisons } = JSON.parse(stdout) as ReplayResult;
  t.ok(coldStartMs > 0);
  t.equal(comparisons.length, 2);
  for (const { real, simulated } of comparisons) {
    t.equal(real.failed, 0);
    t.equal(real.calls, simulated.calls);
    t.ok(real.cold >= 3 && real.cold <= real.calls, 'each function is cold at first');
    t.ok(real.waitMeanMs > 0 && simulated.waitMeanMs > 0);
  }
});

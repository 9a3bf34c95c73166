/**
 * This checkout beside another commit: both are built, both run, rounds alternate, and the ratio of each round is quoted
 * with its spread. The way a change shows that the warm path has not paid for it. `node compare.js --base REF`.
 *
 * This checkout's side asks its callers for API keys, has ten thousand of them, and keeps rate limits; the base, which may know
 * of none of that, runs without. `--plain`: neither does.
 */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { KEYS, startKeyed } from './baselines/keyed.ts';
import { ROOT, startSimmer } from './baselines/simmer.ts';
import type { Running } from './baselines/target.ts';
import { Generator } from './load/generator-process.ts';
import type { LoadResult } from './load/recorder.ts';
import { describeMachine, machineLine } from './machine.ts';
import { number, quantity } from './report/format.ts';
import type { Unit } from './results.ts';
import { type Context, drive, failures, type LoadShape } from './scenarios/context.ts';
import { median, ratios, spread } from './stats.ts';

const ROUNDS = 11;
const WARM_UP_MS = 3_000;

const LOADS: readonly { name: string; load: LoadShape; figures: readonly Figure[] }[] = [
  {
    name: 'idle, 1 connection',
    load: {
      bodyBytes: 256,
      warmupMs: 300,
      durationMs: 1_700,
      mode: { loop: 'closed', connections: 1 },
    },
    figures: [
      { metric: 'p50', unit: 'ms', better: 'lower', of: (r) => r.ok.p50Ms },
      { metric: 'p99', unit: 'ms', better: 'lower', of: (r) => r.ok.p99Ms },
    ],
  },
  {
    name: '64 connections',
    load: {
      bodyBytes: 256,
      warmupMs: 300,
      durationMs: 1_700,
      mode: { loop: 'closed', connections: 64 },
    },
    figures: [{ metric: 'throughput', unit: '/s', better: 'higher', of: (r) => r.throughput }],
  },
];

interface Figure {
  readonly metric: string;
  readonly unit: Unit;
  readonly better: 'lower' | 'higher';
  readonly of: (result: LoadResult) => number;
}

/** Prints the table. @throws when either checkout does not build or start. */
export async function compare(base: string, plain = false): Promise<void> {
  const baseRoot = checkOut(base);
  const generator = new Generator();
  const log = (text: string) => process.stderr.write(`${text}\n`);
  const context: Context = { generator, quick: false, log };
  const running: Running[] = [];
  try {
    build(baseRoot);
    const options = { pods: 1, handler: 'echo' } as const;
    running.push(await startSimmer(options, baseRoot));
    running.push(plain ? await startSimmer(options) : await startKeyed());
    const [theirs, ours] = running as [Running, Running];
    for (const target of running) {
      await drive(context, target, {
        bodyBytes: 256,
        warmupMs: 0,
        durationMs: WARM_UP_MS,
        mode: { loop: 'closed', connections: 32 },
      });
    }
    const with10k = plain ? '' : `; this checkout with ${KEYS} API keys and rate limits`;
    console.log(`${machineLine(describeMachine(ROOT))}; base ${base}${with10k}\n`);
    console.log('| Load | Figure | Base | This checkout | Ratio | Quartiles of the rounds | |');
    console.log('| --- | --- | --- | --- | --- | --- | --- |');
    for (const { name, load, figures } of LOADS) {
      log(`${name}: ${ROUNDS} rounds`);
      const before: LoadResult[] = [];
      const after: LoadResult[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        before.push(await drive(context, theirs, load));
        after.push(await drive(context, ours, load));
      }
      const failed = failures([...before, ...after]);
      if (failed > 0) throw new Error(`${name}: ${failed} requests failed`);
      for (const f of figures) {
        const [a, b] = [before.map(f.of), after.map(f.of)];
        const ratio = spread(ratios(b, a));
        const quartiles = `${number(ratio.q1)} to ${number(ratio.q3)}`;
        console.log(
          `| ${name} | ${f.metric} | ${quantity(median(a), f.unit)} | ${quantity(median(b), f.unit)} | ${number(ratio.median)} | ${quartiles} | ${verdict(ratio, f.better)} |`,
        );
      }
    }
  } finally {
    await Promise.all(running.map((target) => target.stop()));
    generator.close();
    git('worktree', 'remove', '--force', baseRoot);
    rmSync(baseRoot, { recursive: true, force: true });
  }
}

/** A difference is one where at least three rounds of four agree on it. */
function verdict(ratio: { q1: number; q3: number }, better: 'lower' | 'higher'): string {
  if (ratio.q1 <= 1 && ratio.q3 >= 1) return 'no difference beyond the spread';
  return ratio.q1 > 1 === (better === 'higher') ? 'better' : 'worse';
}

function git(...args: string[]): void {
  execFileSync('git', args, { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
}

function checkOut(ref: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'simmer-base-'));
  git('worktree', 'add', '--detach', '--force', dir, ref);
  return dir;
}

/** Builds a checkout with this one's packages where both name the same, otherwise with its own. */
function build(root: string): void {
  const run = (command: string, ...args: string[]) =>
    execFileSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  const lock = (checkout: string) => readFileSync(join(checkout, 'package-lock.json'), 'utf8');
  if (!existsSync(join(root, 'scripts/build.mjs')) || lock(root) !== lock(ROOT)) {
    run('make', 'build');
    return;
  }
  const packages = join(ROOT, 'node_modules');
  const links = join(root, 'node_modules');
  mkdirSync(join(links, '@simmer'), { recursive: true });
  for (const entry of readdirSync(packages)) {
    if (entry !== '@simmer') symlinkSync(join(packages, entry), join(links, entry));
  }
  // The workspaces must be its own: links into this checkout would measure this one twice.
  for (const workspace of readdirSync(join(packages, '@simmer'))) {
    symlinkSync(join('../..', workspace), join(links, '@simmer', workspace));
    // Packages of which it wants another version than the rest.
    const own = join(workspace, 'node_modules');
    if (existsSync(join(ROOT, own)) && existsSync(join(root, workspace))) {
      symlinkSync(join(ROOT, own), join(root, own));
    }
  }
  run(process.execPath, 'scripts/build.mjs');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: { base: { type: 'string' }, plain: { type: 'boolean' } },
  });
  if (values.base === undefined) throw new Error('--base REF is wanted');
  await compare(values.base, values.plain);
}

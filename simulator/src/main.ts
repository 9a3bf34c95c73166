/**
 * The simulator: `make simulate`. Prints its table (or JSON) on standard output, what it is doing on standard error; exits 2 where
 * an argument is wrong, 1 where a run fails.
 */
import { writeFileSync } from 'node:fs';
import { type Arguments, parse, USAGE } from './arguments.ts';
import type { LoadSpec } from './load/spec.ts';
import { plot } from './report/plot.ts';
import { table } from './report/table.ts';
import { runAll } from './run.ts';

function log(text: string): void {
  process.stderr.write(`${(performance.now() / 1_000).toFixed(0).padStart(4)} s  ${text}\n`);
}

function titleOf(load: LoadSpec): string {
  if (load.kind === 'trace-2019') return `trace of 2019 in ${load.folder}`;
  if (load.kind === 'trace-2021') return `trace of 2021 in ${load.file}`;
  const bursts = load.bursts.share > 0 ? `, ${load.bursts.share * 100} % of calls in bursts` : '';
  return `${load.functions} functions of the 2019 shape, ${load.days} days, seed ${load.seed}${bursts}`;
}

async function main(args: Arguments): Promise<void> {
  const { regimes, withReserve, settings } = args;
  if (args.replay !== undefined) {
    const { replay, replayTable } = await import('./replay/replay.ts');
    const result = await replay(args.replay, log);
    console.log(args.json ? JSON.stringify(result, null, 2) : replayTable(result));
    return;
  }
  const rounds: object[] = [];
  for (const load of args.loads) {
    const title = titleOf(load);
    log(title);
    const summaries = await runAll({ load, settings, regimes, withReserve }, log);
    rounds.push({ load, settings, results: summaries });
    if (!args.json) console.log(`${title}\n\n${table(summaries)}\n`);
    if (args.svg !== undefined) writeFileSync(args.svg, plot(summaries, title));
  }
  if (args.json) console.log(JSON.stringify(rounds, null, 2));
}

let parsed: Arguments | 'help' | undefined;
try {
  parsed = parse(process.argv.slice(2));
} catch (error) {
  console.error(`${(error as Error).message}\n\n${USAGE}`);
  process.exitCode = 2;
}
if (parsed === 'help') console.log(USAGE);
else if (parsed !== undefined) {
  try {
    await main(parsed);
  } catch (error) {
    // A file that is not there, or not what it should be: its message says which.
    console.error((error as Error).message);
    process.exitCode = 1;
  }
}

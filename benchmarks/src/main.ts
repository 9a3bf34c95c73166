/**
 * The benchmarks: `node benchmarks/dist/main.js [full|quick|compare REF] [options]`. Prints its tables on standard
 * output, what it is doing on standard error; exits 1 when a target is missed.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from './baselines/simmer.ts';
import { compare } from './compare.ts';
import { Generator } from './load/generator-process.ts';
import { describeMachine, machineLine } from './machine.ts';
import { writeDocs } from './report/docs.ts';
import { plot } from './report/svg.ts';
import { misses, tables } from './report/table.ts';
import type { Finding } from './results.ts';
import { SCENARIOS } from './scenarios/all.ts';

const USAGE = `node benchmarks/dist/main.js [full | quick | compare REF] [options]
  full             every scenario, about half an hour (the default)
  quick            the most telling ones, under a minute (also: --quick)
  compare REF      this checkout, with 10,000 API keys and rate limits, beside another commit (also: compare.js --base REF)
  --plain          with compare: without keys and limits
  --only A,B       these scenarios: ${SCENARIOS.map((s) => s.name).join(', ')}
  --write-docs     put the results into docs/benchmarks.md and docs/benchmarks.svg`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    plain: { type: 'boolean', default: false },
    'write-docs': { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
const [mode = values.quick ? 'quick' : 'full', base] = positionals;

if (values.help || !['full', 'quick', 'compare'].includes(mode)) {
  console.log(USAGE);
  process.exitCode = values.help ? 0 : 2;
} else if (mode === 'compare') {
  if (base === undefined) throw new Error('compare needs the commit to compare with');
  await compare(base, values.plain);
} else {
  await bench(mode === 'quick', values.only?.split(','));
}

async function bench(quick: boolean, only: readonly string[] | undefined): Promise<void> {
  const unknown = only?.filter((name) => !SCENARIOS.some((s) => s.name === name)) ?? [];
  if (unknown.length > 0) throw new Error(`no such scenario: ${unknown.join(', ')}\n${USAGE}`);
  const started = performance.now();
  const machine = describeMachine(ROOT);
  const caption = machineLine(machine);
  const log = (text: string) => {
    process.stderr.write(
      `${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s  ${text}\n`,
    );
  };
  log(caption);
  const generator = new Generator();
  const findings: Finding[] = [];
  const broken: string[] = [];
  try {
    for (const scenario of SCENARIOS) {
      if (only === undefined ? quick && !scenario.inQuick : !only.includes(scenario.name)) continue;
      log(scenario.name);
      try {
        findings.push(...(await scenario.run({ generator, quick, log })));
      } catch (error) {
        // The others still tell something; that this one is missing makes the run fail.
        broken.push(`${scenario.name}: ${error instanceof Error ? error.message : String(error)}`);
        log(`failed: ${broken.at(-1)}`);
      }
    }
  } finally {
    generator.close();
  }
  console.log(`${caption}\n\n${tables(findings)}\n`);

  const folder = join(ROOT, 'benchmarks/results');
  const stem = join(
    folder,
    `${new Date().toISOString().slice(0, 19).replaceAll(':', '-')}-${quick ? 'quick' : 'full'}`,
  );
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    `${stem}.json`,
    `${JSON.stringify({ machine, quick, findings, broken }, null, 2)}\n`,
  );
  writeFileSync(`${stem}.md`, `${caption}\n\n${tables(findings)}\n`);
  writeFileSync(`${stem}.svg`, plot(findings, caption));
  if (values['write-docs']) writeDocs(ROOT, findings, machine, caption);

  for (const text of broken) console.log(`did not run: ${text}`);
  const missed = misses(findings);
  for (const text of missed) console.log(`missed: ${text}`);
  console.log(
    `${missed.length === 0 && broken.length === 0 ? 'every target is met' : 'targets are missed'}; ${stem}.{json,md,svg}`,
  );
  // Rounds of half a second on a shared machine inform; only the full run judges.
  if (broken.length > 0 || (missed.length > 0 && !quick)) process.exitCode = 1;
}

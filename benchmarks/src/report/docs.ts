/** Writes the last full run into docs/benchmarks.md, between its markers, and the plot beside it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Machine } from '../machine.ts';
import type { Finding } from '../results.ts';
import { plot } from './svg.ts';
import { misses, tables } from './table.ts';

const BEGIN = '<!-- results: written by `make bench ARGS=--write-docs` -->';
const END = '<!-- end of results -->';

/** The part of the page between the markers. */
export function resultsSection(findings: readonly Finding[], machine: Machine): string {
  const missed = misses(findings);
  const lines = [
    `Taken on ${machine.date} at commit \`${machine.commit}\` on ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.kernel}, Node ${machine.node}, ${machine.nginx}.`,
    '',
    '![Bars of each figure beside the baselines](benchmarks.svg)',
    '',
    tables(findings),
    '',
    missed.length === 0 ? 'Every target is met.' : 'Targets that this run missed:',
  ];
  if (missed.length > 0) lines.push('', ...missed.map((text) => `- ${text}`));
  return lines.join('\n');
}

/** @throws when the page lacks its markers. */
export function replaceSection(page: string, section: string): string {
  const from = page.indexOf(BEGIN);
  const to = page.indexOf(END);
  if (from === -1 || to < from) throw new Error('docs/benchmarks.md lacks its markers');
  return `${page.slice(0, from + BEGIN.length)}\n\n${section}\n\n${page.slice(to)}`;
}

export function writeDocs(
  root: string,
  findings: readonly Finding[],
  machine: Machine,
  caption: string,
): void {
  const file = join(root, 'docs/benchmarks.md');
  writeFileSync(
    file,
    replaceSection(readFileSync(file, 'utf8'), resultsSection(findings, machine)),
  );
  writeFileSync(join(root, 'docs/benchmarks.svg'), plot(findings, caption));
}

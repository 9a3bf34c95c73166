/** Writes a run into docs/benchmarks-kubernetes.md, between its markers. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { misses, tables } from '../report/table.ts';
import type { Finding } from '../results.ts';

const BEGIN = '<!-- results: written by `make bench-k8s ARGS=--write-docs` -->';
const END = '<!-- end of results -->';

/** @throws when the page lacks its markers. */
export function writeDocs(
  root: string,
  findings: readonly Finding[],
  broken: readonly string[],
  caption: string,
): void {
  const file = join(root, 'docs/benchmarks-kubernetes.md');
  const page = readFileSync(file, 'utf8');
  const from = page.indexOf(BEGIN);
  const to = page.indexOf(END);
  if (from === -1 || to < from) throw new Error(`${file} lacks its markers`);
  const missed = misses(findings).map((text) => `- ${text}`);
  const left = broken.map((text) => `- did not run: ${text}`);
  const section = [
    `Taken on: ${caption}.`,
    '',
    tables(findings),
    '',
    ...(missed.length + left.length === 0
      ? ['Every target is met.']
      : ['Targets that this run missed:', '', ...missed, ...left]),
  ].join('\n');
  writeFileSync(file, `${page.slice(0, from + BEGIN.length)}\n\n${section}\n\n${page.slice(to)}`);
}

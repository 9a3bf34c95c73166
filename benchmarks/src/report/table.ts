/** The findings as Markdown tables, which read well in a terminal too. */
import { type BaselineName, TARGET_LABELS, TARGETS } from '../baselines/target.ts';
import type { Comparison, Fact, Finding, RatioResult } from '../results.ts';
import { limitText, number, quantity, verdict } from './format.ts';

const BASELINES = TARGETS.filter((name): name is BaselineName => name !== 'simmer');

export function tables(findings: readonly Finding[]): string {
  const comparisons = findings.filter((f): f is Comparison => f.type === 'comparison');
  const facts = findings.filter((f): f is Fact => f.type === 'fact');
  const parts: string[] = [];
  if (comparisons.length > 0) parts.push(comparisonTable(comparisons));
  if (facts.length > 0) parts.push(factTable(facts));
  return parts.join('\n\n');
}

function comparisonTable(comparisons: readonly Comparison[]): string {
  const header = [
    'Scenario',
    'Figure',
    TARGET_LABELS.simmer,
    ...BASELINES.map((name) => `${TARGET_LABELS[name]}: value, ratio [quartiles]`),
    'Targets',
  ];
  const rows = comparisons.map((c) => [
    c.scenario,
    c.metric,
    c.values.simmer === undefined ? '–' : quantity(c.values.simmer.median, c.unit),
    ...BASELINES.map((name) => {
      const value = c.values[name];
      const ratio = c.ratios[name];
      if (value === undefined || ratio === undefined) return 'not measured';
      return `${quantity(value.median, c.unit)}, **${number(ratio.median)}** [${number(ratio.q1)}–${number(ratio.q3)}]`;
    }),
    BASELINES.map((name) => target(name, c.ratios[name]))
      .filter((text) => text !== '')
      .join('; '),
  ]);
  return align([header, ...rows]);
}

function target(name: BaselineName, ratio: RatioResult | undefined): string {
  if (ratio?.limit === undefined) return '';
  const letter = TARGET_LABELS[name].slice(0, 3);
  return `${limitText(ratio.limit, '')} of ${letter}: ${verdict(ratio.pass)}`;
}

function factTable(facts: readonly Fact[]): string {
  const rows = facts.map((f) => [
    f.scenario,
    f.metric,
    quantity(f.value, f.unit),
    f.limit === undefined ? '' : `${limitText(f.limit, f.unit)}: ${verdict(f.pass)}`,
    f.note ?? '',
  ]);
  return align([['Scenario', 'Figure', 'Simmer', 'Target', 'Note'], ...rows]);
}

/** Rows of a Markdown table, the first its header, with columns of equal width. */
export function align(rows: readonly (readonly string[])[]): string {
  const header = rows[0] as readonly string[];
  // The last column is free text: padding it would only make lines long.
  const widths = header.map((_, i) =>
    i === header.length - 1 ? 3 : Math.max(...rows.map((row) => (row[i] as string).length)),
  );
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, i) => cell.padEnd(widths[i] as number)).join(' | ')} |`;
  const rule = `| ${widths.map((w) => '-'.repeat(w)).join(' | ')} |`;
  return [line(header), rule, ...rows.slice(1).map(line)].join('\n');
}

/** One line a missed target; empty when all are met. */
export function misses(findings: readonly Finding[]): string[] {
  return findings.flatMap((f) => {
    if (f.type === 'fact') {
      return f.pass === false && f.limit !== undefined
        ? [
            `${f.scenario}: ${f.metric}: ${quantity(f.value, f.unit)}, wanted ${limitText(f.limit, f.unit)}`,
          ]
        : [];
    }
    return BASELINES.flatMap((name) => {
      const r = f.ratios[name];
      return r?.pass === false && r.limit !== undefined
        ? [
            `${f.scenario}: ${f.metric}: ${number(r.median)} of ${TARGET_LABELS[name]}, wanted ${limitText(r.limit, '')}`,
          ]
        : [];
    });
  });
}

/** The runs as a Markdown table, which reads well in a terminal too. */
import { number } from '../../../benchmarks/src/report/format.ts';
import { align } from '../../../benchmarks/src/report/table.ts';
import { REFERENCE, REGIMES } from '../regimes.ts';
import type { Summary } from './summary.ts';

const HEADER = [
  'Policy',
  'Cold starts, share of a function’s calls: p50',
  'p75',
  'p99',
  'Cold p75, ratio',
  'Added ms a call: mean',
  'p99',
  'p75 function',
  'Idle GiB-hours',
  'Idle, ratio',
];

export function labelOf({ regime, genericPods }: Pick<Summary, 'regime' | 'genericPods'>): string {
  const { label } = REGIMES[regime];
  return genericPods > 0 ? `${label} + ${genericPods} generic` : label;
}

export function table(summaries: readonly Summary[]): string {
  const rows = summaries.map((s) => [
    labelOf(s),
    percent(s.coldShare.p50),
    percent(s.coldShare.p75),
    percent(s.coldShare.p99),
    number(s.coldRatioP75),
    number(s.addedMs.mean),
    number(s.addedMs.p99),
    number(s.addedMs.functionP75),
    number(s.idleGibHours),
    number(s.idleRatio),
  ]);
  const [first] = summaries;
  const of =
    first === undefined
      ? ''
      : `${number(first.functions)} functions were called, ${number(first.calls)} times. `;
  return `${align([HEADER, ...rows])}\n\n${of}Ratios are to ${REGIMES[REFERENCE].label}.`;
}

function percent(share: number): string {
  return `${number(share * 100)} %`;
}

/** The comparisons as a plot: a panel each, a bar for each target, whiskers for the quartiles of the rounds. */
import { TARGET_LABELS, TARGETS, type TargetName } from '../baselines/target.ts';
import type { Comparison, Finding } from '../results.ts';
import type { Spread } from '../stats.ts';
import { number, quantity } from './format.ts';

const COLORS: Readonly<Record<TargetName, string>> = {
  simmer: '#d9480f',
  relay: '#868e96',
  nginx: '#4c6ef5',
  push: '#12b886',
};
const COLUMNS = 2;
const PANEL_WIDTH = 520;
const GAP = 24;
const BAR_HEIGHT = 15;
const BAR_STEP = 19;
const TITLE_HEIGHT = 24;
const LABEL_WIDTH = 140;
/** Room to the right of the longest bar for its value and ratio. */
const VALUE_WIDTH = 150;
const BARS_WIDTH = PANEL_WIDTH - LABEL_WIDTH - VALUE_WIDTH;
const HEADER_HEIGHT = 62;

export function plot(findings: readonly Finding[], caption: string): string {
  const comparisons = findings.filter((f): f is Comparison => f.type === 'comparison');
  const panels = comparisons.map(panel);
  const columnHeights = new Array<number>(COLUMNS).fill(HEADER_HEIGHT);
  const placed = panels.map(({ height, body }) => {
    const column = columnHeights.indexOf(Math.min(...columnHeights));
    const x = GAP + column * (PANEL_WIDTH + GAP);
    const y = columnHeights[column] as number;
    columnHeights[column] = y + height + GAP;
    return `<g transform="translate(${x} ${y})">${body}</g>`;
  });
  const width = GAP + COLUMNS * (PANEL_WIDTH + GAP);
  const height = Math.max(...columnHeights);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    `<text x="${GAP}" y="28" font-size="18" font-weight="600" fill="#212529">Simmer beside its baselines <tspan font-size="12" font-weight="400" fill="#868e96">medians and quartiles of interleaved rounds; ratio: Simmer's value over the baseline's</tspan></text>`,
    `<text x="${GAP}" y="47" fill="#495057">${escapeXml(caption)}</text>`,
    ...placed,
    '</svg>',
    '',
  ].join('\n');
}

function panel(c: Comparison): { height: number; body: string } {
  const names = TARGETS.filter((name) => c.values[name] !== undefined);
  const largest = Math.max(...names.map((name) => (c.values[name] as Spread).q3));
  const scale = (value: number) => (Math.min(value, largest) / largest) * BARS_WIDTH;
  const bars = names.map((name, i) => {
    const s = c.values[name] as Spread;
    const y = TITLE_HEIGHT + i * BAR_STEP;
    const middle = y + BAR_HEIGHT / 2;
    const x = (value: number) => (LABEL_WIDTH + scale(value)).toFixed(1);
    const ratio = name === 'simmer' ? undefined : c.ratios[name]?.median;
    const weight = name === 'simmer' ? ' font-weight="600"' : '';
    const text =
      quantity(s.median, c.unit) + (ratio === undefined ? '' : ` (ratio ${number(ratio)})`);
    return [
      `<text x="${LABEL_WIDTH - 6}" y="${middle + 4}" text-anchor="end" fill="#212529"${weight}>${escapeXml(TARGET_LABELS[name])}</text>`,
      `<rect x="${LABEL_WIDTH}" y="${y}" width="${scale(s.median).toFixed(1)}" height="${BAR_HEIGHT}" rx="2" fill="${COLORS[name]}"/>`,
      `<path d="M${x(s.q1)} ${middle}H${x(s.q3)}M${x(s.q1)} ${middle - 4}v8M${x(s.q3)} ${middle - 4}v8" stroke="#212529" stroke-width="1.2"/>`,
      `<text x="${(LABEL_WIDTH + scale(Math.max(s.median, s.q3)) + 6).toFixed(1)}" y="${middle + 4}" fill="#212529"${weight}>${escapeXml(text)}</text>`,
    ].join('');
  });
  const hint = c.better === 'lower' ? 'lower is better' : 'higher is better';
  const title = `<text x="0" y="14" font-size="13" font-weight="600" fill="#212529">${escapeXml(`${c.scenario}: ${c.metric}`)} <tspan font-weight="400" fill="#868e96">${hint}</tspan></text>`;
  return { height: TITLE_HEIGHT + names.length * BAR_STEP, body: title + bars.join('') };
}

export function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

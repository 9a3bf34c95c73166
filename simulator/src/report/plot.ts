/** The distribution of cold starts over functions as a plot: one line for each policy, what its idle memory is beside its name. */
import { number } from '../../../benchmarks/src/report/format.ts';
import { escapeXml } from '../../../benchmarks/src/report/svg.ts';
import { REFERENCE, REGIMES, type RegimeName } from '../regimes.ts';
import type { Summary } from './summary.ts';
import { labelOf } from './table.ts';

const COLORS: Readonly<Record<RegimeName, string>> = {
  none: '#adb5bd',
  'fixed-1m': '#868e96',
  'fixed-10m': '#212529',
  kpa: '#4c6ef5',
  fixed: '#12b886',
  'hybrid-histogram': '#d9480f',
  'greedy-dual': '#ae3ec9',
};
const [WIDTH, HEIGHT] = [900, 420];
const AREA = { left: 64, top: 64, width: 480, height: 300 } as const;
const LEGEND = { x: 580, y: 84, step: 24 } as const;
const TICKS = [0, 25, 50, 75, 100];

export function plot(summaries: readonly Summary[], caption: string): string {
  // A generic pool changes what a cold start costs, not whether there is one.
  const shown = summaries.filter((s) => s.genericPods === 0);
  const x = (share: number) => (AREA.left + share * AREA.width).toFixed(1);
  const y = (percentile: number) =>
    (AREA.top + AREA.height - (percentile / 100) * AREA.height).toFixed(1);
  const lines = shown.map((s) => {
    const points = s.coldCurve.map((share, p) => `${x(share)} ${y(p)}`).join('L');
    const wide = s.regime === 'hybrid-histogram' || s.regime === REFERENCE ? 3 : 1.6;
    return `<path d="M${points}" fill="none" stroke="${COLORS[s.regime]}" stroke-width="${wide}"/>`;
  });
  const legend = shown.map((s, i) => {
    const at = LEGEND.y + i * LEGEND.step;
    const text = `${labelOf(s)}: idle memory ${number(s.idleRatio)}`;
    return [
      `<path d="M${LEGEND.x} ${at - 4}h22" stroke="${COLORS[s.regime]}" stroke-width="3"/>`,
      `<text x="${LEGEND.x + 30}" y="${at}" fill="#212529">${escapeXml(text)}</text>`,
    ].join('');
  });
  const grid = TICKS.map((tick) =>
    [
      `<path d="M${x(0)} ${y(tick)}H${x(1)}M${x(tick / 100)} ${y(0)}V${y(100)}" stroke="#e9ecef"/>`,
      `<text x="${AREA.left - 8}" y="${Number(y(tick)) + 4}" text-anchor="end" fill="#495057">${tick} %</text>`,
      `<text x="${x(tick / 100)}" y="${AREA.top + AREA.height + 18}" text-anchor="middle" fill="#495057">${tick} %</text>`,
    ].join(''),
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" font-family="system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    `<text x="24" y="28" font-size="18" font-weight="600" fill="#212529">Cold starts and what they cost to avoid</text>`,
    `<text x="24" y="47" fill="#495057">${escapeXml(caption)}</text>`,
    ...grid,
    ...lines,
    ...legend,
    `<text x="${AREA.left + AREA.width / 2}" y="${AREA.top + AREA.height + 40}" text-anchor="middle" fill="#212529">cold starts, share of a function’s calls</text>`,
    `<text x="18" y="${AREA.top + AREA.height / 2}" text-anchor="middle" fill="#212529" transform="rotate(-90 18 ${AREA.top + AREA.height / 2})">functions with no more</text>`,
    `<text x="${LEGEND.x}" y="${LEGEND.y - 22}" fill="#868e96">memory of idle pods: ratio to ${escapeXml(REGIMES[REFERENCE].label)}</text>`,
    '</svg>',
    '',
  ].join('\n');
}

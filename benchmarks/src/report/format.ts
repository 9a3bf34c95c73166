/** Numbers as people read them: three significant digits, no more. */
import type { Limit, Unit } from '../results.ts';

export function number(value: number): string {
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size >= 1_000) return Math.round(value).toLocaleString('en-US');
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1).replace(/\.0$/, '');
  if (size >= 1) return value.toFixed(2).replace(/\.?0+$/, '');
  return size === 0
    ? '0'
    : value
        .toPrecision(3)
        .replace(/(\.\d*?)0+$/, '$1')
        .replace(/\.$/, '');
}

export function quantity(value: number, unit: Unit): string {
  if (unit === '') return number(value);
  return unit === 'x' || unit === '/s' ? `${number(value)}${unit}` : `${number(value)} ${unit}`;
}

export function limitText(limit: Limit, unit: Unit): string {
  return `${limit.op === '<=' ? '≤' : '≥'} ${quantity(limit.value, unit)}`;
}

export function verdict(pass: boolean | undefined): string {
  return pass === undefined ? '' : pass ? 'pass' : '**FAIL**';
}

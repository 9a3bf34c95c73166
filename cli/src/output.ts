/** What commands print: tables for people, JSON for scripts. */
import { stripVTControlCharacters } from 'node:util';

export interface Output {
  readonly json: boolean;
  out(text: string): void;
}

export type Row = readonly (string | number)[];

const GAP = '  ';

/** Left-aligned columns. */
export function table(head: readonly string[], rows: readonly Row[]): string {
  const cells = [head, ...rows].map((row) => row.map((cell) => clean(String(cell))));
  const widths = head.map((_, i) => Math.max(...cells.map((row) => (row[i] ?? '').length)));
  const lines = cells.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] as number))
      .join(GAP)
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}

/** Names and values, one a line; what is undefined is left out. */
export function list(pairs: Readonly<Record<string, unknown>>): string {
  const shown = Object.entries(pairs).filter(([, value]) => value !== undefined);
  const width = Math.max(...shown.map(([name]) => name.length)) + 1;
  return shown
    .map(([name, value]) => `${`${name}:`.padEnd(width)} ${clean(textOf(value))}\n`)
    .join('');
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** What a stranger put into a value does not steer the terminal. */
export function clean(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return stripVTControlCharacters(text).replace(/[\x00-\x1f\x7f]/g, ' ');
}

export function json(value: unknown): string {
  return `${JSON.stringify(value ?? null, null, 2)}\n`;
}

/** How long ago, roughly: `3s`, `12m`, `5h`, `2d`. */
export function age(iso: string, now: number): string {
  const seconds = Math.max(0, Math.round((now - Date.parse(iso)) / 1_000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3_600)}h` : `${Math.floor(seconds / 86_400)}d`;
}

/** From one time to another: `12ms`, `3.4s`. */
export function duration(from: string, to: string): string {
  const ms = Date.parse(to) - Date.parse(from);
  return ms < 1_000 ? `${ms}ms` : `${(ms / 1_000).toFixed(1)}s`;
}

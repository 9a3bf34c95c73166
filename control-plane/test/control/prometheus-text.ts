/**
 * A strict reader of Prometheus' text format 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/): throws at the first thing a scraper would refuse.
 */

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}
export interface Family {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: Sample[];
}

/** prom-client writes `Nan`; Go's ParseFloat, which Prometheus reads by, takes any case. */
const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (N[aA][nN]|[+-]Inf|[-+0-9.eE]+)$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/y;
const SUFFIXES: Record<string, readonly string[]> = {
  histogram: ['_bucket', '_sum', '_count'],
  summary: ['', '_sum', '_count'],
};

export function parsePrometheus(text: string): Map<string, Family> {
  if (!text.endsWith('\n')) throw new Error('the last line must end with a line feed');
  const families = new Map<string, Family>();
  const seen = new Set<string>();
  let current: Family | undefined;
  let help: { name: string; text: string } | undefined;
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const comment = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line);
    if (comment) {
      const [, kind, name, rest] = comment as unknown as [string, string, string, string];
      if (kind === 'HELP') help = { name, text: rest };
      else {
        if (families.has(name)) throw new Error(`${name} comes twice`);
        if (help?.name !== name) throw new Error(`${name} has no help`);
        current = { name, type: rest, help: help.text, samples: [] };
        families.set(name, current);
      }
      continue;
    }
    const sample = parseSample(line);
    if (!current) throw new Error(`no type: ${line}`);
    const { name, type } = current;
    const allowed = (SUFFIXES[type] ?? ['']).map((suffix) => name + suffix);
    if (!allowed.includes(sample.name)) throw new Error(`${sample.name} stands below ${name}`);
    const identity = line.slice(0, line.lastIndexOf(' '));
    if (seen.has(identity)) throw new Error(`${identity} comes twice`);
    seen.add(identity);
    if (type === 'counter' && !(sample.value >= 0))
      throw new Error(`a counter below zero: ${line}`);
    current.samples.push(sample);
  }
  for (const family of families.values()) if (family.type === 'histogram') checkHistogram(family);
  return families;
}

function parseSample(line: string): Sample {
  const match = LINE.exec(line);
  if (!match) throw new Error(`not a sample: ${line}`);
  const [, name, labelText = '', value] = match as unknown as [string, string, string?, string?];
  const labels: Record<string, string> = {};
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < labelText.length) {
    const label = LABEL.exec(labelText);
    if (!label) throw new Error(`bad labels: ${line}`);
    if ((label[1] as string) in labels) throw new Error(`a label twice: ${line}`);
    labels[label[1] as string] = label[2] as string;
  }
  return { name, labels, value: value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value) };
}

function checkHistogram({ name, samples }: Family): void {
  const series = grouped(samples, ({ labels: { le: _, ...rest } }) => JSON.stringify(rest));
  for (const [labels, of] of series) {
    const buckets = of.filter((s) => s.name === `${name}_bucket`);
    const bounds = buckets.map((b) =>
      b.labels['le'] === '+Inf' ? Infinity : Number(b.labels['le']),
    );
    const counts = buckets.map((b) => b.value);
    const rises = (values: number[], strictly: boolean) =>
      values.every(
        (v, i) =>
          i === 0 || (strictly ? v > (values[i - 1] as number) : v >= (values[i - 1] as number)),
      );
    if (!rises(bounds, true)) throw new Error(`${name}${labels}: bounds do not rise`);
    if (!rises(counts, false)) throw new Error(`${name}${labels}: buckets are not cumulative`);
    if (bounds.at(-1) !== Infinity) throw new Error(`${name}${labels}: no +Inf bucket`);
    const count = of.filter((s) => s.name === `${name}_count`);
    if (count.length !== 1 || count[0]?.value !== counts.at(-1)) {
      throw new Error(`${name}${labels}: the count is not that of +Inf`);
    }
    if (of.filter((s) => s.name === `${name}_sum`).length !== 1) {
      throw new Error(`${name}${labels}: no sum`);
    }
  }
}

function grouped<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}

/** Readers of the Azure Functions traces (AzurePublicDataset), in the formats in which they are published. */
import { createReadStream, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Calls, Load, SimulatedFunction } from './load.ts';
import { DAY_MS } from './shaped.ts';

const MINUTE_MS = 60_000;
const MINUTES_A_DAY = 1_440;
/** Where a trace does not tell: the medians of the 2019 trace. */
const USUAL_SERVICE_MS = 670;
const USUAL_MEMORY_MIB = 140;

export interface TraceOptions {
  /** The first so many functions of it. */
  readonly functions: number;
  readonly coldStartMs: number;
}

// ---- 2019: calls by the minute -----------------------------------------------------------------------------------------

/**
 * A folder with `invocations_per_function_md.anon.dNN.csv`, for each day of which there may be `function_durations_percentiles.anon.dNN.csv`
 * and `app_memory_percentiles.anon.dNN.csv` beside it. Calls of one minute are spread evenly over it; each takes its function's
 * average time; a function's pod takes what its app had allocated.
 * @throws where there is no such file, or a line of another form.
 */
export async function readTrace2019(folder: string, options: TraceOptions): Promise<Load> {
  const days = readdirSync(folder)
    .map((name) => /^invocations_per_function_md\.anon\.d(\d+)\.csv$/.exec(name)?.[1])
    .filter((day) => day !== undefined)
    .sort();
  const first = Number(days[0]);
  if (days.length === 0) throw new Error(`${folder}: no invocations_per_function_md.anon.dNN.csv`);
  const functions = new Map<string, MinuteFunction>();
  const durations = new Map<string, Mean>();
  const memory = new Map<string, Mean>();
  for (const day of days) {
    const file = (name: string) => join(folder, `${name}.anon.d${day}.csv`);
    const from = (Number(day) - first) * MINUTES_A_DAY;
    for await (const row of rows(file('invocations_per_function_md'))) {
      const key = keyOf(row.cells, row.names, ['HashOwner', 'HashApp', 'HashFunction']);
      let found = functions.get(key);
      if (found === undefined) {
        if (functions.size >= options.functions) continue;
        found = { app: keyOf(row.cells, row.names, ['HashOwner', 'HashApp']), minutes: [] };
        functions.set(key, found);
      }
      for (let minute = 1; minute <= MINUTES_A_DAY; minute++) {
        const count = Number(row.cells[row.names.indexOf('1') + minute - 1]);
        if (!Number.isInteger(count))
          throw new Error(`${row.where}: minute ${minute} is no number`);
        if (count > 0) found.minutes.push(from + minute - 1, count);
      }
    }
    await means(
      file('function_durations_percentiles'),
      ['HashOwner', 'HashApp', 'HashFunction'],
      'Average',
      'Count',
      durations,
    );
    await means(
      file('app_memory_percentiles'),
      ['HashOwner', 'HashApp'],
      'AverageAllocatedMb',
      'SampleCount',
      memory,
    );
  }
  const lastDay = Number(days.at(-1)) - first + 1;
  return {
    functions: [...functions].map(([key, { app, minutes }], i): SimulatedFunction => {
      const serviceMs = durations.get(key)?.value ?? USUAL_SERVICE_MS;
      return {
        name: `f${i}`,
        memoryMib: memory.get(app)?.value ?? USUAL_MEMORY_MIB,
        coldStartMs: options.coldStartMs,
        calls: () => new MinuteCalls(Uint32Array.from(minutes), serviceMs),
      };
    }),
    durationMs: lastDay * DAY_MS,
    title: `${functions.size} functions of ${folder}, ${lastDay} days`,
  };
}

interface MinuteFunction {
  readonly app: string;
  /** Minute and count, in turn. */
  readonly minutes: number[];
}

class MinuteCalls implements Calls {
  at = 0;
  readonly serviceMs: number;
  private readonly minutes: Uint32Array;
  private index = 0;
  private done = 0;

  constructor(minutes: Uint32Array, serviceMs: number) {
    this.minutes = minutes;
    this.serviceMs = serviceMs;
  }

  next(): void {
    if (this.index >= this.minutes.length) {
      this.at = Number.POSITIVE_INFINITY;
      return;
    }
    const [minute, count] = [
      this.minutes[this.index] as number,
      this.minutes[this.index + 1] as number,
    ];
    this.at = (minute + (this.done + 0.5) / count) * MINUTE_MS;
    if (++this.done === count) {
      this.done = 0;
      this.index += 2;
    }
  }
}

/** A mean of daily means, each by how much was counted. */
interface Mean {
  value: number;
  weight: number;
}

async function means(
  file: string,
  keys: readonly string[],
  value: string,
  weight: string,
  into: Map<string, Mean>,
): Promise<void> {
  if (!existsSync(file)) return;
  for await (const row of rows(file)) {
    const key = keyOf(row.cells, row.names, keys);
    const mean = Number(row.cells[row.names.indexOf(value)]);
    const count = Math.max(1, Number(row.cells[row.names.indexOf(weight)]));
    if (!Number.isFinite(mean) || !Number.isFinite(count)) {
      throw new Error(`${row.where}: ${value} and ${weight} are to be numbers`);
    }
    const known = into.get(key) ?? { value: 0, weight: 0 };
    known.weight += count;
    known.value += ((mean - known.value) * count) / known.weight;
    into.set(key, known);
  }
}

// ---- 2021: each call by itself -----------------------------------------------------------------------------------------

/**
 * A file with the columns app, func, end_timestamp and duration, in seconds. A call comes `duration` before its end.
 * @throws where a line has another form.
 */
export async function readTrace2021(file: string, options: TraceOptions): Promise<Load> {
  const calls = new Map<string, { readonly at: number; readonly serviceMs: number }[]>();
  let end = 0;
  for await (const row of rows(file)) {
    const key = keyOf(row.cells, row.names, ['app', 'func']);
    const cell = (name: string) => Number(row.cells[row.names.indexOf(name)]);
    const [endMs, serviceMs] = [cell('end_timestamp') * 1_000, cell('duration') * 1_000];
    if (!(Number.isFinite(endMs) && serviceMs >= 0)) {
      throw new Error(`${row.where}: end_timestamp and duration are to be numbers of seconds`);
    }
    if (!calls.has(key) && calls.size >= options.functions) continue;
    const list = calls.get(key) ?? [];
    list.push({ at: Math.max(0, endMs - serviceMs), serviceMs });
    calls.set(key, list);
    end = Math.max(end, endMs);
  }
  return {
    functions: [...calls.values()].map((list, i): SimulatedFunction => {
      list.sort((a, b) => a.at - b.at);
      return {
        name: `f${i}`,
        memoryMib: USUAL_MEMORY_MIB,
        coldStartMs: options.coldStartMs,
        calls: () => new ListedCalls(list),
      };
    }),
    durationMs: end,
    title: `${calls.size} functions of ${file}, ${(end / MINUTE_MS).toFixed(0)} minutes`,
  };
}

/** Calls that are listed in the order of their time. */
export class ListedCalls implements Calls {
  at = 0;
  serviceMs = 0;
  private readonly list: readonly { readonly at: number; readonly serviceMs: number }[];
  private index = 0;

  constructor(list: readonly { readonly at: number; readonly serviceMs: number }[]) {
    this.list = list;
  }

  next(): void {
    const call = this.list[this.index++];
    this.at = call?.at ?? Number.POSITIVE_INFINITY;
    this.serviceMs = call?.serviceMs ?? 0;
  }
}

// ---- files -------------------------------------------------------------------------------------------------------------

interface Row {
  readonly names: readonly string[];
  readonly cells: readonly string[];
  readonly where: string;
}

async function* rows(file: string): AsyncGenerator<Row> {
  let names: readonly string[] | undefined;
  let line = 0;
  const input = createReadStream(file);
  for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    line++;
    if (text === '') continue;
    const cells = text.split(',');
    if (names === undefined) names = cells;
    else if (cells.length !== names.length) {
      throw new Error(
        `${file}:${line}: ${cells.length} columns, ${names.length} in the first line`,
      );
    } else yield { names, cells, where: `${file}:${line}` };
  }
}

function keyOf(
  cells: readonly string[],
  names: readonly string[],
  columns: readonly string[],
): string {
  return columns
    .map((column) => {
      const at = names.indexOf(column);
      if (at < 0) throw new Error(`there is no column ${column}`);
      return cells[at];
    })
    .join('/');
}

/** The command line of the simulator. */
import { parseArgs } from 'node:util';
import type { Settings } from './engine/simulate.ts';
import type { LoadSpec } from './load/spec.ts';
import { REGIME_NAMES, type RegimeName } from './regimes.ts';
import type { Compression } from './replay/load.ts';

export const USAGE = `make simulate ARGS='[options]'
  --functions N           functions to simulate (1000; of a trace, the first N)
  --days N                days of load (14)
  --seeds A,B,...         one round for each (1)
  --max-calls-per-day N   functions that are called more often are called so often (5000)
  --burst-share S         share of calls that come in bursts, to many functions at once: 0 to 0.9 (0)
  --burst-every MINUTES   mean time from burst to burst; each lasts a minute (60)
  --cold-start-ms MS      launch to ready, median over functions (350)
  --concurrency N         calls that a pod runs at once (1)
  --policies A,B          of ${REGIME_NAMES.join(', ')} (all)
  --generic-pods N        size of the generic pool on top; 0: none (10)
  --generic-for A,B       policies that are simulated with it, too (fixed-10m,hybrid-histogram)
  --budget-gib N          memory for greedy-dual (what fixed-10m takes on average)
  --trace-2019 FOLDER     calls of the Azure Functions 2019 trace, in its own files
  --trace-2021 FILE       calls of the Azure Functions 2021 trace
  --json                  print JSON in place of the table
  --svg FILE              write a plot
  --replay                call a real Simmer on this machine, time compressed, beside the simulator's prediction
  --replay-functions N    functions that are replayed (20)
  --replay-seconds N      for how long (90)
  --compress N            how many times faster time passes in it (60)`;

const MINUTE_MS = 60_000;
/** Launch to ready varies from function to function by what it loads: a factor of 1.6 either way holds two thirds of them. */
const COLD_START_SPREAD = 0.5;
/** From the claim of a generic pod to the function's readiness, and a generic pod's own memory. */
const CLAIM_MS = 15;
const GENERIC_POD_MIB = 128;
const REFILL_PER_SECOND = 10;

export interface Arguments {
  readonly loads: readonly LoadSpec[];
  readonly settings: Settings;
  readonly regimes: readonly RegimeName[];
  readonly withReserve: readonly RegimeName[];
  readonly json: boolean;
  readonly svg: string | undefined;
  /** In place of simulating days. */
  readonly replay: Compression | undefined;
}

/** @throws with what is wrong and what is allowed. */
export function parse(args: readonly string[]): Arguments | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      functions: { type: 'string', default: '1000' },
      days: { type: 'string', default: '14' },
      seeds: { type: 'string', default: '1' },
      'max-calls-per-day': { type: 'string', default: '5000' },
      'burst-share': { type: 'string', default: '0' },
      'burst-every': { type: 'string', default: '60' },
      'cold-start-ms': { type: 'string', default: '350' },
      concurrency: { type: 'string', default: '1' },
      policies: { type: 'string', default: REGIME_NAMES.join(',') },
      'generic-pods': { type: 'string', default: '10' },
      'generic-for': { type: 'string', default: 'fixed-10m,hybrid-histogram' },
      'budget-gib': { type: 'string' },
      'trace-2019': { type: 'string' },
      'trace-2021': { type: 'string' },
      json: { type: 'boolean', default: false },
      svg: { type: 'string' },
      replay: { type: 'boolean', default: false },
      'replay-functions': { type: 'string', default: '20' },
      'replay-seconds': { type: 'string', default: '90' },
      compress: { type: 'string', default: '60' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return 'help';
  const functions = numberOf('functions', values.functions, 1, 100_000, true);
  const coldStartMs = numberOf('cold-start-ms', values['cold-start-ms'], 1, 600_000);
  const genericPods = numberOf('generic-pods', values['generic-pods'], 0, 10_000, true);
  const budget = values['budget-gib'];
  const regimes = namesOf('policies', values.policies);
  const reserve = {
    pods: genericPods,
    claimMs: CLAIM_MS,
    coldStartMs,
    refillPerSecond: REFILL_PER_SECOND,
    memoryMib: GENERIC_POD_MIB,
  };
  const shape = (seed: number): LoadSpec => ({
    kind: 'shape',
    seed,
    functions,
    coldStartMs,
    coldStartSpread: COLD_START_SPREAD,
    days: numberOf('days', values.days, 0.01, 365),
    maxCallsPerDay: numberOf('max-calls-per-day', values['max-calls-per-day'], 1, 1e9),
    bursts: {
      share: numberOf('burst-share', values['burst-share'], 0, 0.9),
      everyMs: numberOf('burst-every', values['burst-every'], 2, 10_080) * MINUTE_MS,
      lastMs: MINUTE_MS,
    },
  });
  const folder = values['trace-2019'];
  const file = values['trace-2021'];
  const traces: LoadSpec[] = [];
  if (folder !== undefined) traces.push({ kind: 'trace-2019', folder, functions, coldStartMs });
  if (file !== undefined) traces.push({ kind: 'trace-2021', file, functions, coldStartMs });
  const seeds = values.seeds.split(',').map((seed) => numberOf('seeds', seed, 0, 1e9, true));
  return {
    loads: traces.length > 0 ? traces : seeds.map(shape),
    regimes,
    withReserve: namesOf('generic-for', values['generic-for']).filter((r) => regimes.includes(r)),
    settings: {
      concurrency: numberOf('concurrency', values.concurrency, 1, 1_000, true),
      budgetMib:
        budget === undefined ? undefined : numberOf('budget-gib', budget, 0.1, 1e6) * 1_024,
      reserve: genericPods === 0 ? undefined : reserve,
      // As of a function whose manifest says nothing of it.
      keepAliveMs: 300_000,
      stableWindowMs: 60_000,
      scaleDownDelayMs: 60_000,
      targetUtilization: 0.8,
      // The keeper looks each second; twenty are little beside windows and keep-alives of minutes, and cost a twentieth.
      sampleMs: 20_000,
    },
    json: values.json,
    svg: values.svg,
    replay: values.replay
      ? {
          functions: numberOf('replay-functions', values['replay-functions'], 1, 100, true),
          seconds: numberOf('replay-seconds', values['replay-seconds'], 5, 600),
          factor: numberOf('compress', values.compress, 1, 600),
          seed: seeds[0] as number,
        }
      : undefined,
  };
}

function numberOf(name: string, text: string, min: number, max: number, whole = false): number {
  const value = Number(text);
  if (
    text.trim() === '' ||
    !(value >= min && value <= max) ||
    (whole && !Number.isInteger(value))
  ) {
    const kind = whole ? 'a whole number' : 'a number';
    throw new Error(`--${name} takes ${kind} from ${min} to ${max}, not ${JSON.stringify(text)}`);
  }
  return value;
}

function namesOf(option: string, text: string): RegimeName[] {
  return text.split(',').map((name) => {
    const found = REGIME_NAMES.find((known) => known === name);
    if (found === undefined) {
      throw new Error(
        `--${option} takes names of ${REGIME_NAMES.join(', ')}, not ${JSON.stringify(name)}`,
      );
    }
    return found;
  });
}

/** Runs of one load under several regimes, spread over the cores. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { type RunResult, type Settings, simulate } from './engine/simulate.ts';
import { type LoadSpec, loadOf } from './load/spec.ts';
import { REFERENCE, REGIMES, type RegimeName } from './regimes.ts';
import { type Summary, summarize } from './report/summary.ts';

/** What a worker is given. */
export interface Job {
  readonly load: LoadSpec;
  readonly regime: RegimeName;
  readonly settings: Settings;
}

export async function run({ load, regime, settings }: Job): Promise<RunResult> {
  return simulate(await loadOf(load), REGIMES[regime], settings);
}

export interface Plan {
  readonly load: LoadSpec;
  readonly settings: Settings;
  readonly regimes: readonly RegimeName[];
  /** Those that run once more with a generic pool on top. */
  readonly withReserve: readonly RegimeName[];
}

/**
 * All runs of a plan, in its order, the reference always among them. A budget that is not set is what the reference takes on average.
 */
export async function runAll(
  { load, settings, regimes, withReserve }: Plan,
  log: (text: string) => void,
): Promise<readonly Summary[]> {
  const lanes = new Lanes(Math.max(1, availableParallelism()));
  const plain = { ...settings, reserve: undefined };
  const start = (regime: RegimeName, of: Settings) =>
    lanes.run({ load, regime, settings: of }).then((result) => {
      log(`${REGIMES[regime].label}${of.reserve === undefined ? '' : ', generic pool'}: done`);
      return result;
    });
  const reference = start(REFERENCE, plain);
  const budgeted = async (regime: RegimeName, of: Settings) => {
    if (regime === REFERENCE && of.reserve === undefined) return reference;
    if (regime !== 'greedy-dual' || of.budgetMib !== undefined) return start(regime, of);
    return start(regime, { ...of, budgetMib: (await reference).meanMib });
  };
  const names = regimes.includes(REFERENCE) ? regimes : [REFERENCE, ...regimes];
  const jobs = [
    ...names.map((regime) => ({ regime, of: plain })),
    ...(settings.reserve === undefined
      ? []
      : withReserve.map((regime) => ({ regime, of: settings }))),
  ];
  const results = await Promise.all(jobs.map(({ regime, of }) => budgeted(regime, of)));
  const known = await reference;
  return jobs.map(({ regime, of }, i) =>
    summarize(regime, of.reserve?.pods ?? 0, results[i] as RunResult, known),
  );
}

/** So many workers at once; each lives for one job. */
class Lanes {
  private free: number;
  private readonly waiting: (() => void)[] = [];

  constructor(count: number) {
    this.free = count;
  }

  async run(job: Job): Promise<RunResult> {
    if (this.free > 0) this.free--;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
    try {
      return await inWorker(job);
    } finally {
      const next = this.waiting.shift();
      if (next === undefined) this.free++;
      else next();
    }
  }
}

function inWorker(job: Job): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: job });
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`a worker ended without a result (${code})`)));
  });
}

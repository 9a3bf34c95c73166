/** The families of the metrics page that are about pools: how large they are to be, what they cost, and what for. */
import type { CostFigures } from './sizing/cost.ts';

export interface PoolFigures extends CostFigures {
  readonly key: string;
  readonly desired: number;
}

const MIB = 1_048_576;

const FAMILIES: readonly (readonly [
  name: string,
  type: 'gauge' | 'counter',
  help: string,
  read: (pool: PoolFigures) => number,
])[] = [
  ['simmer_pool_desired_pods', 'gauge', 'Pods that are wanted.', (p) => p.desired],
  [
    'simmer_pool_memory_bytes',
    'gauge',
    'Memory of the pods there are: measured on this machine, else what their template asks for.',
    (p) => p.memoryMib * MIB,
  ],
  [
    'simmer_pool_pod_seconds_total',
    'counter',
    'Time that pods were there, all of them together.',
    (p) => p.podSeconds,
  ],
  [
    'simmer_pool_idle_pod_seconds_total',
    'counter',
    'Of it, that in which they were ready and had nothing to do.',
    (p) => p.idlePodSeconds,
  ],
  [
    'simmer_pool_idle_memory_byte_seconds_total',
    'counter',
    'Memory of idle pods, times how long they idled.',
    (p) => p.idleMibSeconds * MIB,
  ],
  [
    'simmer_pool_saved_wait_seconds_total',
    'counter',
    'What callers would have waited for, had each that a warm pod served waited for a cold start.',
    (p) => p.savedSeconds,
  ],
];

/** Text of one family after the other. Keys need no escaping. */
export function* poolFamilies(pools: readonly PoolFigures[]): Generator<string> {
  for (const [name, type, help, read] of FAMILIES) {
    let text = `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
    for (const pool of pools) text += `${name}{function="${pool.key}"} ${read(pool)}\n`;
    yield text;
  }
}

/** What is compared: ways to decide how many pods a function has, each by its name on the command line. */
import { fixedKeepAlive } from '@simmer/control-plane/dist/control/sizing/keep-alive/fixed.js';
import { GreedyDual } from '@simmer/control-plane/dist/control/sizing/keep-alive/greedy-dual.js';
import { HybridHistogram } from '@simmer/control-plane/dist/control/sizing/keep-alive/hybrid-histogram.js';
import type { KeepAlivePolicy } from '@simmer/control-plane/dist/control/sizing/keep-alive/policy.js';
import { KnativeAutoscaler } from './engine/kpa.ts';
import { PerPodKeepAlive } from './engine/per-pod.ts';
import type { Scaler } from './engine/pods.ts';

const MINUTE_MS = 60_000;

export type Regime = {
  readonly label: string;
} & (
  | { readonly kind: 'baseline'; readonly scaler: () => Scaler }
  /** Simmer's sizing with one of its keep-alive policies. */
  | { readonly kind: 'simmer'; readonly policy: () => KeepAlivePolicy }
);

export const REGIMES = {
  none: { label: 'none', kind: 'baseline', scaler: () => new PerPodKeepAlive(0) },
  'fixed-1m': {
    label: 'fixed 1 min',
    kind: 'baseline',
    scaler: () => new PerPodKeepAlive(MINUTE_MS),
  },
  'fixed-10m': {
    label: 'fixed 10 min',
    kind: 'baseline',
    scaler: () => new PerPodKeepAlive(10 * MINUTE_MS),
  },
  kpa: { label: 'Knative KPA', kind: 'baseline', scaler: () => new KnativeAutoscaler() },
  fixed: { label: 'Simmer, Fixed', kind: 'simmer', policy: () => fixedKeepAlive },
  'hybrid-histogram': {
    label: 'Simmer, HybridHistogram',
    kind: 'simmer',
    policy: () => new HybridHistogram(),
  },
  'greedy-dual': { label: 'Simmer, GreedyDual', kind: 'simmer', policy: () => new GreedyDual() },
} as const satisfies Record<string, Regime>;

export type RegimeName = keyof typeof REGIMES;
export const REGIME_NAMES = Object.keys(REGIMES) as RegimeName[];

/** What every other is measured against. */
export const REFERENCE: RegimeName = 'fixed-10m';

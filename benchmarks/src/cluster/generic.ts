/**
 * Functions that have never run, on a warm generic pool of the cluster: the first result of each, with secrets and without, beside
 * functions whose own pool grows and functions that get a Job. What the control plane writes to the API server follows later.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Installation } from '../../../k8s/e2e/support/installation.ts';
import { apply, kubectl } from '../../../k8s/e2e/support/kubectl.ts';
import {
  callsAtRate,
  FUNCTIONS,
  FUNCTIONS_BESIDE,
  firstResults,
  getFrom,
  hasPods,
  NEW_PER_SECOND,
  ownCode,
  POOL_PODS,
  placements,
} from '../never-run.ts';
import type { Finding } from '../results.ts';
import { type ClusterScenario, eventually, fn, invokePath, settled } from './context.ts';

const QUICK_FUNCTIONS = 20;
/** Room for a pod of each function, beside those that idle. */
const MAX_PODS = FUNCTIONS + POOL_PODS;
/** Longer than the calls take: what the end of pods costs the node is not what is asked here. */
const KEEP_ALIVE_MS = 60_000;
/** For claims of late the pool may hold some more. */
const SPARE_PODS = 3;
/** Statuses of the new functions are written by then. */
const SETTLE_MS = 10_000;
const POOL = 'bench-warm';
const SECRET = 'bench-generic';
const SECRETS = 5;

const ON_DEMAND = { minReplicas: 0, keepAliveMs: KEEP_ALIVE_MS };
const secretEnv = Array.from({ length: SECRETS }, (_, i) => ({
  name: `SECRET_${i}`,
  valueFrom: { secretKeyRef: { name: SECRET, key: `key-${i}` } },
}));

/** Names a pool that is not there, and so gets pods of its own. */
const OWN_PODS = { pool: 'none' };

const WAYS = [
  { name: 'plain', label: 'on a warm generic pool', placement: 'generic', spec: {}, env: [] },
  {
    name: 'secret',
    label: `on a warm generic pool, with ${SECRETS} secrets`,
    placement: 'generic',
    spec: {},
    env: secretEnv,
  },
  {
    name: 'own',
    label: 'growing its own pool',
    placement: 'grown',
    spec: { ...OWN_PODS, overflow: 0 },
    env: [],
  },
  {
    name: 'job',
    label: 'on a Job',
    placement: 'job',
    spec: { ...OWN_PODS, maxReplicas: 1, overflow: 1 },
    env: [],
  },
] as const;
type Way = (typeof WAYS)[number];

/** Never-run functions. */
export const generic: ClusterScenario = {
  name: 'generic',
  async run(context) {
    const simmer = await context.simmer();
    const { tenant } = simmer;
    const count = ({ placement }: Way) => {
      if (context.quick) return QUICK_FUNCTIONS;
      return placement === 'generic' ? FUNCTIONS : FUNCTIONS_BESIDE;
    };
    const namesOf = (way: Way) =>
      Array.from({ length: count(way) }, (_, i) => `bench-${way.name}-${i}`);
    const literals = Array.from(
      { length: SECRETS },
      (_, i) => `--from-literal=key-${i}=value-${i}`,
    );
    await kubectl('create', 'secret', 'generic', SECRET, '-n', tenant, ...literals);
    await apply(tenant, {
      apiVersion: 'simmer.dev/v1alpha1',
      kind: 'WarmPool',
      metadata: { name: POOL },
      spec: { minReplicas: POOL_PODS, maxReplicas: MAX_PODS },
    });
    try {
      const findings: Finding[] = [];
      for (const way of WAYS) {
        const names = namesOf(way);
        context.log(`${names.length} never-run functions ${way.label}`);
        for (const name of names) {
          const { env, ...code } = ownCode(name);
          const spec = { ...ON_DEMAND, ...way.spec, ...code, env: [...env, ...way.env] };
          await apply(tenant, fn(name, spec));
        }
        await known(simmer, names);
        const get = getFrom(simmer.address);
        await eventually('the pool has its pods', () => hasPods(get, simmer.name(POOL), POOL_PODS));
        await delay(SETTLE_MS);
        const calls = await callsAtRate(
          Number(new URL(simmer.address).port),
          names.map((name) => invokePath(simmer, name)),
          NEW_PER_SECOND,
          way.placement === 'job',
        );
        const { label, placement } = way;
        const urlNames = names.map((name) => simmer.name(name));
        const placed = await placements(get, urlNames, placement);
        findings.push(...firstResults(label, placement, calls, placed));
        await kubectl('delete', 'functions.simmer.dev', '-n', tenant, '--wait=false', ...names);
        await settled(context.api, tenant, POOL_PODS + SPARE_PODS);
      }
      return findings;
    } finally {
      await kubectl('delete', 'warmpools.simmer.dev', '-n', tenant, POOL);
      await kubectl('delete', 'secret', '-n', tenant, SECRET);
    }
  },
};

/** All can be called. */
async function known(simmer: Installation, names: readonly string[]): Promise<void> {
  for (const name of names) {
    await eventually(`${name} is known`, async () => {
      const response = await fetch(`${simmer.address}/v1/pools/${simmer.name(name)}`);
      await response.arrayBuffer();
      return response.ok || undefined;
    });
  }
}

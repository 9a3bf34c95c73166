/**
 * Which keep-alive each function has, and whose pods go when a namespace's idle pods hold more memory than they may.
 *
 * Invariants:
 *  K1. A function has the policy that its manifest names; another one begins anew.
 *  K2. Whatever its own policy, every function is weighed by how often it is called where there is a budget.
 */
import { DEFAULT_KEEP_ALIVE_MS } from '@simmer/protocol/keep-alive';
import type { Pool } from '../pools/pool.ts';
import { quantityOf } from '../pools/quantity.ts';
import { fixedKeepAlive } from './keep-alive/fixed.ts';
import { GreedyDual } from './keep-alive/greedy-dual.ts';
import { HybridHistogram } from './keep-alive/hybrid-histogram.ts';
import type { IdleFunction, KeepAlive, KeepAlivePolicy } from './keep-alive/policy.ts';

const BYTES_PER_MIB = 1_048_576;
/** Of a pod whose template says nothing of memory: about what the runtime takes with a small handler. */
const ASSUMED_POD_MIB = 64;

export class KeepAlives {
  private readonly policies: Readonly<Record<'Fixed' | 'HybridHistogram', KeepAlivePolicy>> = {
    Fixed: fixedKeepAlive,
    HybridHistogram: new HybridHistogram(),
  };
  private readonly budgetMib: number;
  /** By namespace, where there is a budget. */
  private readonly shared = new Map<string, GreedyDual>();
  private readonly chosen = new Map<
    Pool,
    { readonly policy: KeepAlivePolicy; readonly keepAlive: KeepAlive }
  >();

  /** `budgetBytes`: of the idle pods of one namespace; 0: no bound. */
  constructor(budgetBytes: number) {
    this.budgetMib = budgetBytes / BYTES_PER_MIB;
  }

  get hasBudget(): boolean {
    return this.budgetMib > 0;
  }

  of(pool: Pool): KeepAlive {
    const policy = this.policies[kindOf(pool)];
    const known = this.chosen.get(pool);
    if (known?.policy === policy) return known.keepAlive;
    known?.policy.forget(pool.key); // K1
    const own = policy.of(pool.key);
    const weighed = this.hasBudget ? this.sharedBy(pool).of(pool.key) : undefined;
    const keepAlive: KeepAlive =
      weighed === undefined
        ? own
        : {
            called(now, calls, idleMs, traits) {
              own.called(now, calls, idleMs, traits);
              weighed.called(now, calls, idleMs, traits); // K2
            },
            plan: (now, traits) => own.plan(now, traits),
          };
    this.chosen.set(pool, { policy, keepAlive });
    return keepAlive;
  }

  forget(pool: Pool): void {
    this.chosen.get(pool)?.policy.forget(pool.key);
    this.shared.get(namespaceOf(pool))?.forget(pool.key);
    this.chosen.delete(pool);
  }

  /** `idle`: pods, by pool, that no function needs for now. Those that are to go. */
  evict(idle: ReadonlyMap<Pool, number>): readonly Pool[] {
    const namespaces = new Map<string, Map<string, { pool: Pool; candidate: IdleFunction }>>();
    for (const [pool, pods] of idle) {
      const candidate = { key: pool.key, memoryMib: pods * podMib(pool) };
      const namespace = namespaceOf(pool);
      const all = namespaces.get(namespace) ?? new Map();
      namespaces.set(namespace, all.set(pool.key, { pool, candidate }));
    }
    const evicted: Pool[] = [];
    for (const [namespace, all] of namespaces) {
      const candidates = [...all.values()].map((one) => one.candidate);
      const shortMib = candidates.reduce((sum, c) => sum + c.memoryMib, 0) - this.budgetMib;
      if (shortMib <= 0) continue;
      for (const key of this.shared.get(namespace)?.evict(candidates, shortMib) ?? []) {
        evicted.push((all.get(key) as { pool: Pool }).pool);
      }
    }
    return evicted;
  }

  private sharedBy(pool: Pool): GreedyDual {
    const namespace = namespaceOf(pool);
    let shared = this.shared.get(namespace);
    if (shared === undefined) {
      shared = new GreedyDual();
      this.shared.set(namespace, shared);
    }
    return shared;
  }
}

function kindOf(pool: Pool): 'Fixed' | 'HybridHistogram' {
  const { scaling, keepAliveMs } = pool.registered.manifest.spec;
  const said = keepAliveMs === DEFAULT_KEEP_ALIVE_MS ? 'HybridHistogram' : 'Fixed';
  return scaling.keepAlive ?? said;
}

function namespaceOf({ key }: Pool): string {
  return key.slice(0, key.indexOf('/'));
}

/** What one of its pods takes: as measured, else what it asks for, or may take. */
export function podMib(pool: Pool): number {
  if (pool.cost.measuredMib !== undefined) return pool.cost.measuredMib;
  const { requests, limits } = pool.registered.manifest.spec.template?.resources ?? {};
  const asked = quantityOf(requests?.['memory'] ?? limits?.['memory'] ?? 0) ?? 0;
  return asked > 0 ? asked / BYTES_PER_MIB : ASSUMED_POD_MIB;
}

/**
 * Keep-alive as caching (FaasCache: Fuerst and Sharma, ASPLOS 2021): a function's idle pods are kept until the memory that its
 * namespace may use is short. Then those go first that are worth least: priority = clock + frequency x cold start / memory.
 *
 * Invariants:
 *  1. The clock never goes back. It is the largest priority that was ever given up: what is not called falls behind
 *     what is, however often it was called once.
 *  2. A function that gave its pods up begins anew: its frequency counts calls since it last had none.
 *  3. No more are named than the budget is short by; all of them, where all are not enough.
 */
import type { IdleFunction, IdlePlan, KeepAlive, KeepAlivePolicy, Traits } from './policy.ts';

const UNTIL_EVICTED: IdlePlan = {
  keepMs: Number.POSITIVE_INFINITY,
  prewarm: undefined,
  reason: 'kept while there is memory for it',
};

interface Entry extends KeepAlive {
  frequency: number;
  priority: number;
}

export class GreedyDual implements KeepAlivePolicy {
  readonly name = 'GreedyDual';
  private readonly entries = new Map<string, Entry>();
  private clock = 0;

  of(key: string): KeepAlive {
    let entry = this.entries.get(key);
    if (entry === undefined) {
      entry = this.enter();
      this.entries.set(key, entry);
    }
    return entry;
  }

  forget(key: string): void {
    this.entries.delete(key);
  }

  evict(idle: readonly IdleFunction[], shortMib: number): readonly string[] {
    const priority = ({ key }: IdleFunction) => this.entries.get(key)?.priority ?? 0;
    const byWorth = [...idle].sort((a, b) => priority(a) - priority(b));
    const evicted: string[] = [];
    let missing = shortMib;
    for (const candidate of byWorth) {
      if (missing <= 0) break; // 3
      missing -= candidate.memoryMib;
      evicted.push(candidate.key);
      this.clock = Math.max(this.clock, priority(candidate)); // 1
      const entry = this.entries.get(candidate.key);
      if (entry !== undefined) entry.frequency = 0; // 2
    }
    return evicted;
  }

  private enter(): Entry {
    const entry: Entry = {
      frequency: 0,
      priority: this.clock,
      called: (_now, calls, _idleMs, traits: Traits) => {
        entry.frequency += calls;
        const worth = (entry.frequency * traits.coldStartMs) / Math.max(1, traits.memoryMib);
        entry.priority = this.clock + worth;
      },
      plan: () => UNTIL_EVICTED,
    };
    return entry;
  }
}

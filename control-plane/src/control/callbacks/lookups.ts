/**
 * Names to addresses, for callbacks. By the system's resolver, since only that knows of a cluster's search domains and of
 * /etc/hosts; it blocks a thread of the process's few for as long as it takes, so that few may be under way at once, and
 * one for each name.
 */
import type { LookupAddress } from 'node:dns';

/** Of the four threads that Node has by default; files are read on them, too. */
const MAX_LOOKUPS = 2;

export type Resolve = (host: string) => Promise<readonly LookupAddress[]>;

export class Lookups {
  private readonly resolve: Resolve;
  private readonly underWay = new Map<string, Promise<readonly LookupAddress[]>>();
  private readonly waiting: (() => void)[] = [];
  private running = 0;

  constructor(resolve: Resolve) {
    this.resolve = resolve;
  }

  addressesOf(host: string): Promise<readonly LookupAddress[]> {
    let lookup = this.underWay.get(host);
    if (lookup === undefined) {
      lookup = this.begin(host).finally(() => this.underWay.delete(host));
      this.underWay.set(host, lookup);
    }
    return lookup;
  }

  private async begin(host: string): Promise<readonly LookupAddress[]> {
    if (this.running >= MAX_LOOKUPS) {
      await new Promise<void>((go) => this.waiting.push(go));
    } else {
      this.running++;
    }
    try {
      return await this.resolve(host);
    } finally {
      const next = this.waiting.shift();
      // Its place goes to the next.
      if (next !== undefined) next();
      else this.running--;
    }
  }
}

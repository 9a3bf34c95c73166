/**
 * Whose delivery is next: fair turns among functions, and among the receivers of each; bounds on how many run at once.
 *
 * Invariants:
 *  T1. At most `all` run, `perFunction` of one function, `perOrigin` to one receiver (scheme, host and port), `perLane` of one
 *      function to one receiver: one that hangs takes a small part of each, and nobody waits behind its deliveries.
 *  T2. What may run is taken in turn: function by function, within each receiver by receiver, within each first come first served.
 */
export interface TurnLimits {
  readonly all: number;
  readonly perFunction: number;
  readonly perOrigin: number;
  readonly perLane: number;
}

export interface Turn {
  readonly functionKey: string;
  readonly origin: string;
}

interface Lane<T> {
  running: number;
  /** Oldest first. */
  readonly waiting: T[];
}

interface Group<T> {
  running: number;
  /** By origin; the one whose turn is next stands first. */
  readonly lanes: Map<string, Lane<T>>;
}

export class Turns<T extends Turn> {
  /** By function; the one whose turn is next stands first. */
  private readonly groups = new Map<string, Group<T>>();
  private readonly origins = new Map<string, number>();
  private readonly limits: TurnLimits;
  private running = 0;
  private waiting = 0;

  constructor(limits: TurnLimits) {
    this.limits = limits;
  }

  push(one: T): void {
    let group = this.groups.get(one.functionKey);
    if (group === undefined) {
      group = { running: 0, lanes: new Map() };
      this.groups.set(one.functionKey, group);
    }
    let lane = group.lanes.get(one.origin);
    if (lane === undefined) {
      lane = { running: 0, waiting: [] };
      group.lanes.set(one.origin, lane);
    }
    lane.waiting.push(one);
    this.waiting++;
  }

  /** The next that may run, which counts as running until `done`. */
  next(): T | undefined {
    const { all, perFunction } = this.limits;
    if (this.waiting === 0 || this.running >= all) return undefined; // T1
    for (const [key, group] of this.groups) {
      if (group.running >= perFunction) continue;
      const one = this.nextOf(group);
      if (one === undefined) continue;
      group.running++;
      this.running++;
      this.waiting--;
      toTheEnd(this.groups, key, group); // T2
      return one;
    }
    return undefined;
  }

  private nextOf(group: Group<T>): T | undefined {
    const { perOrigin, perLane } = this.limits;
    for (const [origin, lane] of group.lanes) {
      const toOrigin = this.origins.get(origin) ?? 0;
      if (lane.running >= perLane || toOrigin >= perOrigin) continue;
      const one = lane.waiting.shift();
      if (one === undefined) continue;
      lane.running++;
      this.origins.set(origin, toOrigin + 1);
      toTheEnd(group.lanes, origin, lane);
      return one;
    }
    return undefined;
  }

  /** It waits no longer; it must have waited. */
  drop(one: T): void {
    const group = this.groups.get(one.functionKey);
    const lane = group?.lanes.get(one.origin);
    if (group === undefined || lane === undefined) return;
    lane.waiting.splice(lane.waiting.lastIndexOf(one), 1);
    this.waiting--;
    this.tidy(one, group, lane);
  }

  /** It runs no longer. */
  done({ functionKey, origin }: T): void {
    const group = this.groups.get(functionKey);
    const lane = group?.lanes.get(origin);
    if (group === undefined || lane === undefined) return;
    this.running--;
    group.running--;
    lane.running--;
    const toOrigin = (this.origins.get(origin) ?? 0) - 1;
    if (toOrigin > 0) this.origins.set(origin, toOrigin);
    else this.origins.delete(origin);
    this.tidy({ functionKey, origin }, group, lane);
  }

  private tidy({ functionKey, origin }: Turn, group: Group<T>, lane: Lane<T>): void {
    if (lane.running === 0 && lane.waiting.length === 0) group.lanes.delete(origin);
    if (group.lanes.size === 0) this.groups.delete(functionKey);
  }
}

function toTheEnd<K, V>(map: Map<K, V>, key: K, value: V): void {
  map.delete(key);
  map.set(key, value);
}

/**
 * Synchronous executions, for those who ask: what has ended is in the ring, what has not is looked for where it waits or
 * runs. Nothing is kept for a call on the chance that it is asked for.
 */

import type { ExecutionStatus } from '@simmer/protocol/executions';
import type { FunctionState } from '../function-state.ts';
import type { FunctionTable } from '../function-table.ts';
import { type ExecutionIds, sequenceOf } from '../ids.ts';
import type { Invocation } from '../invocation.ts';
import type { Scheduler } from '../scheduler.ts';
import type { ExecutionRecord } from './record.ts';
import type { ExecutionFilter, Lookup } from './store.ts';
import { type EarlierAttempt, numberOf, type SyncRing } from './sync-ring.ts';

/** Something that may stand in a list, before its record is made. */
interface Candidate {
  readonly number: number;
  record(): ExecutionRecord;
}

export class SyncExecutions {
  private readonly ring: SyncRing;
  private readonly scheduler: Scheduler;
  private readonly functions: FunctionTable;
  private readonly ids: ExecutionIds;
  private readonly wallClock: () => number;
  private readonly maxAgeMs: number;

  constructor(
    scheduler: Scheduler,
    functions: FunctionTable,
    ids: ExecutionIds,
    wallClock: () => number,
    maxAgeMs: number,
  ) {
    this.ring = scheduler.passed;
    this.scheduler = scheduler;
    this.functions = functions;
    this.ids = ids;
    this.wallClock = wallClock;
    this.maxAgeMs = maxAgeMs;
  }

  get(id: string): Lookup {
    if (!this.ids.mayHaveMade(id)) return 'unknown';
    const { ring } = this;
    const number = numberOf(id);
    const row = ring.rowOf(number);
    if (row !== -1) {
      return this.isTooOld(row) ? 'evicted' : ring.recordOf(row, id, this.epoch());
    }
    if (ring.hadRow(number)) return 'evicted';
    const live = this.live(id);
    return live === undefined ? 'unknown' : this.recordOfLive(live);
  }

  /** One that has not ended. */
  live(id: string): Invocation | undefined {
    for (const invocation of this.allLive()) if (invocation.id === id) return invocation;
    return undefined;
  }

  /** Newest first, at most `limit`. */
  list({ functionKey, mayRead, status, limit, cursor }: ExecutionFilter): ExecutionRecord[] {
    const before = cursor === '' ? Number.POSITIVE_INFINITY : sequenceOf(cursor);
    const shows = (key: string, itsStatus: ExecutionStatus): boolean =>
      (functionKey === '' || key === functionKey) &&
      (status === '' || status === itsStatus) &&
      mayRead(key);
    const newest = new Newest(limit);
    for (const invocation of this.allLive()) {
      const number = sequenceOf(invocation.id);
      if (number >= before || !shows(invocation.fn.key, statusOfLive(invocation))) continue;
      newest.add({ number, record: () => this.recordOfLive(invocation) });
    }
    const { ring } = this;
    const { last } = this.ids;
    const epoch = this.epoch();
    for (let i = 0; i < ring.rows; i++) {
      // From the row that was written last, about: the newest come first, and the others are turned away at once.
      const row = (last + ring.rows - i) % ring.rows;
      const number = ring.numberIn(row, last);
      if (number === 0 || number >= before || !newest.takes(number) || this.isTooOld(row)) continue;
      if (!shows(ring.functionKeyOf(row), ring.statusOf(row))) continue;
      newest.add({ number, record: () => ring.recordOf(row, this.ids.idOf(number), epoch) });
    }
    return newest.all.map((candidate) => candidate.record());
  }

  private isTooOld(row: number): boolean {
    return this.ring.endedAt(row) < this.scheduler.ports.now() - this.maxAgeMs;
  }

  /** What makes epoch milliseconds of the scheduler's clock. */
  private epoch(): (at: number) => number {
    const offset = this.wallClock() - this.scheduler.ports.now();
    return (at) => Math.round(at + offset);
  }

  private *allLive(): Generator<Invocation> {
    for (const fn of this.functions.everyone()) {
      for (const invocation of liveOf(fn)) if (invocation.observer === null) yield invocation;
    }
  }

  private recordOfLive(invocation: Invocation): ExecutionRecord {
    const epoch = this.epoch();
    const { state, pod, earlier, placement } = invocation;
    const attempts = (earlier ?? []).map((one: EarlierAttempt) => ({
      ...one,
      startedAt: epoch(one.startedAt),
      endedAt: epoch(one.endedAt),
    }));
    const running =
      pod === null || placement === ''
        ? []
        : [
            {
              ...{ number: invocation.attempts, startedAt: epoch(invocation.dispatchedAt) },
              ...{ endedAt: null, pod: pod.id, backend: pod.backend, placement },
              ...{ placementReason: invocation.placementReason, cold: pod.cold },
              ...{ outcome: null, detail: '' },
            },
          ];
    return {
      ...{ id: invocation.id, mode: 'sync', functionKey: invocation.fn.key },
      ...{ status: statusOfLive(invocation), request: null, callbackUrl: '', replayOf: '' },
      traceId: invocation.traceparent.slice(3, 35),
      createdAt: epoch(invocation.arrivedAt),
      deadlineAt: epoch(invocation.deadlineAt),
      endedAt: null,
      nextAttemptAt: state === 'waiting' ? epoch(invocation.nextAttemptAt) : null,
      ...{ attempts: [...attempts, ...running], output: null, error: null },
    };
  }
}

/** Those with the highest numbers, highest first. */
class Newest {
  readonly all: Candidate[] = [];
  private readonly limit: number;

  constructor(limit: number) {
    this.limit = limit;
  }

  takes(number: number): boolean {
    return this.all.length < this.limit || number > (this.all.at(-1) as Candidate).number;
  }

  add(candidate: Candidate): void {
    if (!this.takes(candidate.number)) return;
    let at = this.all.length;
    while (at > 0 && (this.all[at - 1] as Candidate).number < candidate.number) at--;
    this.all.splice(at, 0, candidate);
    if (this.all.length > this.limit) this.all.pop();
  }
}

function* liveOf(fn: FunctionState): Generator<Invocation> {
  for (let one = fn.queue.head; one !== null; one = one.next) yield one;
  for (let one = fn.waiting.head; one !== null; one = one.next) yield one;
  for (const pod of fn.pods) {
    if (pod.running.size === 0) continue;
    for (const one of pod.running.values()) if (one.state !== 'ended') yield one;
  }
}

function statusOfLive({ state }: Invocation): ExecutionStatus {
  return state === 'queued' || state === 'waiting' ? state : 'running';
}

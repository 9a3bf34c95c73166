/**
 * Synchronous calls that have ended: a row of numbers each in memory that is there from the start. At 50,000 calls a second an object
 * a call that lives on would be copied by the garbage collector again and again; a row is one cache line, written once.
 *
 * Invariants:
 *  Y1. A call has the row of its number (ids.ts), modulo the rows: the last to end has it. Its number stands in it.
 *  Y2. Rows refer to what lives anyway: the pod that ran the call, or its function. Only a call that was retried has an object
 *      more, until its row goes.
 *  Y3. The numbers of the last `REMEMBERED` that lost their row are remembered.
 */
import { type ErrorCode, problem } from '@simmer/protocol/errors';
import { ERROR_CODES, PLACEMENTS, type PlacementKind } from '../../shared/counters.ts';
import { FunctionState } from '../function-state.ts';
import { copyTrace } from '../ids.ts';
import type { Invocation } from '../invocation.ts';
import type { Pod } from '../pod.ts';
import { statusOf } from './execution.ts';
import type { AttemptRecord, ExecutionRecord } from './record.ts';

const ROW_BYTES = 64;
const INTS = ROW_BYTES / 4;
const DOUBLES = ROW_BYTES / 8;
// Integers of a row. The trace id takes four.
const NUMBER = 0;
/** How it ended: 0 for well, else 1 + the index of its code. */
const OUTCOME = 1;
/** Index of its placement + 1 (0: never dispatched), 8 bits; whether it was its pod's first, 1 bit; attempts from bit 9. */
const ATTEMPT = 2;
const BUDGET_MS = 3;
const TRACE = 4;
// Doubles of a row, on the scheduler's clock.
const ARRIVED = 4;
const DISPATCHED = 5;
const ENDED = 6;

const COLD = 0x100;
const ATTEMPTS_SHIFT = 9;
/** A power of two. */
const REMEMBERED = 131_072;

export const OK = 0;
const OUTCOMES = Object.fromEntries(ERROR_CODES.map((code, i) => [code, i + 1]));
const PLACEMENT_INDEX = Object.fromEntries(PLACEMENTS.map((kind, i) => [kind, i + 1]));

/** The row's word for a code. */
export function outcomeOf(code: ErrorCode): number {
  return OUTCOMES[code] as number;
}

/** An attempt that was followed by another; times on the scheduler's clock. */
export type EarlierAttempt = Omit<AttemptRecord, 'endedAt'> & { readonly endedAt: number };

export class SyncRing {
  readonly rows: number;
  /** Told of each end, while somebody waits for one. */
  watcher: ((invocation: Invocation) => void) | null = null;
  private readonly ints: Int32Array;
  private readonly bytes: Uint8Array;
  private readonly doubles: Float64Array;
  /** Y2 */
  private readonly owners: (Pod | FunctionState | null)[];
  private readonly earlier = new Map<number, readonly EarlierAttempt[]>();
  private readonly gone = new Int32Array(REMEMBERED);

  constructor(rows: number) {
    this.rows = rows;
    const memory = new ArrayBuffer(rows * ROW_BYTES);
    this.ints = new Int32Array(memory);
    this.bytes = new Uint8Array(memory);
    this.doubles = new Float64Array(memory);
    this.owners = new Array(rows).fill(null);
  }

  /** It has ended, with this outcome. On the warm path. */
  add(invocation: Invocation, outcome: number, now: number): void {
    const { ints, doubles } = this;
    const number = numberOf(invocation.id);
    const row = (number >>> 0) % this.rows;
    const at = row * INTS;
    const before = ints[at] as number;
    if (before !== 0) {
      this.gone[before & (REMEMBERED - 1)] = before;
      if (this.earlier.size > 0) this.earlier.delete(before);
    }
    const pod = invocation.lastPod;
    ints[at] = number;
    ints[at + OUTCOME] = outcome;
    ints[at + ATTEMPT] =
      pod === null
        ? 0
        : placementIndex(invocation.placement) |
          (pod.cold ? COLD : 0) |
          (invocation.attempts << ATTEMPTS_SHIFT);
    ints[at + BUDGET_MS] = invocation.deadlineAt - invocation.arrivedAt;
    if (!copyTrace(invocation.traceSerial, ints, at + TRACE)) {
      writeTrace(invocation.traceparent, this.bytes, row * ROW_BYTES + TRACE * 4);
    }
    const from = row * DOUBLES;
    doubles[from + ARRIVED] = invocation.arrivedAt;
    doubles[from + DISPATCHED] = invocation.dispatchedAt;
    doubles[from + ENDED] = now;
    this.owners[row] = pod ?? invocation.fn;
    if (invocation.earlier !== null) this.earlier.set(number, invocation.earlier);
    if (this.watcher !== null) this.watcher(invocation);
  }

  /** The row of this number; -1 where it has none. */
  rowOf(number: number): number {
    const row = (number >>> 0) % this.rows;
    return this.ints[row * INTS] === (number | 0) && number !== 0 ? row : -1;
  }

  /** It had a row, which another has now. */
  hadRow(number: number): boolean {
    return this.gone[number & (REMEMBERED - 1)] === (number | 0);
  }

  /** The number of the call in this row, `last` being the last that was given; 0: none is. */
  numberIn(row: number, last: number): number {
    const number = this.ints[row * INTS] as number;
    return number === 0 ? 0 : last - (((last | 0) - number) >>> 0);
  }

  endedAt(row: number): number {
    return this.doubles[row * DOUBLES + ENDED] as number;
  }

  functionKeyOf(row: number): string {
    const owner = this.owners[row] as Pod | FunctionState;
    return owner instanceof FunctionState ? owner.key : owner.fn.key;
  }

  statusOf(row: number): ExecutionRecord['status'] {
    const code = this.codeOf(row);
    return code === undefined ? 'succeeded' : statusOf(code);
  }

  /** `epoch`: what makes epoch milliseconds of the scheduler's clock. */
  recordOf(row: number, id: string, epoch: (at: number) => number): ExecutionRecord {
    const ints = this.ints.subarray(row * INTS, (row + 1) * INTS);
    const doubles = this.doubles.subarray(row * DOUBLES, (row + 1) * DOUBLES);
    const code = this.codeOf(row);
    const word = ints[ATTEMPT] as number;
    const count = word >>> ATTEMPTS_SHIFT;
    const owner = this.owners[row];
    const arrivedAt = doubles[ARRIVED] as number;
    const endedAt = epoch(doubles[ENDED] as number);
    const attempts: AttemptRecord[] = (this.earlier.get(ints[NUMBER] as number) ?? []).map(
      (one) => ({
        ...one,
        startedAt: epoch(one.startedAt),
        endedAt: epoch(one.endedAt),
      }),
    );
    if (count > attempts.length && owner && !(owner instanceof FunctionState)) {
      attempts.push({
        ...{ number: count, startedAt: epoch(doubles[DISPATCHED] as number), endedAt },
        ...{ pod: owner.id, backend: owner.backend, cold: (word & COLD) !== 0 },
        placement: PLACEMENTS[(word & 0xff) - 1] as PlacementKind,
        ...{ placementReason: '', outcome: code ?? 'ok', detail: '' },
      });
    }
    const more = { executionId: id, ...(count > 0 && { attempts: count }) };
    return {
      ...{ id, mode: 'sync', functionKey: this.functionKeyOf(row), status: this.statusOf(row) },
      ...{ request: null, callbackUrl: '', replayOf: '', nextAttemptAt: null, output: null },
      traceId: this.traceIn(row),
      createdAt: epoch(arrivedAt),
      deadlineAt: epoch(arrivedAt + (ints[BUDGET_MS] as number)),
      ...{ endedAt, attempts },
      error: code === undefined ? null : problem(code, '', more),
    };
  }

  private traceIn(row: number): string {
    const at = row * ROW_BYTES + TRACE * 4;
    return Buffer.from(this.bytes.subarray(at, at + TRACE_ID_BYTES)).toString('hex');
  }

  private codeOf(row: number): ErrorCode | undefined {
    return ERROR_CODES[(this.ints[row * INTS + OUTCOME] as number) - 1];
  }
}

/** `PLACEMENT_INDEX`, but the usual one without a look at the table. */
function placementIndex(kind: PlacementKind | ''): number {
  return kind === 'warm' ? 1 : (PLACEMENT_INDEX[kind] as number);
}

/** The number in an id, modulo 2^32 and signed: as the rows have it. */
export function numberOf(id: string): number {
  let number = 0;
  let power = 1;
  for (let i = id.length - 1; i >= 0; i--) {
    const digit = id.charCodeAt(i) - 48;
    if (digit < 0) break;
    number = (number + Math.imul(digit, power)) | 0;
    power = Math.imul(power, 10);
  }
  return number;
}

const TRACE_ID_AT = 3;
const TRACE_ID_BYTES = 16;

/** 32 lower-case hexadecimal digits, as they were checked, as bytes. */
function writeTrace(traceparent: string, bytes: Uint8Array, at: number): void {
  for (let i = 0; i < TRACE_ID_BYTES; i++) {
    const high = digitOf(traceparent.charCodeAt(TRACE_ID_AT + 2 * i));
    bytes[at + i] = (high << 4) | digitOf(traceparent.charCodeAt(TRACE_ID_AT + 2 * i + 1));
  }
}

function digitOf(code: number): number {
  return code > 57 ? code - 87 : code - 48;
}

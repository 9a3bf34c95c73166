/**
 * One asynchronous execution: what its invocation's scheduling tells becomes its record. Until it is accepted (202), its
 * failures go to the request that brought it.
 *
 * Invariants:
 *  E1. The record ends once, and its end is told once.
 *  E2. Accepted or refused: the request gets one answer.
 */
import { type ErrorCode, problem } from '@simmer/protocol/errors';
import type { ExecutionMode, ExecutionStatus } from '@simmer/protocol/executions';
import type { EndStatus } from '../../shared/counters.ts';
import { isDeadLetter } from '../dead-letters/letter.ts';
import type { KeyedClient } from '../idempotency/answers.ts';
import type { Invocation, InvocationObserver } from '../invocation.ts';
import { letGo } from '../let-go.ts';
import type { Pod } from '../pod.ts';
import { errorsOf, type Reply } from '../reply.ts';
import type { AttemptRecord, ExecutionRecord, ExecutionRequest } from './record.ts';

/** Whoever asks for one, and is told whether it was accepted. */
export type Asking = Pick<KeyedClient, 'accepted' | 'fail'>;

export interface ExecutionPorts {
  /** Epoch milliseconds. */
  wallClock(): number;
  changed(execution: Execution): void;
  /** Its record has ended. */
  ended(execution: Execution): void;
  /** It is a dead letter, with this request. Before `ended`. */
  dead(execution: Execution, request: ExecutionRequest): void;
}

export class Execution implements Reply, InvocationObserver {
  readonly record: ExecutionRecord;
  invocation!: Invocation;
  /** Whoever asked for it and has no answer yet. */
  private asking: Asking | null;
  /** Its record has ended: set by whoever keeps its key. */
  whenEnded: (() => void) | null = null;
  /** It failed before it was accepted. */
  isRefused = false;
  private readonly ports: ExecutionPorts;

  constructor(record: ExecutionRecord, asking: Asking, ports: ExecutionPorts) {
    this.record = record;
    this.asking = asking;
    this.ports = ports;
  }

  /** Answers the request; from here on failures are the record's. */
  accept(): void {
    const { id, status } = this.record;
    this.asking?.accepted(id, this.invocation.traceparent, status);
    this.asking = null;
  }

  get isAsking(): boolean {
    return this.asking !== null;
  }

  // ---- InvocationObserver ------------------------------------------------------------------------------------------

  onDispatched(invocation: Invocation, pod: Pod): void {
    const { record } = this;
    record.status = 'running';
    record.nextAttemptAt = null;
    record.attempts.push({
      number: invocation.attempts,
      startedAt: this.ports.wallClock(),
      endedAt: null,
      pod: pod.id,
      backend: pod.backend,
      placement: invocation.placement as AttemptRecord['placement'],
      placementReason: invocation.placementReason,
      cold: pod.cold,
      outcome: null,
      detail: '',
    });
    this.ports.changed(this);
  }

  onWaiting(code: ErrorCode, detail: string, delayMs: number): void {
    const { record } = this;
    record.status = 'waiting';
    record.nextAttemptAt = this.ports.wallClock() + Math.round(delayMs);
    this.endAttempt(code, detail);
    this.ports.changed(this);
  }

  onQueued(): void {
    this.record.status = 'queued';
    this.record.nextAttemptAt = null;
    this.ports.changed(this);
  }

  // ---- Reply -------------------------------------------------------------------------------------------------------

  value(invocation: Invocation, pieces: readonly Uint8Array[] | null, last: Uint8Array): void {
    const output = new Uint8Array(invocation.partBytes + last.length);
    let at = 0;
    for (const piece of pieces ?? []) {
      output.set(piece, at);
      at += piece.length;
    }
    output.set(last, at);
    this.record.output = output;
    this.endAttempt('ok', '');
    this.finish('succeeded');
  }

  fail(invocation: Invocation, code: ErrorCode, detail: string, retryAfterSeconds = 0): void {
    if (this.asking !== null) {
      this.isRefused = true;
      this.asking.fail(invocation, code, detail, retryAfterSeconds);
      this.asking = null;
      return;
    }
    const { id, attempts } = invocation;
    this.record.error = problem(code, detail, {
      executionId: id,
      ...(attempts > 0 && { attempts }),
      ...errorsOf(invocation.faults),
    });
    this.endAttempt(code, detail);
    this.finish(endOf(code, 'async'));
  }

  // A `value` invocation has no others.
  head(): void {}
  chunk(): void {}
  end(): void {}
  abort(): void {}

  private endAttempt(outcome: 'ok' | ErrorCode, detail: string): void {
    const attempt = this.record.attempts.at(-1);
    if (attempt === undefined || attempt.endedAt !== null) return;
    attempt.endedAt = this.ports.wallClock();
    attempt.outcome = outcome;
    attempt.detail = detail;
  }

  /** E1 */
  private finish(status: ExecutionStatus): void {
    const { record } = this;
    record.status = status;
    record.endedAt = this.ports.wallClock();
    record.nextAttemptAt = null;
    const { request } = record;
    record.request = null;
    if (request !== null) {
      if (status === 'dead_lettered') this.ports.dead(this, request);
      else letGo(request.body);
    }
    this.ports.ended(this);
    this.whenEnded?.();
  }
}

/** Of one that was accepted and failed: what is asynchronous may become a dead letter. */
export function endOf(code: ErrorCode, mode: ExecutionMode): EndStatus {
  return mode === 'async' && isDeadLetter(code) ? 'dead_lettered' : statusOf(code);
}

/** Of one that failed, and is no dead letter. */
export function statusOf(code: ErrorCode): EndStatus {
  if (code === 'timeout') return 'timed_out';
  return code === 'cancelled' ? 'cancelled' : 'failed';
}

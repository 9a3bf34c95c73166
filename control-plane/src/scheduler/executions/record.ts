/**
 * What is kept of an execution: its request, its attempts and how it ended. Plain data, so that a store may write it down.
 */
import type { ErrorCode, Problem } from '@simmer/protocol/errors';
import type { ExecutionMode, ExecutionStatus } from '@simmer/protocol/executions';
import type { PlacementKind } from '../../shared/counters.ts';

/** One attempt. Times are epoch milliseconds. */
export interface AttemptRecord {
  /** From 1. */
  readonly number: number;
  readonly startedAt: number;
  endedAt: number | null;
  readonly pod: string;
  readonly backend: string;
  readonly placement: PlacementKind;
  readonly placementReason: string;
  /** The first of its pod. */
  readonly cold: boolean;
  /** 'ok', or the code it failed with; null while it runs. */
  outcome: 'ok' | ErrorCode | null;
  detail: string;
}

export interface ExecutionRequest {
  readonly traceparent: string;
  /** The envelope, as it came. */
  readonly body: Uint8Array;
  /** Milliseconds that each attempt may take. */
  readonly timeoutMs: number;
  readonly maxRetries: number;
  /** Where its end is told; '' for nowhere. */
  readonly callbackUrl: string;
}

export interface ExecutionRecord {
  readonly id: string;
  /** Whether its caller waited for the result. Of a synchronous one no bodies are kept. */
  readonly mode: ExecutionMode;
  /** namespace/name */
  readonly functionKey: string;
  status: ExecutionStatus;
  /** null once it has ended. */
  request: ExecutionRequest | null;
  readonly traceId: string;
  /** Where its end is told; '' for nowhere. */
  callbackUrl: string;
  /** The execution whose dead letter this one is the replay of; '' for none. */
  readonly replayOf: string;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly deadlineAt: number;
  endedAt: number | null;
  /** Of the next attempt, while it waits for one. */
  nextAttemptAt: number | null;
  readonly attempts: AttemptRecord[];
  /** JSON, as the handler's output; null where there is none. */
  output: Uint8Array | null;
  error: Problem | null;
}

export function hasEnded({ endedAt }: ExecutionRecord): boolean {
  return endedAt !== null;
}

/** What an attempt, its error and the fields of a record take, roughly. */
const OVERHEAD_BYTES = 1_024;
const ATTEMPT_BYTES = 512;

/** Memory that it takes: its bodies, and the rest by estimate. */
export function bytesOf(record: ExecutionRecord): number {
  const { request, output, attempts, callbackUrl } = record;
  const bodies = (request?.body.length ?? 0) + (output?.length ?? 0);
  return OVERHEAD_BYTES + attempts.length * ATTEMPT_BYTES + callbackUrl.length + bodies;
}

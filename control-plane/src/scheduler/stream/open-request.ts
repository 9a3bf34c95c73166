/** What a client's WebSocket and its requests know of each other. */

import type { StreamMessage } from '@simmer/protocol/client-messages';
import type { ErrorCode } from '@simmer/protocol/errors';
import type { Answered } from '../reply.ts';
import type { InboundBody } from './inbound-body.ts';
import type { Outbox, Payload } from './outbox.ts';

/** A request that has not been answered. */
export interface OpenRequest {
  readonly id: number;
  /** Its body, while that comes. */
  readonly body: InboundBody | null;
  /** Its answer, while that goes. */
  readonly payload: Payload | null;
  /** There is room for more of its answer, which may not have begun. */
  grant(bytes: number): void;
  /** Its client wants no answer any more, and is told that there will be none. */
  cancel(): void;
  /** Its client is gone. */
  gone(): void;
}

export interface Failure {
  readonly executionId: string;
  readonly traceparent: string;
  readonly code: ErrorCode;
  readonly detail: string;
  readonly attempts?: number;
  readonly retryAfterSeconds?: number;
  readonly faults?: Answered['faults'];
  readonly replayed?: boolean;
}

export interface RequestPorts {
  readonly outbox: Outbox;
  /** The msgpack spelling. */
  readonly binary: boolean;
  encode(message: StreamMessage): Uint8Array | string;
  /** It was taken on. */
  opened(request: OpenRequest): void;
  /** Ends it with an error. */
  fail(request: OpenRequest, failure: Failure): void;
  /** It was answered: the last message was handed to the socket. */
  ended(request: OpenRequest): void;
}

/** What is kept of an execution's answer under its key, and how it is told again. */
import type { ErrorCode } from '@simmer/protocol/errors';
import type { HeaderPairs } from '@simmer/protocol/frames';
import type { Answered, Reply } from '../reply.ts';

/** Whoever calls with a key: a reply that can say that its answer is another request's. */
export interface KeyedClient extends Reply {
  /** What follows was answered to another request of this key. */
  markReplayed(): void;
  /** The asynchronous execution `id` is kept. */
  accepted(id: string, traceparent: string, status: string): void;
}

export type Answer =
  | { readonly kind: 'value'; readonly body: Uint8Array }
  | {
      readonly kind: 'raw';
      readonly status: number;
      readonly headers: HeaderPairs;
      readonly body: Uint8Array;
    }
  | {
      readonly kind: 'failure';
      readonly code: ErrorCode;
      readonly detail: string;
      readonly retryAfterSeconds: number;
      readonly faults?: Answered['faults'];
    }
  /** It was accepted with this status. */
  | { readonly kind: 'accepted'; readonly status: string }
  /** It ran, and its answer cannot be told again. */
  | { readonly kind: 'unavailable'; readonly detail: string };

/** How it is when it is told again, its record says. */
export const ACCEPTED: Answer = { kind: 'accepted', status: '' };
export const STREAMED: Answer = {
  kind: 'unavailable',
  detail: 'The first answer was streamed, or was a raw one over 64 KiB, and was not kept.',
};
export const NOT_KEPT: Answer = {
  kind: 'unavailable',
  detail: 'The first answer was too large to be kept, or has made room for others.',
};

/** Bytes of its own that it takes. */
export function bytesOf(answer: Answer): number {
  switch (answer.kind) {
    case 'value':
      return answer.body.length;
    case 'raw': {
      return answer.body.length + bytesOfPairs(answer.headers);
    }
    case 'failure':
      return answer.detail.length + bytesOfPairs(answer.faults ?? []);
    default:
      return 0;
  }
}

function bytesOfPairs(pairs: HeaderPairs): number {
  let bytes = 0;
  for (const [name, value] of pairs) bytes += name.length + value.length + 64;
  return bytes;
}

/** Tells it to one more client. */
export function tell(client: KeyedClient, first: Answered, answer: Answer): void {
  client.markReplayed();
  switch (answer.kind) {
    case 'value':
      client.value(first, null, answer.body);
      break;
    case 'raw':
      client.head(first, answer.status, answer.headers);
      client.end(first, answer.body.length === 0 ? null : answer.body);
      break;
    case 'failure':
      client.fail(
        { ...first, faults: answer.faults },
        ...([answer.code, answer.detail, answer.retryAfterSeconds] as const),
      );
      break;
    case 'accepted':
      client.accepted(first.id, first.traceparent, answer.status);
      break;
    case 'unavailable':
      client.fail(first, 'idempotent_result_unavailable', answer.detail);
  }
}

/** All of a result in one piece, with its memory to itself. */
export function wholeOf(pieces: readonly Uint8Array[] | null, last: Uint8Array | null): Uint8Array {
  let length = last?.length ?? 0;
  for (const piece of pieces ?? []) length += piece.length;
  // Not from a slab: a small body that is kept for a day would keep all of it.
  const whole = Buffer.allocUnsafeSlow(length);
  let at = 0;
  for (const piece of pieces ?? []) {
    whole.set(piece, at);
    at += piece.length;
  }
  if (last !== null) whole.set(last, at);
  return whole;
}

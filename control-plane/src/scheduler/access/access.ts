/** What it comes to when a caller shows who it is: a caller that is known, or why the request is not let in. */
import type { ErrorCode } from '@simmer/protocol/errors';
import type { HeaderPairs } from '@simmer/protocol/frames';
import type { Known } from './known.ts';
import type { TokenBucket } from './token-bucket.ts';

/** Why a request is not let in, as it is answered. */
export class Refused {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly retryAfterSeconds: number;
  readonly headers: HeaderPairs;

  constructor(
    code: ErrorCode,
    detail: string,
    retryAfterSeconds = 0,
    headers: HeaderPairs = NO_HEADERS,
  ) {
    this.code = code;
    this.detail = detail;
    this.retryAfterSeconds = retryAfterSeconds;
    this.headers = headers;
  }
}
const NO_HEADERS: HeaderPairs = [];

export type Access = Known | Refused;

/** 429 with the fields that clients' libraries read: draft-ietf-httpapi-ratelimit-headers-06. */
export function rateLimited(whose: string, bucket: TokenBucket, now: number): Refused {
  const { requestsPerSecond, burst } = bucket.limit;
  const detail = `${whose} may make ${requestsPerSecond} requests a second, ${burst} at once.`;
  const reset = Math.ceil(bucket.fullInMs(now) / 1_000);
  return new Refused('rate_limited', detail, Math.max(1, Math.ceil(bucket.waitMs(now) / 1_000)), [
    ['ratelimit-limit', String(burst)],
    ['ratelimit-remaining', String(bucket.remaining(now))],
    ['ratelimit-reset', String(reset)],
  ]);
}

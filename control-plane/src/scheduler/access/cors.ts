/**
 * Cross-origin requests of browsers (the Fetch standard, 3.2): which pages of other origins may read our answers. Never with a
 * browser's own credentials (cookies): a page shows an API key or a token by itself.
 */
import type { HeaderPairs } from '@simmer/protocol/frames';

/** What a page may read beside what every page may. */
const EXPOSED = [
  ...['X-Execution-Id', 'X-Trace-Id', 'Location', 'ETag', 'Idempotent-Replayed', 'Retry-After'],
  ...['RateLimit-Limit', 'RateLimit-Remaining', 'RateLimit-Reset', 'WWW-Authenticate'],
].join(', ');
const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE';
/** A browser asks again after that. */
const MAX_AGE_S = 600;
const HEADER_NAMES = /^[\w!#$%&'*+.^`|~, -]{0,1000}$/;
const VARY: readonly [string, string] = ['vary', 'Origin'];

export class Cors {
  private readonly byOrigin: ReadonlyMap<string, HeaderPairs>;
  private readonly others: HeaderPairs;

  private constructor(origins: readonly string[]) {
    const answer = (origin: string): HeaderPairs => [
      ['access-control-allow-origin', origin],
      ['access-control-expose-headers', EXPOSED],
    ];
    this.byOrigin = new Map(origins.map((origin) => [origin, [...answer(origin), VARY]]));
    this.others = origins.includes('*') ? answer('*') : [VARY];
  }

  /** null: pages of other origins may read nothing. */
  static of(origins: readonly string[]): Cors | null {
    return origins.length === 0 ? null : new Cors(origins);
  }

  /** Whether pages of this origin are among them. */
  allows(origin: string): boolean {
    return this.byOrigin.has(origin) || this.byOrigin.has('*');
  }

  /** Of every answer to a request with this `Origin`; '' for one that has none. */
  headersFor(origin: string): HeaderPairs {
    return this.byOrigin.get(origin) ?? this.others;
  }

  /** Of the answer to a preflight, beside those. `wanted`: its Access-Control-Request-Headers. */
  preflightHeaders(wanted: string): HeaderPairs {
    return [
      ['access-control-allow-methods', METHODS],
      ...(wanted !== '' && HEADER_NAMES.test(wanted)
        ? ([['access-control-allow-headers', wanted]] as const)
        : []),
      ['access-control-max-age', String(MAX_AGE_S)],
    ];
  }
}

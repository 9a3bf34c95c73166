/**
 * Who calls: takes the credentials of a request and gives the caller, or why there is none.
 *
 *     Authorization: Bearer <key>  ·  X-Api-Key: <key>  ·  Authorization: Bearer <JWT>
 *
 * In that order: a key is told by its prefix, so that a handler's own Authorization may stand beside an X-Api-Key. Of a
 * JWT that was not seen before the answer comes later: it is verified on the control thread (token-cache.ts).
 */
import { API_KEY_PREFIX } from '@simmer/protocol/api-keys';
import { REFUSALS, type Refusal } from '../../shared/counters.ts';
import { TimingWheel } from '../timing-wheel.ts';
import { type Access, Refused, rateLimited } from './access.ts';
import { KeyTable } from './key-table.ts';
import { KNOWN_ANYONE, type Known } from './known.ts';
import { isJwt, TokenCache, type TokenCachePorts } from './token-cache.ts';

export { type Access, Refused } from './access.ts';

/** What of a request it reads. */
export interface Headers {
  getHeader(lowerCaseName: string): string;
}

export interface GateSettings {
  /** False: nobody is asked who they are, everyone is ANYONE. */
  readonly asks: boolean;
  /** Whether JWTs are taken, too. */
  readonly tokens: boolean;
}

export interface GatePorts extends TokenCachePorts {
  /** One more was refused. */
  count(refusal: Refusal): void;
}

const BEARER_KEY = `Bearer ${API_KEY_PREFIX}`;
/** Where the key begins behind the usual spelling. */
const KEY_AT = BEARER_KEY.length - API_KEY_PREFIX.length;
const BEARER = /^bearer +(?=.)/i;

const MISSING = new Refused(
  'unauthenticated',
  'Credentials are needed: Authorization: Bearer, or X-Api-Key.',
);
const UNKNOWN = new Refused('unauthenticated', 'The API key is not known, or holds no longer.');

export class Gate {
  /** Where false, no header is to be read. */
  readonly asks: boolean;
  readonly keys: KeyTable;
  /** null: JWTs are not taken. */
  readonly tokens: TokenCache | null;

  private readonly count: (refusal: Refusal) => void;

  constructor(settings: GateSettings, ports: GatePorts) {
    this.count = ports.count;
    this.asks = settings.asks;
    this.keys = new KeyTable(() => ports.wallClock());
    this.tokens = settings.tokens ? new TokenCache(ports) : null;
  }

  /** One that asks nobody. */
  static open(): Gate {
    const wheel = new TimingWheel(0);
    const clocks = { now: () => 0, wallClock: () => 0 };
    const ports = { wheel, ...clocks, post: () => {}, count: () => {} };
    return new Gate({ asks: false, tokens: false }, ports);
  }

  /** Reads what it needs of the request now. */
  callerOfRequest(request: Headers): Access | Promise<Access> {
    if (!this.asks) return KNOWN_ANYONE;
    const authorization = request.getHeader('authorization');
    if (authorization.startsWith(BEARER_KEY)) return this.callerOfKey(authorization, KEY_AT);
    return this.callerOf(authorization, request.getHeader('x-api-key'));
  }

  /** By the values of the two headers; '' for one that is not there. */
  callerOf(authorization: string, apiKey: string): Access | Promise<Access> {
    if (!this.asks) return KNOWN_ANYONE;
    const scheme = BEARER.exec(authorization)?.[0].length ?? 0;
    if (scheme > 0 && authorization.startsWith(API_KEY_PREFIX, scheme)) {
      return this.callerOfKey(authorization, scheme);
    }
    if (apiKey.startsWith(API_KEY_PREFIX)) return this.callerOfKey(apiKey, 0);
    if (this.tokens !== null && scheme > 0) {
      const access = this.tokens.find(authorization.slice(scheme));
      return access instanceof Promise
        ? access.then((known) => this.counted(known))
        : this.counted(access);
    }
    return this.counted(authorization === '' && apiKey === '' ? MISSING : UNKNOWN);
  }

  /** Takes one request off the caller's own limit. */
  limit(known: Known, now: number): Refused | undefined {
    const { bucket } = known;
    if (bucket === null || bucket.take(now)) return undefined;
    return this.counted(rateLimited('The caller', bucket, now));
  }

  /** It itself, once it is counted where it is a refusal. */
  counted<A extends Access>(access: A): A {
    if (access instanceof Refused) {
      const refusal = REFUSALS.find((code) => code === access.code);
      if (refusal !== undefined) this.count(refusal);
    }
    return access;
  }

  /** Whether a header holds what callers show to us: no handler is to see it. */
  isCredential(lowerCaseName: string, value: string): boolean {
    if (!this.asks) return false;
    if (lowerCaseName !== 'authorization' && lowerCaseName !== 'x-api-key') return false;
    if (value.includes(API_KEY_PREFIX)) return true;
    const scheme = BEARER.exec(value)?.[0].length ?? 0;
    return this.tokens !== null && scheme > 0 && isJwt(value.slice(scheme));
  }

  private callerOfKey(text: string, at: number): Access {
    return this.keys.find(text, at) ?? this.counted(UNKNOWN);
  }
}

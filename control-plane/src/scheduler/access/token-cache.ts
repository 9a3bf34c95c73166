/**
 * JWTs: those that were verified, and those that are being. The control thread verifies (a signature check, and at times a
 * fetch of the issuer's keys); what it said holds here until the token expires.
 *
 *   (unknown) ──find──▶ pending ──answered──▶ kept ──▶ (unknown)     when it expires, or makes room
 *                          └────── refused, or no answer in time ─▶ (unknown)
 *
 * Invariants:
 *  T1. A token is let in only as the very text that was verified, and not past its expiry.
 *  T2. Never more than MAX_KEPT tokens of MAX_KEPT_CHARS together: the one that came first goes first.
 *  T3. Never more than MAX_WAITING requests wait; every one of them is answered, if the control thread is silent too.
 */
import type { Caller } from '../../shared/caller.ts';
import type { TokenVerifiedMessage, VerifyTokenMessage } from '../../shared/messages.ts';
import { TimerNode, type TimingWheel } from '../timing-wheel.ts';
import { type Access, Refused } from './access.ts';
import { Known } from './known.ts';

const MAX_KEPT = 10_000;
const MAX_KEPT_CHARS = 33_554_432;
const MAX_TOKEN_LENGTH = 8_192;
const MAX_WAITING = 1_000;
/** Past what fetching an issuer's documents may take (tokens.ts). */
const ANSWER_TIMEOUT_MS = 15_000;
/** The end of a token, of its signature: tells tokens apart, and is quicker to look up than all of it. */
const TAIL_LENGTH = 40;
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

const NO_TOKEN = new Refused('unauthenticated', 'It is neither an API key nor a JWT.');
const TOO_MANY = new Refused('overloaded', 'Too many tokens wait to be checked.', 1);
const SILENT = new Refused(
  'identity_provider_unavailable',
  'The token was not checked in time.',
  1,
);

export function isJwt(text: string): boolean {
  return text.length <= MAX_TOKEN_LENGTH && JWT.test(text);
}

export interface TokenCachePorts {
  readonly wheel: TimingWheel;
  /** Milliseconds, monotonic. */
  now(): number;
  /** Epoch milliseconds. */
  wallClock(): number;
  post(message: VerifyTokenMessage): void;
}

interface Kept {
  readonly token: string;
  readonly known: Known;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
}

class Pending extends TimerNode {
  readonly token: string;
  readonly answer: Promise<Access>;
  resolve!: (access: Access) => void;
  waiting = 0;
  private readonly expire: (pending: Pending) => void;

  constructor(token: string, expire: (pending: Pending) => void) {
    super();
    this.token = token;
    this.expire = expire;
    this.answer = new Promise((resolve) => {
      this.resolve = resolve;
    });
  }

  onTimer(): void {
    this.expire(this);
  }
}

export class TokenCache {
  private readonly ports: TokenCachePorts;
  /** By their tails. */
  private readonly kept = new Map<string, Kept>();
  private keptChars = 0;
  private readonly byToken = new Map<string, Pending>();
  private readonly byRequest = new Map<number, Pending>();
  private waiting = 0;
  private last = 0;

  constructor(ports: TokenCachePorts) {
    this.ports = ports;
  }

  /** Whose token it is. */
  find(token: string): Access | Promise<Access> {
    const kept = this.kept.get(token.slice(-TAIL_LENGTH));
    if (kept !== undefined && kept.token === token) {
      if (this.ports.wallClock() < kept.expiresAt) return kept.known; // T1
      this.drop(kept);
    }
    if (!isJwt(token)) return NO_TOKEN;
    if (this.waiting >= MAX_WAITING) return TOO_MANY; // T3
    const pending = this.byToken.get(token) ?? this.ask(token);
    pending.waiting++;
    this.waiting++;
    return pending.answer;
  }

  private ask(token: string): Pending {
    const requestId = ++this.last;
    const { wheel, now, post } = this.ports;
    const pending = new Pending(token, () => this.end(requestId, pending, SILENT));
    this.byToken.set(token, pending);
    this.byRequest.set(requestId, pending);
    wheel.set(pending, now() + ANSWER_TIMEOUT_MS);
    post({ type: 'verify-token', requestId, token });
    return pending;
  }

  answered({ requestId, verdict }: TokenVerifiedMessage): void {
    const pending = this.byRequest.get(requestId);
    if (pending === undefined) return;
    if (verdict.kind === 'refused') {
      const { code, detail } = verdict;
      const again = code === 'identity_provider_unavailable' ? 1 : 0;
      this.end(requestId, pending, new Refused(code, detail, again));
    } else {
      this.end(requestId, pending, this.keep(pending.token, verdict.caller, verdict.expiresAt));
    }
  }

  private end(requestId: number, pending: Pending, access: Access): void {
    this.byRequest.delete(requestId);
    this.byToken.delete(pending.token);
    this.ports.wheel.clear(pending);
    this.waiting -= pending.waiting;
    pending.resolve(access);
  }

  private keep(token: string, caller: Caller, expiresAt: number): Known {
    const known = new Known(caller, null);
    const same = this.kept.get(token.slice(-TAIL_LENGTH));
    if (same !== undefined) this.drop(same);
    this.kept.set(token.slice(-TAIL_LENGTH), { token, known, expiresAt });
    this.keptChars += token.length;
    for (const oldest of this.kept.values()) {
      if (this.kept.size <= MAX_KEPT && this.keptChars <= MAX_KEPT_CHARS) break;
      this.drop(oldest); // T2
    }
    return known;
  }

  private drop({ token }: Kept): void {
    this.kept.delete(token.slice(-TAIL_LENGTH));
    this.keptChars -= token.length;
  }
}

/**
 * Verifies JWTs (RFC 7519, OpenID Connect) through jose: signature, issuer, audience, expiry; asymmetric algorithms only. Its
 * claims become a caller. The issuer's keys are fetched when one is needed that is not known, and kept.
 */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { SCOPES, type Scope } from '@simmer/protocol/operations';
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  errors,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose';
import type { TokenVerdict } from '../../shared/messages.ts';
import type { Log } from '../log.ts';

/** A secret that the issuer shares with us would let us, and who reads our keys, make tokens. */
const ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
];
const FETCH_TIMEOUT_MS = 4_000;
/** After a fetch of keys: one token with an unknown key must not make us fetch them again at once. */
const COOLDOWN_MS = 10_000;
/** Clocks differ. */
const TOLERANCE_S = 5;
const MAX_SUBJECT_LENGTH = 200;
const HASH_LENGTH = 32;
/** What a subject ends with that could not be taken as it is. */
const HASHED = new RegExp(`~[0-9a-f]{${HASH_LENGTH}}$`);
const DISCOVERY = '/.well-known/openid-configuration';

export interface TokensOptions {
  readonly issuer: string;
  readonly audience: string;
  /** URL or path; '' : by discovery. */
  readonly jwks: string;
  readonly scopesClaim: string;
  /** '' : every function. */
  readonly functionsClaim: string;
  readonly log: Log;
}

export class Tokens {
  private readonly options: TokensOptions;
  private readonly keyOf: JWTVerifyGetKey;
  private failing = false;

  constructor(options: TokensOptions) {
    const { jwks, issuer } = options;
    this.options = options;
    if (jwks === '') this.keyOf = discovered(issuer);
    else if (/^https?:/.test(jwks)) this.keyOf = remote(jwks);
    else this.keyOf = fromFile(jwks);
  }

  /** Never rejects. */
  async verify(token: string): Promise<TokenVerdict> {
    const { issuer, audience } = this.options;
    try {
      const { payload } = await jwtVerify(token, this.keyOf, {
        ...{ issuer, audience, algorithms: ALGORITHMS, clockTolerance: TOLERANCE_S },
        requiredClaims: ['exp', 'sub'],
      });
      this.failing = false;
      return this.verdictOf(payload);
    } catch (error) {
      return this.refusal(error as Error);
    }
  }

  private verdictOf(payload: JWTPayload): TokenVerdict {
    const { scopesClaim, functionsClaim } = this.options;
    const given = textsIn(payload, scopesClaim).map((text) => text.replace(/^simmer:/, ''));
    return {
      kind: 'known',
      caller: {
        id: `token:${printable(String(payload.sub))}`,
        scopes: SCOPES.filter((scope: Scope) => given.includes(scope)),
        functions: functionsClaim === '' ? ['*'] : textsIn(payload, functionsClaim),
      },
      expiresAt: ((payload.exp as number) + TOLERANCE_S) * 1_000,
    };
  }

  private refusal(error: Error): TokenVerdict {
    if (error instanceof KeysUnavailable) {
      // Once, not for every token that comes meanwhile.
      if (!this.failing) this.options.log.error({ reason: error.message }, 'JWT keys unavailable');
      this.failing = true;
      const detail = "The issuer's keys cannot be fetched.";
      return { kind: 'refused', code: 'identity_provider_unavailable', detail };
    }
    return { kind: 'refused', code: 'unauthenticated', detail: detailOf(error) };
  }
}

/** What a caller may know of why a token does not hold; never a part of it. */
function detailOf(error: Error): string {
  if (error instanceof errors.JWTExpired) return 'The token has expired.';
  if (error instanceof errors.JWTClaimValidationFailed) {
    return `The claim ${error.claim} of the token does not hold.`;
  }
  if (error instanceof errors.JOSEAlgNotAllowed)
    return 'The algorithm of the token is not allowed.';
  if (error instanceof errors.JWKSNoMatchingKey) return 'The issuer has no key of that id.';
  return 'The token does not hold.';
}

class KeysUnavailable extends Error {}

function unavailable(error: unknown): KeysUnavailable {
  const { message, cause } = error as Error;
  return new KeysUnavailable(cause instanceof Error ? `${message}: ${cause.message}` : message);
}

/** Of a set that could not be had, in contrast to one without the key. */
function isAnswer(error: unknown): boolean {
  return (
    error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys
  );
}

function remote(url: string): JWTVerifyGetKey {
  const set = createRemoteJWKSet(new URL(url), {
    timeoutDuration: FETCH_TIMEOUT_MS,
    cooldownDuration: COOLDOWN_MS,
  });
  return async (header, token) => {
    try {
      return await set(header, token);
    } catch (error) {
      throw isAnswer(error) ? error : unavailable(error);
    }
  };
}

/** OpenID Connect Discovery 1.0, 4. */
function discovered(issuer: string): JWTVerifyGetKey {
  let finding: Promise<JWTVerifyGetKey> | undefined;
  const find = async (): Promise<JWTVerifyGetKey> => {
    const response = await fetch(`${issuer.replace(/\/$/, '')}${DISCOVERY}`, {
      signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
      headers: { accept: 'application/json' },
    });
    if (!response.ok) throw new Error(`the discovery document was answered ${response.status}`);
    const found = (await response.json()) as { issuer?: unknown; jwks_uri?: unknown };
    if (found.issuer !== issuer) throw new Error('the discovery document is of another issuer');
    if (typeof found.jwks_uri !== 'string') throw new Error('it names no jwks_uri');
    return remote(found.jwks_uri);
  };
  return async (header, token) => {
    // One for all that wait; a failure is not kept.
    finding ??= find();
    let keyOf: JWTVerifyGetKey;
    try {
      keyOf = await finding;
    } catch (error) {
      finding = undefined;
      throw unavailable(error);
    }
    return keyOf(header, token);
  };
}

/** Looked at for each token that is new: that is rare, and a changed file holds at once. */
function fromFile(path: string): JWTVerifyGetKey {
  let signature = '';
  let set: JWTVerifyGetKey | undefined;
  return async (header, token) => {
    try {
      const { ino, size, mtimeMs } = await stat(path);
      const now = `${ino}:${size}:${mtimeMs}`;
      if (set === undefined || now !== signature) {
        set = createLocalJWKSet(JSON.parse(await readFile(path, 'utf8')) as JSONWebKeySet);
        signature = now;
      }
    } catch (error) {
      throw unavailable(error);
    }
    return set(header, token);
  };
}

/** The words of a claim: a list, or a text with spaces (RFC 8693 4.2). A name with dots may lead into objects. */
function textsIn(payload: JWTPayload, claim: string): string[] {
  let value: unknown = payload[claim];
  if (value === undefined) {
    value = claim
      .split('.')
      .reduce<unknown>(
        (at, part) =>
          typeof at === 'object' && at !== null && Object.hasOwn(at, part)
            ? (at as Record<string, unknown>)[part]
            : undefined,
        payload,
      );
  }
  if (typeof value === 'string') return value.split(' ').filter((word) => word !== '');
  if (!Array.isArray(value)) return [];
  return value.filter((word): word is string => typeof word === 'string');
}

/**
 * Stands in logs and in keys that are joined by line feeds. Different subjects stay different, for who is who decides whose
 * idempotency key it is: one that is altered ends with a hash, and so does one that looks as if it were.
 */
function printable(text: string): string {
  const shown = text.slice(0, MAX_SUBJECT_LENGTH).replace(/[^\x20-\x7e]/g, '?');
  if (shown === text && !HASHED.test(text)) return text;
  // Not as UTF-8, in which every lone surrogate is the same.
  const hash = createHash('sha256').update(Buffer.from(text, 'utf16le')).digest('hex');
  return `${shown}~${hash.slice(0, HASH_LENGTH)}`;
}

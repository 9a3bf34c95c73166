/**
 * The proofs of who a pod is. A session is a MAC over the pod's identity, so that a control plane that has restarted, or
 * the next leader, knows it again without having kept anything; a first hello's proof shows that the pod holds its pool's key.
 *
 * Pure but for the random key that serves until others are given.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

const KEY_BYTES = 32;
const KEY_ID_BYTES = 6;

export interface SessionKey {
  /** Stands in the session, before the last dot. */
  readonly id: string;
  readonly key: Uint8Array;
}

/** Whom a session is of. */
export interface SessionSubject {
  readonly uid: string;
  readonly bootId: string;
  /** namespace/name */
  readonly functionKey: string;
  readonly podId: string;
}

/** Two keys overlap while one is rotated: the first makes sessions, any checks them. */
export class SessionKeys {
  private keys: readonly SessionKey[];

  /** One random key, of this process alone. */
  constructor() {
    this.keys = [
      { id: randomBytes(KEY_ID_BYTES).toString('base64url'), key: randomBytes(KEY_BYTES) },
    ];
  }

  /** `keys`: at least one. */
  replace(keys: readonly SessionKey[]): void {
    if (keys.length > 0) this.keys = keys;
  }

  /** The same for the same pod and key, always. */
  sessionOf(subject: SessionSubject): string {
    const { id, key } = this.keys[0] as SessionKey;
    return `${id}.${macOf(key, subject)}`;
  }

  /** Names one of our keys: it may be a session, of a pod that we do not know yet. */
  looksLikeSession(credential: string): boolean {
    return this.keyOf(credential) !== undefined;
  }

  verify(session: string, subject: SessionSubject): boolean {
    const known = this.keyOf(session);
    if (known === undefined) return false;
    return equal(session.slice(known.id.length + 1), macOf(known.key, subject));
  }

  private keyOf(credential: string): SessionKey | undefined {
    const dot = credential.lastIndexOf('.');
    if (dot === -1) return undefined;
    const id = credential.slice(0, dot);
    return this.keys.find((key) => key.id === id);
  }
}

/** What a first hello proves its pool's key with; docs/protocol.md says the same to runtimes. */
export function proofOf(
  poolKey: string,
  hello: { readonly credential: string; readonly uid: string; readonly bootId: string },
): string {
  return createHmac('sha256', poolKey)
    .update(`simmer.proof\0${hello.credential}\0${hello.uid}\0${hello.bootId}`)
    .digest('base64url');
}

/** In a time that does not tell how much of it was right. */
export function equal(given: string, right: string): boolean {
  const a = Buffer.from(given);
  const b = Buffer.from(right);
  return a.length === b.length && timingSafeEqual(a, b);
}

function macOf(key: Uint8Array, { uid, bootId, functionKey, podId }: SessionSubject): string {
  return createHmac('sha256', key)
    .update(`simmer.session\0${uid}\0${bootId}\0${functionKey}\0${podId}`)
    .digest('base64url');
}

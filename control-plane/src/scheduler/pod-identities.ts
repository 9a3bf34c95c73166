/**
 * Who may say hello as which pod.
 *
 * Invariants:
 *  A1. A launch token is good for an hour, for one process: the first hello that it let in binds the pod to that process's
 *      uid and boot id. A pod that was taken over from an earlier control plane has none.
 *  A2. A session is good for the uid, boot id, function and pod that it was made for, under any key that is still held.
 *  A3. A uid speaks for the pod that the backend said, once it has said so; where the backend tells no uids, it is the pod's id.
 *  A4. The session of a generic pod is under a key of this process alone: its handler may have read it when another control plane
 *      has not heard yet whose pod it is.
 */
import type { CloseReason, Hello } from '@simmer/protocol/frames';
import type { Pod } from './pod.ts';
import { equal, proofOf, type SessionKey, SessionKeys } from './session-keys.ts';

/** From launch: an image that is pulled for the first time takes minutes; an hour is no longer a start. */
export const TOKEN_LIFETIME_MS = 3_600_000;

interface Entry {
  readonly pod: Pod;
  /** '' where there is none (A1). */
  readonly token: string;
  /** On the scheduler's clock. */
  readonly expiresAt: number;
  /** Its backend tells uids (A3). */
  readonly identified: boolean;
  readonly uids: Set<string>;
  bound: { readonly uid: string; readonly bootId: string } | undefined;
}

interface Claim {
  readonly entry: Entry;
  /** Of the first hello's proof; '' where none is asked for. */
  readonly proofKey: string;
}

export type Verdict =
  | { readonly kind: 'is'; readonly pod: Pod }
  /** The backend may tell of this uid any moment. */
  | { readonly kind: 'not-yet' }
  | { readonly kind: 'refused'; readonly close: CloseReason; readonly detail: string };

export class PodIdentities {
  private readonly keys = new SessionKeys();
  /** A4 */
  private readonly ownKeys = new SessionKeys();
  private readonly byPod = new Map<Pod, Entry>();
  private readonly byToken = new Map<string, Entry>();
  private readonly byUid = new Map<string, Claim>();

  setKeys(keys: readonly SessionKey[]): void {
    this.keys.replace(keys);
  }

  expect(pod: Pod, token: string, identified: boolean, now: number): void {
    const entry: Entry = {
      pod,
      token,
      expiresAt: now + TOKEN_LIFETIME_MS,
      identified,
      uids: new Set(),
      bound: undefined,
    };
    this.byPod.set(pod, entry);
    if (token !== '') this.byToken.set(token, entry);
    if (!identified) this.claim(entry, pod.id, '');
  }

  identify(pod: Pod, uid: string, proofKey: string): void {
    const entry = this.byPod.get(pod);
    if (entry !== undefined && !this.byUid.has(uid)) this.claim(entry, uid, proofKey);
  }

  private claim(entry: Entry, uid: string, proofKey: string): void {
    entry.uids.add(uid);
    this.byUid.set(uid, { entry, proofKey });
  }

  forget(pod: Pod): void {
    const entry = this.byPod.get(pod);
    if (entry === undefined) return;
    this.byPod.delete(pod);
    this.byToken.delete(entry.token);
    for (const uid of entry.uids) this.byUid.delete(uid);
  }

  /** Its launch token lets nobody in any more. */
  spend(pod: Pod): void {
    const entry = this.byPod.get(pod);
    if (entry !== undefined) this.byToken.delete(entry.token);
  }

  /** Binds the pod to who says hello, where that is accepted (A1). */
  check(hello: Hello, now: number): Verdict {
    if (hello.bootId === '') return refused('unauthorized', 'a hello without a boot id');
    const claim = this.byUid.get(hello.uid);
    const byToken = this.byToken.get(hello.credential);
    const verdict =
      byToken === undefined
        ? this.checkSession(hello, claim)
        : this.checkToken(hello, byToken, claim, now);
    if (verdict.kind !== 'is') return verdict;
    const { entry } = claim as Claim;
    const { bound, pod } = entry;
    if (bound !== undefined && (bound.uid !== hello.uid || bound.bootId !== hello.bootId)) {
      return refused('unauthorized', `the credential of ${pod.id} is spent`);
    }
    entry.bound ??= { uid: hello.uid, bootId: hello.bootId };
    return verdict;
  }

  private checkToken(hello: Hello, entry: Entry, claim: Claim | undefined, now: number): Verdict {
    const { pod } = entry;
    if (claim === undefined && entry.identified) return NOT_YET;
    if (claim?.entry !== entry) return refused('forbidden', `the credential is of ${pod.id}`);
    if (now >= entry.expiresAt) {
      return refused('unauthorized', `the credential of ${pod.id} has expired`);
    }
    if (claim.proofKey !== '' && !equal(hello.proof, proofOf(claim.proofKey, hello))) {
      return refused('unauthorized', `no proof of the key of ${pod.id}`);
    }
    return { kind: 'is', pod };
  }

  private checkSession(hello: Hello, claim: Claim | undefined): Verdict {
    const { credential } = hello;
    if (!this.keys.looksLikeSession(credential) && !this.ownKeys.looksLikeSession(credential)) {
      return refused('unauthorized', 'unknown or expired credential');
    }
    if (claim === undefined) return NOT_YET;
    const { pod } = claim.entry;
    const { uid, bootId } = hello;
    const subject = { uid, bootId, functionKey: pod.fn.key, podId: pod.id };
    if (this.keysOf(pod).verify(credential, subject)) return { kind: 'is', pod };
    return refused('forbidden', `the session is not of ${pod.id}`);
  }

  /** The session of a pod that has said hello. */
  sessionOf(pod: Pod): string {
    const bound = this.byPod.get(pod)?.bound;
    if (bound === undefined) return '';
    return this.keysOf(pod).sessionOf({ ...bound, functionKey: pod.fn.key, podId: pod.id });
  }

  private keysOf(pod: Pod): SessionKeys {
    return pod.fn.generic ? this.ownKeys : this.keys;
  }
}

const NOT_YET: Verdict = { kind: 'not-yet' };

function refused(close: CloseReason, detail: string): Verdict {
  return { kind: 'refused', close, detail };
}

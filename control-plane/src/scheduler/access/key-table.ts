/**
 * The API keys that hold now, by id. To check one costs a lookup and a comparison, however many there are.
 *
 * Invariants:
 *  K1. A key is let in only if the HMAC of its text under its file's pepper is the stored one.
 *  K2. What was let in once is remembered as text, beside its entry and as long, so that the next call costs no HMAC (some
 *      microseconds). It is compared in constant time too: no answer's time tells how much of a secret was right.
 *  K3. A change of a key holds from the next call on. A limit that stays as it was keeps its count.
 */
import { API_KEY_PREFIX, isApiKey } from '@simmer/protocol/api-keys';
import type { ApiKeyRecord, ApiKeysMessage } from '../../shared/messages.ts';
import { Known } from './known.ts';
import { bucketFor } from './token-bucket.ts';

/** Longer than any key: not to be hashed. */
const MAX_KEY_LENGTH = 200;

interface Entry {
  readonly record: ApiKeyRecord;
  /** Made when the key is first used: most of many never are. */
  known: Known | null;
  /** Text of the key that was let in last (K2); '' before. */
  text: string;
}

export class KeyTable {
  private readonly entries = new Map<string, Entry>();
  private readonly wallClock: () => number;

  /** `wallClock` gives epoch milliseconds. */
  constructor(wallClock: () => number) {
    this.wallClock = wallClock;
  }

  apply(message: ApiKeysMessage): void {
    for (const id of message.remove) this.entries.delete(id);
    for (const record of message.upsert) {
      const before = this.entries.get(record.id);
      const bucket = before?.known && bucketFor(record.rateLimit, before.known.bucket);
      const known = bucket ? new Known(record.caller, bucket) : null;
      this.entries.set(record.id, { record, known, text: '' });
    }
  }

  /** `text` holds a key from `at` to its end. undefined: it is none that holds. */
  find(text: string, at: number): Known | undefined {
    const idAt = at + API_KEY_PREFIX.length;
    const end = text.indexOf('_', idAt);
    if (end === -1) return undefined;
    const entry = this.entries.get(text.slice(idAt, end));
    if (entry === undefined) return undefined;
    if (!sameText(entry.text, text, at)) {
      const { record } = entry;
      if (text.length - at > MAX_KEY_LENGTH) return undefined;
      // Of its own: a part of the header would keep the header, and be read through it.
      const key = Buffer.from(text.slice(at), 'latin1').toString('latin1');
      if (!isApiKey(record.pepper, record.hash, key)) return undefined; // K1
      entry.text = key;
    }
    const { expiresAt } = entry.record;
    if (expiresAt !== 0 && this.wallClock() >= expiresAt) return undefined;
    entry.known ??= new Known(entry.record.caller, bucketFor(entry.record.rateLimit, null));
    return entry.known;
  }
}

/** Whether `text` from `at` on is `known`, in a time that tells only whether they are of the same length. */
function sameText(known: string, text: string, at: number): boolean {
  const { length } = known;
  if (length === 0 || text.length - at !== length) return false;
  let different = 0;
  for (let i = 0; i < length; i++) different |= known.charCodeAt(i) ^ text.charCodeAt(at + i);
  return different === 0;
}

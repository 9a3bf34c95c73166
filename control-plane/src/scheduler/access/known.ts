/** A caller as the scheduler keeps it: who it is, and what the warm path asks of that, answered in constant time. */
import { ANYONE, type Caller, may } from '../../shared/caller.ts';
import type { TokenBucket } from './token-bucket.ts';

/** Functions whose answer is kept for each caller; past it all are asked anew. */
const MAX_REMEMBERED = 256;

export class Known {
  readonly caller: Caller;
  /** null: no limit. */
  readonly bucket: TokenBucket | null;
  private readonly invokesAll: boolean;
  private remembered: Map<string, boolean> | null = null;

  constructor(caller: Caller, bucket: TokenBucket | null) {
    this.caller = caller;
    this.bucket = bucket;
    this.invokesAll = caller.scopes.includes('invoke') && caller.functions.includes('*');
  }

  /** `may(caller, ['invoke'], key)`. */
  mayInvoke(key: string): boolean {
    if (this.invokesAll) return true;
    this.remembered ??= new Map();
    const known = this.remembered.get(key);
    if (known !== undefined) return known;
    if (this.remembered.size >= MAX_REMEMBERED) this.remembered.clear();
    const answer = may(this.caller, INVOKE, key);
    this.remembered.set(key, answer);
    return answer;
  }
}

const INVOKE = ['invoke'] as const;

export const KNOWN_ANYONE = new Known(ANYONE, null);

/**
 * The values of Secrets, read when somebody needs them and held until nobody does: the watches keep hashes only (contents.ts).
 *
 *   (absent) ──asked for──▶ reading ──read──▶ held ──not asked for since the last sweep──▶ (absent)
 *                 ▲            │ failed          │ another version
 *                 └──(later)───┘◀────────────────┘
 */
import type { Clock } from '../api/clock.ts';
import type { KubeObject } from '../api/resources.ts';

/** An API server that is away is asked again by the informers, too. */
const AGAIN_MS = 1_000;

export interface SecretValuesOptions {
  /** Reads one; undefined where there is none. */
  readonly read: (name: string) => Promise<KubeObject | undefined>;
  /** Something was read, or may be asked for again. */
  readonly onRead: () => void;
  readonly onError: (name: string, error: Error) => void;
  readonly clock: Clock;
}

interface Held {
  /** The version for which it was read. */
  readonly version: string;
  /** Undefined while it is read. */
  secret: KubeObject | undefined;
  asked: boolean;
}

export class SecretValues {
  private readonly options: SecretValuesOptions;
  private readonly held = new Map<string, Held>();
  private closed = false;

  constructor(options: SecretValuesOptions) {
    this.options = options;
  }

  /** The Secret as it is since this version; undefined: it is being read, and `onRead` follows. */
  get(name: string, version: string): KubeObject | undefined {
    const known = this.held.get(name);
    if (known?.version === version) {
      known.asked = true;
      return known.secret;
    }
    const held: Held = { version, secret: undefined, asked: true };
    this.held.set(name, held);
    void this.read(name, held);
    return undefined;
  }

  /** Forgets what was not asked for since the last time. */
  sweep(): void {
    for (const [name, held] of this.held) {
      // What is still being read is waited for.
      if (!held.asked && held.secret !== undefined) this.held.delete(name);
      held.asked = false;
    }
  }

  close(): void {
    this.closed = true;
    this.held.clear();
  }

  private async read(name: string, held: Held): Promise<void> {
    const { read, onRead, onError, clock } = this.options;
    try {
      const secret = await read(name);
      if (this.held.get(name) !== held) return;
      if (secret === undefined) this.held.delete(name);
      held.secret = secret;
      held.asked = false;
      // That it is gone the watch will tell.
      if (secret !== undefined && !this.closed) onRead();
    } catch (error) {
      onError(name, error as Error);
      clock.after(AGAIN_MS, () => {
        if (this.held.get(name) !== held || this.closed) return;
        this.held.delete(name);
        onRead();
      });
    }
  }
}

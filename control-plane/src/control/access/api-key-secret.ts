/**
 * The API keys of a Kubernetes Secret (k8s/src/keys/api-keys.ts): asked for every few seconds, by its name alone, which needs no
 * more than the right to read that one. A mount would be a minute behind, and not there at the first start.
 *
 * Invariants:
 *  1. A version that is wrong, or an API server that does not answer, changes nothing: the keys before go on.
 *  2. Where there is no Secret any more no key holds, and nobody is let in by one.
 */
import type { Log } from '../log.ts';
import { keysIn, type PepperedKey } from './api-key-files.ts';

const POLL_MS = 5_000;

/** The Secret, behind the API. */
export interface KeySecret {
  /** Makes it, with a first key, where there is none; whether it did. */
  ensure(): Promise<boolean>;
  read(): Promise<
    | {
        readonly version: string;
        readonly files: readonly { readonly name: string; readonly text: string }[];
      }
    | undefined
  >;
}

export interface ApiKeySecretOptions {
  readonly secret: KeySecret;
  readonly name: string;
  readonly log: Log;
  readonly onKeys: (keys: readonly PepperedKey[]) => void;
  readonly pollMs?: number;
}

export class ApiKeySecret {
  private readonly options: ApiKeySecretOptions;
  private version = '';
  private failure = '';
  private timer: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(options: ApiKeySecretOptions) {
    this.options = options;
  }

  /** From now on its changes hold. One that stands by does no more: its management port asks for keys, too. */
  watch(): void {
    if (this.closed) return;
    this.timer = setTimeout(() => {
      void this.look().then(() => this.watch());
    }, this.options.pollMs ?? POLL_MS);
  }

  /** As the leader: the keys that are there, the first of them made here if need be. @throws where they cannot be had */
  async lead(): Promise<void> {
    const { secret, name, log } = this.options;
    if (await secret.ensure()) {
      const firstKey = `${name}-first-key`;
      log.info(
        { secret: name, firstKey },
        'API keys made; the first key is in a Secret of its own',
      );
    }
    await this.apply();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  private async apply(): Promise<void> {
    const { secret, onKeys, name, log } = this.options;
    const found = await secret.read();
    if (this.closed || (found?.version ?? '') === this.version) return;
    if (found === undefined) {
      // 2
      this.version = '';
      onKeys([]);
      log.warn({ secret: name }, 'the Secret of API keys is gone: no key holds');
      return;
    }
    const keys = keysIn(found.files);
    this.version = found.version;
    onKeys(keys);
  }

  private async look(): Promise<void> {
    const { log, name } = this.options;
    try {
      await this.apply();
      this.failure = '';
    } catch (error) {
      const reason = (error as Error).message;
      // 1; once, not every few seconds.
      if (reason !== this.failure)
        log.error({ secret: name, reason }, 'API keys refused: those before go on');
      this.failure = reason;
    }
  }
}

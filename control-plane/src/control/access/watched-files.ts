/**
 * What stands in some files, read again when they change.
 *
 * Level-triggered: looked at once a second, by `stat` through all links, so that the swap of `..data` in a Secret's mount, a file
 * that is written anew and one that is replaced are all the same; no watch can be lost.
 *
 * Invariants:
 *  1. A version that cannot be read, or is wrong, changes nothing: the one before goes on. It is told once.
 */
import { stat } from 'node:fs/promises';

const POLL_MS = 1_000;

export interface WatchedFilesOptions<T> {
  /** Those there are now. */
  list(): Promise<readonly string[]>;
  /** @throws where they are wrong */
  read(files: readonly string[]): Promise<T>;
  apply(value: T, isFirst: boolean): void;
  /** `reason`: what `list` or `read` threw. */
  refused(reason: string): void;
  readonly pollMs?: number;
}

export class WatchedFiles<T> {
  private readonly options: WatchedFilesOptions<T>;
  private signature = '';
  private timer: NodeJS.Timeout | undefined;
  private looking: Promise<void> | undefined;
  private closed = false;

  constructor(options: WatchedFilesOptions<T>) {
    this.options = options;
  }

  /** @throws where they cannot be read now: a mistyped path is to stop the start. */
  async start(): Promise<void> {
    const { list, read, apply } = this.options;
    const files = await list();
    this.signature = await signatureOf(files);
    apply(await read(files), true);
    this.pollAfter();
  }

  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    await this.looking;
  }

  private pollAfter(): void {
    if (this.closed) return;
    this.timer = setTimeout(() => {
      this.looking = this.look().finally(() => this.pollAfter());
    }, this.options.pollMs ?? POLL_MS);
  }

  private async look(): Promise<void> {
    const { list, read, apply, refused } = this.options;
    let signature = 'unreadable';
    try {
      const files = await list();
      signature = await signatureOf(files);
      if (signature === this.signature) return;
      const value = await read(files);
      // Written to meanwhile: what was read may be half of it. The next look sees whether it was whole.
      if ((await signatureOf(files)) !== signature) return;
      this.signature = signature;
      apply(value, false);
    } catch (error) {
      if (signature === this.signature) return;
      this.signature = signature;
      refused((error as Error).message); // 1
    }
  }
}

async function signatureOf(files: readonly string[]): Promise<string> {
  const stats = await Promise.all(files.map((file) => stat(file, { bigint: true })));
  return stats.map((s, i) => `${files[i]}:${s.ino}:${s.size}:${s.mtimeNs}:${s.ctimeNs}`).join('\n');
}

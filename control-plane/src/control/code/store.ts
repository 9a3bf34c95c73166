/**
 * The store of bundles: a folder in which each is a file, named by the digest of its bytes. What is in it is known by looking: several
 * control planes may share it, and it may be mounted, copied or emptied.
 *
 * Invariants:
 *  1. What is read is what its name says: bytes of another digest (a torn file, a bad disk) are dropped, and told in the log.
 *  2. A bundle that a function names, or that is about to be named, makes way for none.
 *  3. The store is within its bound after each write: those that were used longest ago go first.
 *  4. In memory is what functions hold: the bytes of one digest once, for both threads, and no longer than the last of them.
 */
import { createHash } from 'node:crypto';
import { readFileSync, rmSync, utimesSync } from 'node:fs';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BUNDLE_DIGEST } from '@simmer/protocol/bundle';
import { SimmerError } from '@simmer/protocol/errors';
import type { Bundles } from '@simmer/protocol/registry';
import type { Log } from '../log.ts';
import { UNFINISHED, UNFINISHED_MS, writeWhole } from '../whole-file.ts';

export interface CodeStoreOptions {
  /** Absolute; '' : there is none, and nothing can be stored. */
  readonly folder: string;
  readonly maxBytes: number;
  /** Digests that functions name. */
  readonly inUse: () => ReadonlySet<string>;
  readonly log: Log;
}

/** `sha256:<hex>` as a file's name. */
const FILE = /^sha256-[0-9a-f]{64}$/;

export class CodeStore implements Bundles {
  private readonly options: CodeStoreOptions;
  /** 4 */
  private readonly held = new Map<string, WeakRef<Uint8Array>>();
  /** How many uploads are about to have a function name this digest: 2. */
  private readonly pinned = new Map<string, number>();
  private last: Promise<unknown> = Promise.resolve();

  constructor(options: CodeStoreOptions) {
    this.options = options;
  }

  /** Reads and hashes the file where nobody holds its bytes: some milliseconds for each ten MiB. */
  get(digest: string): Uint8Array | undefined {
    const held = this.held.get(digest)?.deref();
    if (held !== undefined) return held;
    this.held.delete(digest);
    if (this.options.folder === '' || !BUNDLE_DIGEST.test(digest)) return undefined;
    const path = this.pathOf(digest);
    try {
      const read = readFileSync(path);
      if (`sha256:${createHash('sha256').update(read).digest('hex')}` !== digest) {
        this.options.log.error({ digest }, `code dropped: ${path} is not what its name says`);
        rmSync(path, { force: true }); // 1
        return undefined;
      }
      const bytes = new Uint8Array(new SharedArrayBuffer(read.length));
      bytes.set(read);
      this.held.set(digest, new WeakRef(bytes));
      this.touch(path);
      return bytes;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT') this.options.log.error({ digest }, `code cannot be read: ${message}`);
      return undefined;
    }
  }

  /**
   * Stores the bundle of this digest, and keeps it until `work`, which is to make a function name it, has ended.
   * @throws {SimmerError} `code_store_full`, `code_store_unavailable`; and what `work` throws
   */
  async putFor<T>(digest: string, bytes: Uint8Array, work: () => Promise<T>): Promise<T> {
    this.pinned.set(digest, (this.pinned.get(digest) ?? 0) + 1);
    try {
      // One at a time: each counts what the others have written.
      const mine = this.last.then(() => this.put(digest, bytes));
      this.last = mine.catch(() => {});
      await mine;
      return await work();
    } finally {
      const left = (this.pinned.get(digest) ?? 1) - 1;
      if (left === 0) this.pinned.delete(digest);
      else this.pinned.set(digest, left);
    }
  }

  private async put(digest: string, bytes: Uint8Array): Promise<void> {
    const { folder } = this.options;
    if (folder === '') {
      const detail = 'No folder for code is configured: code-store.';
      throw new SimmerError('code_store_unavailable', detail);
    }
    // It is there, and whole.
    if (this.get(digest) !== undefined) return;
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await this.makeRoom(bytes.length);
      await writeWhole(this.pathOf(digest), bytes);
    } catch (error) {
      if (error instanceof SimmerError) throw error;
      const detail = `Cannot write to ${folder} (code-store): ${(error as Error).message}.`;
      throw new SimmerError('code_store_unavailable', detail);
    }
  }

  /** 3 */
  private async makeRoom(needed: number): Promise<void> {
    const { folder, maxBytes, inUse, log } = this.options;
    const named = inUse();
    const free: { path: string; digest: string; size: number; usedAt: number }[] = [];
    let total = needed;
    for (const name of await readdir(folder)) {
      const path = join(folder, name);
      const file = await stat(path).catch(() => undefined);
      if (file === undefined || !file.isFile()) continue;
      if (UNFINISHED.test(name) && Date.now() - file.mtimeMs > UNFINISHED_MS) {
        await rm(path, { force: true });
      }
      if (!FILE.test(name)) continue;
      total += file.size;
      const digest = name.replace('-', ':');
      if (named.has(digest) || this.pinned.has(digest)) continue; // 2
      free.push({ path, digest, size: file.size, usedAt: file.mtimeMs });
    }
    free.sort((a, b) => a.usedAt - b.usedAt);
    const spare = free.reduce((sum, { size }) => sum + size, 0);
    if (total - spare > maxBytes) {
      const detail = `Functions name ${total - spare - needed} bytes of code, and the store holds ${maxBytes}: code-store-max-bytes.`;
      throw new SimmerError('code_store_full', detail);
    }
    for (const { path, digest, size } of free) {
      if (total <= maxBytes) return;
      await rm(path, { force: true });
      total -= size;
      log.info({ digest }, 'code dropped: no function names it, and others need its place');
    }
  }

  private touch(path: string): void {
    try {
      const now = new Date();
      utimesSync(path, now, now);
    } catch {
      // Read-only: nothing is dropped from there either.
    }
  }

  private pathOf(digest: string): string {
    return join(this.options.folder, digest.replace(':', '-'));
  }
}

/**
 * The store of bundles: on a shelf that outlives this process (a folder, or ConfigMaps), each by the digest of its bytes.
 *
 * Invariants:
 *  1. What is read is what its name says: bytes of another digest (a torn file, a bad disk) are dropped, and told in the log.
 *  2. A bundle that a function names, or that is about to be named, makes way for none.
 *  3. The shelf is within its bound after each write: those that were used longest ago go first.
 *  4. In memory is what functions name: the bytes of one digest once, for both threads, and no longer than the last of them.
 */
import { createHash } from 'node:crypto';
import { BUNDLE_DIGEST } from '@simmer/protocol/bundle';
import type { CodeShelf } from '@simmer/protocol/code-shelf';
import { SimmerError } from '@simmer/protocol/errors';
import type { Bundles } from '@simmer/protocol/registry';
import type { Log } from '../log.ts';

export interface CodeStoreOptions {
  /** Undefined: nothing can be stored until there is one (`shelve`). */
  readonly shelf: CodeShelf | undefined;
  /** Digests that functions name. */
  readonly inUse: () => ReadonlySet<string>;
  readonly log: Log;
  /** Milliseconds that only go forward. */
  readonly now?: () => number;
}

/** A digest that nobody has brought is not looked for with every change of another function. */
const ABSENT_MS = 5_000;

export class CodeStore implements Bundles {
  private readonly options: CodeStoreOptions;
  private shelf: CodeShelf | undefined;
  /** 4 */
  private readonly held = new Map<string, WeakRef<Uint8Array>>();
  /** Of a shelf that takes its time: what functions name, ready before they are looked at. */
  private prepared = new Map<string, Uint8Array>();
  /** When it was last looked for in vain. */
  private readonly absent = new Map<string, number>();
  /** How many uploads are about to have a function name this digest: 2. */
  private readonly pinned = new Map<string, number>();
  private last: Promise<unknown> = Promise.resolve();

  constructor(options: CodeStoreOptions) {
    this.options = options;
    this.shelf = options.shelf;
  }

  shelve(shelf: CodeShelf): void {
    this.shelf = shelf;
  }

  /** From a folder it reads and hashes where nobody holds the bytes: some milliseconds for each ten MiB. */
  get(digest: string): Uint8Array | undefined {
    const held = this.held.get(digest)?.deref();
    if (held !== undefined) return held;
    this.held.delete(digest);
    if (!BUNDLE_DIGEST.test(digest)) return undefined;
    try {
      return this.checked(digest, this.shelf?.readNow?.(digest));
    } catch (error) {
      this.unreadable(digest, error);
      return undefined;
    }
  }

  /** Bundles: true where `get` gives one that it did not give before. */
  async prepare(digests: ReadonlySet<string>): Promise<boolean> {
    const { shelf } = this;
    const { now = () => performance.now() } = this.options;
    if (shelf === undefined || shelf.readNow !== undefined) return false;
    let news = false;
    const before = this.prepared;
    this.prepared = new Map();
    for (const digest of this.absent.keys()) if (!digests.has(digest)) this.absent.delete(digest);
    for (const digest of digests) {
      const there = before.get(digest) ?? this.held.get(digest)?.deref();
      if (there !== undefined) this.prepared.set(digest, there);
    }
    for (const digest of digests) {
      if (this.prepared.has(digest)) continue;
      if (now() - (this.absent.get(digest) ?? Number.NEGATIVE_INFINITY) < ABSENT_MS) continue;
      const bytes = await shelf
        .read(digest)
        .then((read) => this.checked(digest, read))
        .catch((error) => this.unreadable(digest, error));
      if (bytes === undefined) {
        this.absent.set(digest, now());
        continue;
      }
      this.prepared.set(digest, bytes);
      news = true;
    }
    return news;
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
      // Held: a shelf that takes its time is not asked for what is here.
      const held = await mine;
      const result = await work();
      this.hold(digest, held);
      return result;
    } finally {
      const left = (this.pinned.get(digest) ?? 1) - 1;
      if (left === 0) this.pinned.delete(digest);
      else this.pinned.set(digest, left);
    }
  }

  private async put(digest: string, bytes: Uint8Array): Promise<Uint8Array> {
    const { shelf } = this;
    if (shelf === undefined) {
      const detail = 'No folder for code is configured: code-store.';
      throw new SimmerError('code_store_unavailable', detail);
    }
    const there = this.get(digest);
    // It is there, and whole.
    if (there !== undefined && shelf.readNow !== undefined) return there;
    try {
      await this.makeRoom(shelf, digest, bytes.length);
      await shelf.write(digest, bytes);
    } catch (error) {
      if (error instanceof SimmerError) throw error;
      const detail = `Cannot write to ${shelf.name}: ${(error as Error).message}.`;
      throw new SimmerError('code_store_unavailable', detail);
    }
    return there ?? this.hold(digest, shared(bytes));
  }

  /** 3 */
  private async makeRoom(shelf: CodeShelf, wanted: string, size: number): Promise<void> {
    const { inUse, log } = this.options;
    const { maxBytes } = shelf;
    const named = inUse();
    const all = await shelf.list();
    const needed = all.some(({ digest }) => digest === wanted) ? 0 : size;
    let total = all.reduce((sum, { bytes }) => sum + bytes, needed);
    const free = all.filter(({ digest }) => !named.has(digest) && !this.pinned.has(digest)); // 2
    const spare = free.reduce((sum, { bytes }) => sum + bytes, 0);
    if (total - spare > maxBytes) {
      const detail = `Functions name ${total - spare - needed} bytes of code, and the store holds ${maxBytes}: code-store-max-bytes.`;
      throw new SimmerError('code_store_full', detail);
    }
    for (const { digest, bytes } of free.toSorted((a, b) => a.usedAt - b.usedAt)) {
      if (total <= maxBytes) return;
      await shelf.remove(digest);
      total -= bytes;
      log.info({ digest }, 'code dropped: no function names it, and others need its place');
    }
  }

  /** In memory that both threads see. */
  private checked(digest: string, read: Uint8Array | undefined): Uint8Array | undefined {
    if (read === undefined) return undefined;
    if (`sha256:${createHash('sha256').update(read).digest('hex')}` === digest) {
      return this.hold(digest, shared(read));
    }
    const where = this.shelf?.name;
    this.options.log.error({ digest }, `code dropped: in ${where} it is not what its name says`);
    void this.shelf?.remove(digest).catch(() => {}); // 1
    return undefined;
  }

  private hold(digest: string, bytes: Uint8Array): Uint8Array {
    this.held.set(digest, new WeakRef(bytes));
    return bytes;
  }

  private unreadable(digest: string, error: unknown): undefined {
    this.options.log.error({ digest }, `code cannot be read: ${(error as Error).message}`);
  }
}

function shared(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(new SharedArrayBuffer(bytes.length));
  copy.set(bytes);
  return copy;
}

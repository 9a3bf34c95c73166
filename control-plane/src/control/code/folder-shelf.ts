/** Bundles as files of a folder, named by their digests. Several control planes may share it, and it may be mounted, copied or emptied. */
import { readFileSync, rmSync, utimesSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { CodeShelf, Shelved } from '@simmer/protocol/code-shelf';
import { UNFINISHED, UNFINISHED_MS, writeWhole } from '../whole-file.ts';

/** `sha256:<hex>` as a file's name. */
const FILE = /^sha256-[0-9a-f]{64}$/;

export class FolderShelf implements CodeShelf {
  readonly name: string;
  readonly maxBytes: number;
  private readonly folder: string;

  /** @param folder absolute; made where it is not there */
  constructor(folder: string, maxBytes: number) {
    this.folder = folder;
    this.name = `${folder} (code-store)`;
    this.maxBytes = maxBytes;
  }

  readNow(digest: string): Uint8Array | undefined {
    const path = this.pathOf(digest);
    const bytes = unlessAbsent(() => readFileSync(path));
    if (bytes !== undefined) touch(path);
    return bytes;
  }

  async read(digest: string): Promise<Uint8Array | undefined> {
    return readFile(this.pathOf(digest)).catch(ifAbsent);
  }

  async list(): Promise<readonly Shelved[]> {
    const found: Shelved[] = [];
    for (const name of (await readdir(this.folder).catch(ifAbsent)) ?? []) {
      const path = join(this.folder, name);
      const file = await stat(path).catch(() => undefined);
      if (file === undefined || !file.isFile()) continue;
      if (UNFINISHED.test(name) && Date.now() - file.mtimeMs > UNFINISHED_MS) {
        await rm(path, { force: true });
      }
      if (!FILE.test(name)) continue;
      found.push({ digest: name.replace('-', ':'), bytes: file.size, usedAt: file.mtimeMs });
    }
    return found;
  }

  async write(digest: string, bytes: Uint8Array): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    await writeWhole(this.pathOf(digest), bytes);
  }

  async remove(digest: string): Promise<void> {
    // At once: nobody is to write it between the order and its end.
    rmSync(this.pathOf(digest), { force: true });
  }

  private pathOf(digest: string): string {
    return join(this.folder, digest.replace(':', '-'));
  }
}

function unlessAbsent<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    return ifAbsent(error);
  }
}

function ifAbsent(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
}

function touch(path: string): void {
  try {
    const now = new Date();
    utimesSync(path, now, now);
  } catch {
    // Read-only: nothing is dropped from there either.
  }
}

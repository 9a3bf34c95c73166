/**
 * Code that is a folder (`spec.source.folder`), as the archive that pods get. Packed again only when a file of it has another
 * signature: a look at a folder that has not changed costs a `stat` for each file.
 */
import type { Stats } from 'node:fs';
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { type PackedFile, packArchive } from '@simmer/protocol/archive';
import { BundleError, MAX_MEMBERS, MAX_UNPACKED_BYTES, MODULE_NAME } from '@simmer/protocol/bundle';
import type { FunctionSource } from '@simmer/protocol/registry';
import { compare } from '../registry/merge.ts';
import { checkBundle, digestOf } from './check.ts';

interface Found {
  readonly files: readonly { readonly path: string; readonly stats: Stats }[];
  /** Absolute, to be watched. */
  readonly folders: readonly string[];
}

interface Packed {
  readonly signature: string;
  readonly code: FunctionSource | string;
}

export class FolderCode {
  private readonly maxBytes: number;
  /** By folder and entry. */
  private readonly packed = new Map<string, Packed>();
  private readonly seen = new Set<string>();
  private watched: string[] = [];

  /** @param maxBytes of an archive */
  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /** The folders that were looked into since the last call, save those of dependencies; and forgets what none of those looks asked for. */
  takeFolders(): readonly string[] {
    for (const key of this.packed.keys()) if (!this.seen.has(key)) this.packed.delete(key);
    this.seen.clear();
    return this.watched.splice(0);
  }

  /** The folder's files, of which `entry` is the module to load; or why they are no code. */
  async read(folder: string, entry: string): Promise<FunctionSource | string> {
    const key = `${folder}\0${entry}`;
    this.seen.add(key);
    try {
      const found = await list(folder);
      this.watched.push(...found.folders);
      const signature = found.files
        .map(({ path, stats: s }) => `${path}\0${s.ino}:${s.size}:${s.mtimeMs}:${s.ctimeMs}`)
        .join('\n');
      const before = this.packed.get(key);
      if (before?.signature === signature) return before.code;
      const code = await this.pack(folder, entry, found).catch(reasonOf);
      this.packed.set(key, { signature, code });
      return code;
    } catch (error) {
      return reasonOf(error);
    }
  }

  private async pack(folder: string, entry: string, { files }: Found): Promise<FunctionSource> {
    const packed = await packArchive(filesOf(folder, files));
    if (packed.length > this.maxBytes) {
      throw new BundleError(
        `it is ${packed.length} bytes, over max-bundle-bytes: ${this.maxBytes}`,
      );
    }
    await checkBundle(packed, entry);
    const bytes = new Uint8Array(new SharedArrayBuffer(packed.length));
    bytes.set(packed);
    return { entry, bytes, digest: (await digestOf(bytes)).slice('sha256:'.length) };
  }
}

async function* filesOf(folder: string, files: Found['files']): AsyncIterable<PackedFile> {
  for (const { path, stats } of files) {
    const bytes = await readFile(join(folder, path));
    yield { path: path.split(sep).join('/'), bytes, executable: (stats.mode & 0o100) !== 0 };
  }
}

/** Every file, by its path below `root`, sorted. Names that begin with a dot are tools' own. @throws {BundleError} */
async function list(root: string): Promise<Found> {
  const files: { path: string; stats: Stats }[] = [];
  const folders: string[] = [];
  let bytes = 0;
  let members = 0;
  const visit = async (folder: string, above: readonly string[]): Promise<void> => {
    const real = await realpath(folder);
    if (above.includes(real))
      throw new BundleError(`${folder} is a link to a folder that it lies in`);
    // What tools install changes by the thousand, and is found by the poll.
    if (!`${folder}${sep}`.includes(`${sep}node_modules${sep}`)) folders.push(folder);
    const names = (await readdir(folder)).filter((name) => !name.startsWith('.')).sort(compare);
    for (const name of names) {
      const path = join(folder, name);
      // Of a link what it leads to: dependencies of a workspace are such.
      const stats = await stat(path);
      members += 1;
      if (members > MAX_MEMBERS) throw new BundleError(`it has over ${MAX_MEMBERS} files`);
      if (stats.isDirectory()) await visit(path, [...above, real]);
      if (!stats.isFile()) continue;
      bytes += stats.size;
      if (bytes > MAX_UNPACKED_BYTES)
        throw new BundleError(`it is over ${MAX_UNPACKED_BYTES} bytes`);
      files.push({ path: relative(root, path), stats });
    }
  };
  await visit(root, []);
  if (!files.some(({ path }) => MODULE_NAME.test(path))) throw new BundleError('it has no module');
  return { files, folders };
}

function reasonOf(error: unknown): string {
  return `cannot be used: ${(error as Error).message}`;
}

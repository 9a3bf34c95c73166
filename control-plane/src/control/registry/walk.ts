/** Lists the manifest files under a folder. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { UNFINISHED } from '../whole-file.ts';
import { compare } from './merge.ts';

export interface Walked {
  /** Absolute paths of manifest files, sorted. */
  readonly files: readonly string[];
  /** Absolute paths of the folders that were read, the root first. */
  readonly folders: readonly string[];
  /** Folders that exist but cannot be read, with the reason. */
  readonly unreadable: ReadonlyMap<string, string>;
  /** Absolute paths of what a write that was cut off left (whole-file.ts). */
  readonly unfinished: readonly string[];
}

const MANIFEST_FILE = /\.(ya?ml|json)$/;
/** Changes with every write: inode, size and both times, in nanoseconds. */
export type Signature = string;

/** @throws where the root itself cannot be read. */
export async function walk(root: string): Promise<Walked> {
  const files: string[] = [];
  const folders: string[] = [];
  const unreadable = new Map<string, string>();
  const unfinished: string[] = [];
  const visit = async (folder: string): Promise<void> => {
    const entries = await readdir(folder, { withFileTypes: true });
    folders.push(folder);
    for (const entry of entries.sort((a, b) => compare(a.name, b.name))) {
      const path = join(folder, entry.name);
      if (UNFINISHED.test(entry.name)) unfinished.push(path);
      // Dot folders hold tools' files, and Kubernetes' own copies of a mounted ConfigMap (`..data`).
      if (entry.name.startsWith('.') || entry.name === 'node_modules') continue;
      if (entry.isDirectory()) {
        await visit(path).catch((error: NodeJS.ErrnoException) => {
          if (error.code !== 'ENOENT') unreadable.set(path, error.message);
        });
      } else if (MANIFEST_FILE.test(entry.name) && (entry.isFile() || entry.isSymbolicLink())) {
        files.push(path);
      }
    }
  };
  await visit(root);
  return { files: files.sort(compare), folders, unreadable, unfinished };
}

/** The signature of a file, or undefined where it is none (any more). @throws where it cannot be looked at. */
export async function signatureOf(path: string): Promise<Signature | undefined> {
  try {
    const s = await stat(path, { bigint: true });
    return s.isFile() ? `${s.ino}:${s.size}:${s.mtimeNs}:${s.ctimeNs}` : undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}

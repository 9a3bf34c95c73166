/**
 * A file that whoever reads meanwhile, and whoever reads after a crash, sees whole: it is written beside its place under a name that is
 * nobody's, to the disk, and then put there.
 */
import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** What a crash in the middle leaves. */
export const UNFINISHED = /^\.simmer-[0-9a-f]{16}\.tmp$/;
/** Another process may be writing to the same folder right now, but not for that long. */
export const UNFINISHED_MS = 60_000;

/** @param take puts the file under its name, from the one given; a rename that replaces by default */
export async function writeWhole<T = void>(
  path: string,
  content: string | Uint8Array,
  take: (temporary: string) => Promise<T> = (temporary) => rename(temporary, path) as Promise<T>,
): Promise<T> {
  const temporary = join(dirname(path), `.simmer-${randomBytes(8).toString('hex')}.tmp`);
  try {
    const file = await open(temporary, 'wx');
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    const result = await take(temporary);
    await syncFolder(dirname(path));
    return result;
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
}

/** A name is on the disk once its folder is. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

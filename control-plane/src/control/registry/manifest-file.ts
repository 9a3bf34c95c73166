/**
 * One manifest file, written so that whoever reads meanwhile, and whoever reads after a crash, sees all of the old or all of
 * the new (whole-file.ts).
 */
import { link, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type FunctionDocument, WriteRefused } from '@simmer/protocol/registry';
import { stringify } from 'yaml';
import { syncFolder, writeWhole } from '../whole-file.ts';

/** As YAML, or as JSON where the name says so. */
export function textOf(path: string, document: FunctionDocument): string {
  if (path.endsWith('.json')) return `${JSON.stringify(document, null, 2)}\n`;
  // Lines of code stay lines.
  return stringify(document, { lineWidth: 0 });
}

/** A file that is not there yet. False where there is one by now. @throws {WriteRefused} */
export function createFile(path: string, text: string): Promise<boolean> {
  return written(path, text, async (temporary) => {
    try {
      // Unlike a rename it takes nobody's place.
      await link(temporary, path);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    } finally {
      await rm(temporary, { force: true });
    }
  });
}

/** @throws {WriteRefused} */
export function replaceFile(path: string, text: string): Promise<void> {
  return written(path, text, (temporary) => rename(temporary, path));
}

/** @throws {WriteRefused} */
export async function removeFile(path: string): Promise<void> {
  await explained(path, async () => {
    await rm(path);
    await syncFolder(dirname(path));
  });
}

function written<T>(
  path: string,
  text: string,
  take: (temporary: string) => Promise<T>,
): Promise<T> {
  return explained(path, () => writeWhole(path, text, take));
}

const READ_ONLY: ReadonlySet<string | undefined> = new Set(['EROFS', 'EACCES', 'EPERM']);

async function explained<T>(path: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const what = READ_ONLY.has(code) ? 'registry_read_only' : 'registry_unavailable';
    throw new WriteRefused(what, `Cannot write ${path}: ${message}.`);
  }
}

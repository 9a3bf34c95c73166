/**
 * A bundle of its own, `dist/unpacker.cjs`, which a pod loads once its code is an archive (source.ts): reading one takes some
 * milliseconds to load that the others' cold starts shall not pay.
 */
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readArchive } from '@simmer/protocol/archive';

/**
 * Writes the files of an archive below `folder`, which is empty and nobody else's.
 * @throws {BundleError} where it holds what none may; whatever the file system throws
 */
export async function unpack(pieces: Iterable<Uint8Array>, folder: string): Promise<void> {
  let last = folder;
  await readArchive(pieces, async ({ path, executable }, chunks) => {
    const file = join(folder, path);
    const parent = dirname(file);
    if (parent !== last) mkdirSync(parent, { recursive: true, mode: 0o700 });
    last = parent;
    // Synchronous: this pod has nothing else to do yet, and a tree of dependencies has thousands of small files.
    const descriptor = openSync(file, 'wx', executable ? 0o700 : 0o600);
    try {
      for await (const chunk of chunks) writeFileSync(descriptor, chunk);
    } finally {
      closeSync(descriptor);
    }
  });
}

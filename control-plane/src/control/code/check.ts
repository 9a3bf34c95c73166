/** Whether bytes that arrive are a bundle that a pod can load, as far as that can be told without running any of it. */
import { createHash } from 'node:crypto';
import { readArchive } from '@simmer/protocol/archive';
import { BundleError, isArchive, MODULE_NAME, memberPath } from '@simmer/protocol/bundle';

/** Hashed in one go: a few milliseconds of this thread. */
const SLICE_BYTES = 2_097_152;

/** `sha256:` and hex. Other work of this thread goes on between the slices of a large one. */
export async function digestOf(bytes: Uint8Array): Promise<string> {
  const hash = createHash('sha256');
  for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
    if (at > 0) await new Promise(setImmediate);
    hash.update(bytes.subarray(at, at + SLICE_BYTES));
  }
  return `sha256:${hash.digest('hex')}`;
}

/**
 * @param entry the module to load: of an archive one of its files
 * @throws {BundleError} with what is wrong
 */
export async function checkBundle(bytes: Uint8Array, entry: string): Promise<void> {
  if (!MODULE_NAME.test(entry)) {
    throw new BundleError(`the handler ${entry} must end in .js, .mjs, .cjs, .ts, .mts or .cts`);
  }
  if (!isArchive(bytes)) {
    checkModule(bytes);
    return;
  }
  const path = memberPath(entry);
  let found = false;
  let shown: string | undefined;
  await readArchive([bytes], async (member) => {
    found ||= member.path === path;
    if (MODULE_NAME.test(member.path) && !member.path.includes('node_modules/')) {
      shown ??= member.path;
    }
  });
  if (found) return;
  const instead = shown === undefined ? 'no module' : `for example ${shown}`;
  throw new BundleError(`it holds no ${entry}, which spec.handler names; it holds ${instead}`);
}

function checkModule(bytes: Uint8Array): void {
  if (bytes.length === 0) throw new BundleError('it is empty');
  try {
    // A copy: the decoder takes no shared memory.
    new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array(bytes));
  } catch {
    throw new BundleError('it is neither a module in UTF-8 nor a gzipped tar');
  }
}

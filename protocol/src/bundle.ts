/**
 * A function's code as one thing: a module, or a gzipped tar of files with their dependencies, known by the SHA-256 of its bytes.
 * Which of the two it is its first bytes tell: no text begins like gzip.
 */

/** Of all files of an archive together, unpacked: they lie on a pod's disk, which may be its memory. */
export const MAX_UNPACKED_BYTES = 268_435_456;
/** Files and folders of an archive: a large tree of dependencies has some ten thousand. */
export const MAX_MEMBERS = 50_000;
/** Of a member's path: what file systems take, with room for where it is unpacked. */
const MAX_PATH_CHARS = 1_024;
const MAX_NAME_BYTES = 255;

/** RFC 1952 2.3.1; neither is UTF-8 in this place. */
const GZIP_MAGIC = [0x1f, 0x8b] as const;

/** Why something is no bundle, or not this one. The message is for the function's author. */
export class BundleError extends Error {
  override readonly name = 'BundleError';
}

export function isArchive(bytes: Uint8Array): boolean {
  return bytes[0] === GZIP_MAGIC[0] && bytes[1] === GZIP_MAGIC[1];
}

/** `sha256:` and 64 hex digits: how a bundle is named in manifests and frames. */
export const BUNDLE_DIGEST = /^sha256:[0-9a-f]{64}$/;

/** The suffixes of a module that Node loads. */
export const MODULE_NAME = /\.[cm]?[jt]s$/;

/**
 * The path of a member as it lies below the archive's root, with `/` and without `.`; '' for the root itself.
 * @throws {BundleError} where it leads out of it, or could on another system
 */
export function memberPath(name: string): string {
  const shown = JSON.stringify(name.slice(0, 100));
  if (name.length > MAX_PATH_CHARS) throw new BundleError(`the path ${shown}... is too long`);
  if (name.startsWith('/')) throw new BundleError(`the path ${shown} is absolute`);
  if (name.includes('\\') || name.includes('\0') || /^[a-z]:/i.test(name)) {
    throw new BundleError(`the path ${shown} is not allowed`);
  }
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw new BundleError(`the path ${shown} leads out of the archive`);
  if (parts.some((part) => Buffer.byteLength(part) > MAX_NAME_BYTES)) {
    throw new BundleError(`the path ${shown} has a name that is too long`);
  }
  return parts.join('/');
}

/**
 * Reads and writes the archive form of a bundle (bundle.ts). Nothing is held but the member at hand; whatever the bytes are, what
 * comes is members within the limits, or one BundleError.
 *
 * tar-stream reads the format: header checksums, long names (pax and GNU, bounded at 4 MiB), truncation. What may stand in a bundle is
 * decided here. It takes some milliseconds to load: in the runtime only in a file of its own (runtime/bundle.mjs).
 */
import { createGunzip, createGzip, gunzipSync } from 'node:zlib';
import { extract, type Header, pack } from 'tar-stream';
import { BundleError, MAX_MEMBERS, MAX_UNPACKED_BYTES, memberPath } from './bundle.ts';

/** A file of an archive. */
export interface Member {
  /** As memberPath gives it. */
  readonly path: string;
  readonly size: number;
  readonly executable: boolean;
}

export interface ArchiveLimits {
  /** Unpacked, headers included. */
  readonly bytes: number;
  readonly members: number;
  /** Packed: up to this it is unpacked at once, and beyond it chunk by chunk. */
  readonly atOnceBytes: number;
}

/** Of what gzip gives at once: fewer turns of the event loop than its 16 KiB. */
const CHUNK_BYTES = 65_536;
/** Of an archive that is unpacked at once: about ten milliseconds of this thread. */
const AT_ONCE_UNPACKED_BYTES = 4_194_304;

export const ARCHIVE_LIMITS: ArchiveLimits = {
  bytes: MAX_UNPACKED_BYTES,
  members: MAX_MEMBERS,
  atOnceBytes: 1_048_576,
};

/**
 * Calls `take` for each file, one after the other, and for each waits until it is done; what it does not read is skipped.
 * @throws {BundleError} where it is no archive, or holds what none may; and whatever `take` throws
 */
export async function readArchive(
  pieces: Iterable<Uint8Array>,
  take: (member: Member, chunks: AsyncIterable<Uint8Array>) => Promise<void>,
  limits: ArchiveLimits = ARCHIVE_LIMITS,
): Promise<void> {
  const whole = unzippedAtOnce(pieces, limits);
  const gunzip = whole === undefined ? createGunzip({ chunkSize: CHUNK_BYTES }) : undefined;
  const archive = extract();
  // Whoever fails first ends both; the error that it ended with is told.
  let failure: unknown;
  const fail = (error: unknown): void => {
    failure ??= error;
    gunzip?.destroy();
    archive.destroy();
  };
  gunzip?.on('error', (error) => fail(brokenGzip(error)));
  archive.on('error', (error) => fail(new BundleError(`its tar is broken: ${error.message}`)));
  const feeding = Promise.all([
    gunzip && write(gunzip, pieces),
    unpack(gunzip ?? cut(whole), archive, limits.bytes),
  ]).catch(fail);
  const seen = new Members(limits.members);
  try {
    for await (const entry of archive) {
      const member = seen.add(entry.header);
      if (member !== undefined) await take(member, entry as AsyncIterable<Uint8Array>);
      entry.resume();
    }
  } catch (error) {
    fail(error);
  }
  await feeding;
  if (failure !== undefined) throw failure;
}

/**
 * A small archive, or undefined: most are, and going to another thread and back for each of their chunks takes longer than all else.
 * @throws {BundleError}
 */
function unzippedAtOnce(pieces: Iterable<Uint8Array>, limits: ArchiveLimits): Buffer | undefined {
  const all = [...pieces];
  if (all.reduce((sum, { length }) => sum + length, 0) > limits.atOnceBytes) return undefined;
  try {
    const maxOutputLength = Math.min(AT_ONCE_UNPACKED_BYTES, limits.bytes);
    return gunzipSync(Buffer.concat(all), { maxOutputLength });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') return undefined;
    throw brokenGzip(error as Error);
  }
}

function* cut(bytes: Uint8Array = new Uint8Array()): Iterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES);
}

function brokenGzip({ message }: Error): BundleError {
  return new BundleError(`its gzip is broken: ${message}`);
}

async function write(to: NodeJS.WritableStream, pieces: Iterable<Uint8Array>): Promise<void> {
  for (const piece of pieces) {
    if (!isOpen(to)) return;
    if (!to.write(piece)) await drained(to);
  }
  to.end();
}

async function unpack(
  chunks: AsyncIterable<string | Uint8Array> | Iterable<Uint8Array>,
  archive: ReturnType<typeof extract>,
  maxBytes: number,
): Promise<void> {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new BundleError(`it is over ${maxBytes} bytes when unpacked`);
    if (archive.destroyed) return;
    if (!archive.write(chunk)) await drained(archive);
  }
  archive.end(null);
}

/** It takes more, or nothing any more. No listener stays: a large archive waits thousands of times. */
function drained(stream: Emitter): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      for (const event of ['drain', 'close'] as const) stream.off(event, done);
      resolve();
    };
    for (const event of ['drain', 'close'] as const) stream.on(event, done);
  });
}

interface Emitter {
  on(event: 'drain' | 'close', listener: () => void): unknown;
  off(event: 'drain' | 'close', listener: () => void): unknown;
}

const isOpen = (stream: NodeJS.WritableStream): boolean =>
  !(stream as NodeJS.WritableStream & { readonly destroyed: boolean }).destroyed;

/** What stood in the archive so far. */
class Members {
  private readonly files = new Set<string>();
  private readonly folders = new Set<string>();
  private readonly max: number;
  private count = 0;

  constructor(max: number) {
    this.max = max;
  }

  /** Undefined for a folder: those that files need are made with them. @throws {BundleError} */
  add({ name, type, size, mode }: Header): Member | undefined {
    this.count += 1;
    if (this.count > this.max) throw new BundleError(`it has over ${this.max} files`);
    const path = memberPath(name);
    if (type === 'directory') {
      if (this.files.has(path)) throw new BundleError(`${path} is a file and a folder`);
      this.addFolders(path === '' ? [] : path.split('/'));
      return undefined;
    }
    if (type !== 'file' && type !== 'contiguous-file') {
      throw new BundleError(
        `${path} is a ${type ?? 'member of an unknown kind'}: only files are taken`,
      );
    }
    if (path === '') throw new BundleError('it has a file without a name');
    if (path.endsWith('.node')) {
      throw new BundleError(`${path} is a native addon, which needs an image`);
    }
    if (this.files.has(path)) throw new BundleError(`${path} stands in it twice`);
    if (this.folders.has(path)) throw new BundleError(`${path} is a file and a folder`);
    this.files.add(path);
    this.addFolders(path.split('/').slice(0, -1));
    return { path, size, executable: (mode & 0o100) !== 0 };
  }

  private addFolders(parts: readonly string[]): void {
    for (let depth = parts.length; depth > 0; depth--) {
      const path = parts.slice(0, depth).join('/');
      if (this.folders.has(path)) return;
      if (this.files.has(path)) throw new BundleError(`${path} is a file and a folder`);
      this.folders.add(path);
    }
  }
}

/** A file to be packed. */
export interface PackedFile {
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly executable: boolean;
}

/** The epoch: the same files are the same bytes whenever they are packed. */
const NO_TIME = new Date(0);

/** The archive of these files, in this order. Like files give like bytes, with one version of Node. */
export async function packArchive(
  files: Iterable<PackedFile> | AsyncIterable<PackedFile>,
): Promise<Buffer> {
  const tar = pack();
  const gzip = createGzip();
  const parts: Buffer[] = [];
  const packing = (async () => {
    for await (const { path, bytes, executable } of files) {
      const header = { name: path, mode: executable ? 0o755 : 0o644, mtime: NO_TIME };
      const content = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
      await new Promise((resolve) => tar.entry(header, content, resolve));
    }
    tar.finalize();
  })();
  const zipping = (async () => {
    for await (const chunk of tar) {
      if (!gzip.write(chunk)) await drained(gzip);
    }
    gzip.end();
  })();
  // Awaited together below: neither may end unheard.
  const fed = Promise.all([packing, zipping]).catch((error: Error) => gzip.destroy(error));
  for await (const chunk of gzip) parts.push(chunk);
  await fed;
  return Buffer.concat(parts);
}

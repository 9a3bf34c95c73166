/**
 * A handler whose code comes over the socket: `specialize` names it, `code` brings it in pieces. One module is loaded from memory as
 * if it stood in the working directory, so that what it imports is found there; an archive is unpacked into a folder of its own, which
 * becomes the working directory and goes with the process.
 *
 *   (nothing) ──specialize──▶ receiving ──last piece──▶ (loaded by pod.ts)
 */
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { createRequire, registerHooks } from 'node:module';
import { join, resolve, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { compileFunction } from 'node:vm';
import { BundleError, isArchive, memberPath } from '@simmer/protocol/bundle';
import type { Code, Specialize } from '@simmer/protocol/frames';
import type { Handlers } from './handler.ts';
import { HandlerError, loadHandlers } from './handler.ts';

/** The most that a control plane may be told to take as a bundle; so that a peer that never ends cannot fill the memory. */
const MAX_CODE_BYTES = 268_435_456;

/** Code on its way. */
export class Receiving {
  readonly digest: string;
  readonly entry: string;
  private readonly pieces: Uint8Array[] = [];
  private readonly hash = createHash('sha256');
  private length = 0;

  constructor(frame: Specialize) {
    this.digest = frame.digest;
    this.entry = frame.entry;
  }

  /** False: it does not belong here. `whole` tells when to go on. */
  add(frame: Code): boolean {
    if (frame.digest !== this.digest || frame.offset !== this.length) return false;
    this.length += frame.bytes.length;
    if (this.length > MAX_CODE_BYTES) return false;
    this.pieces.push(frame.bytes.slice());
    this.hash.update(frame.bytes);
    return true;
  }

  /**
   * @param scratch folder below which an archive may be unpacked
   * @throws {HandlerError} when it is not what was announced, and whatever loading it throws.
   */
  async load(scratch: string): Promise<Handlers> {
    const digest = `sha256:${this.hash.digest('hex')}`;
    if (digest !== this.digest) throw new HandlerError(`its code is not ${this.digest}`);
    const pieces = this.pieces.splice(0);
    if (isArchive(Buffer.concat(pieces.slice(0, 2)))) {
      return loadArchive(this.entry, pieces, scratch);
    }
    return loadSource(this.entry, Buffer.concat(pieces).toString());
  }
}

/** Unpacks it, goes there, and loads the file `entry`. @throws {HandlerError} likewise */
async function loadArchive(
  entry: string,
  pieces: readonly Uint8Array[],
  scratch: string,
): Promise<Handlers> {
  const folder = ownFolder(scratch);
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const path = await unpackedEntry(entry, pieces, folder);
  process.chdir(folder);
  return loadHandlers(path);
}

/** Only this user's. @throws {HandlerError} */
function ownFolder(scratch: string): string {
  try {
    mkdirSync(scratch, { recursive: true, mode: 0o700 });
    // As Node will name the modules in it.
    return realpathSync(mkdtempSync(join(scratch, 'simmer-code-')));
  } catch (error) {
    throw noPlace(error as Error);
  }
}

/** @throws {HandlerError} */
async function unpackedEntry(
  entry: string,
  pieces: readonly Uint8Array[],
  folder: string,
): Promise<string> {
  try {
    const path = join(folder, memberPath(entry));
    const load = createRequire(__filename);
    const { unpack } = load('./unpacker.cjs') as typeof import('./unpacker.ts');
    await unpack(pieces, folder);
    if (!existsSync(path)) throw new BundleError(`it holds no ${entry}`);
    return path;
  } catch (error) {
    // By its name: the unpacker, a file of its own, has a class of its own.
    if ((error as Error).name !== 'BundleError') throw noPlace(error as Error);
    throw new HandlerError(`its archive cannot be used: ${(error as Error).message}`);
  }
}

function noPlace({ message }: Error): HandlerError {
  return new HandlerError(
    `its archive cannot be unpacked (${message}): that needs a /tmp that can be written and has room, or the code in an image`,
  );
}

/**
 * Loads `code` as if it were the file `entry` of the working directory.
 *
 * @throws {HandlerError} as loadHandlers does, and whatever loading it threw.
 */
export async function loadSource(entry: string, code: string): Promise<Handlers> {
  const path = resolve(entry);
  if (!path.startsWith(resolve('.') + sep) && resolve('.') !== sep) {
    throw new HandlerError(`${entry} lies outside the working directory`);
  }
  const { href } = pathToFileURL(path);
  const format = formatOf(entry, code);
  const hooks = registerHooks({
    resolve: (specifier, context, next) =>
      specifier === path || specifier === href
        ? { url: href, format, shortCircuit: true }
        : next(specifier, context),
    load: (url, context, next) =>
      url === href ? { format, source: code, shortCircuit: true } : next(url, context),
  });
  try {
    return await loadHandlers(path);
  } finally {
    // They would cost every later import; and nothing else comes from memory.
    hooks.deregister();
  }
}

/**
 * Loads a module of nothing, so that the first that matters finds Node's loader at work: what that costs is spent while the dial
 * is on its way, and not when a call waits for the code.
 */
export async function warmLoader(): Promise<void> {
  createHash('sha256').update('').digest('hex');
  // As an ES module without a mark: what most code is, and both compilers see it.
  await loadSource(`simmer-warm-up-${randomUUID()}.js`, 'export default () => undefined;');
}

/** As Node tells the two kinds of modules apart where nothing names one: what does not compile as CommonJS is an ES module. */
function formatOf(entry: string, code: string): string {
  const [, kind = '', language] = /\.([cm]?)([jt])s$/.exec(entry) ?? [];
  if (language === undefined) {
    throw new HandlerError(`${entry} must end in .js, .mjs, .cjs, .ts, .mts or .cts`);
  }
  const suffix = language === 't' ? '-typescript' : '';
  if (kind === 'm') return `module${suffix}`;
  if (kind === 'c') return `commonjs${suffix}`;
  // Types do not compile as either: TypeScript without a mark is taken for what nearly all of it is.
  if (language === 't') return 'module-typescript';
  try {
    compileFunction(code, ['exports', 'require', 'module', '__filename', '__dirname']);
    return 'commonjs';
  } catch {
    return 'module';
  }
}

/**
 * A handler whose code comes over the socket: `specialize` names it, `code` brings it in pieces, and it is loaded from memory as
 * if it stood in the working directory, so that what it imports is found there.
 *
 *   (nothing) ──specialize──▶ receiving ──last piece──▶ (loaded by pod.ts)
 */
import { createHash } from 'node:crypto';
import { registerHooks } from 'node:module';
import { resolve, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { compileFunction } from 'node:vm';
import type { Code, Specialize } from '@simmer/protocol/frames';
import type { Handlers } from './handler.ts';
import { HandlerError, loadHandlers } from './handler.ts';

/** Far over what a manifest may hold; so that a peer that never ends cannot fill the memory. */
const MAX_CODE_BYTES = 16_777_216;

/** Code on its way. */
export class Receiving {
  readonly digest: string;
  readonly entry: string;
  private readonly pieces: Uint8Array[] = [];
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
    return true;
  }

  /** @throws {HandlerError} when it is not what was announced, and whatever loading it throws. */
  async load(): Promise<Handlers> {
    const code = Buffer.concat(this.pieces);
    const digest = `sha256:${createHash('sha256').update(code).digest('hex')}`;
    if (digest !== this.digest) throw new HandlerError(`its code is not ${this.digest}`);
    return loadSource(this.entry, code.toString());
  }
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

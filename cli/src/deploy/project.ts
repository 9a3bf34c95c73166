/** What a folder says of the function that it holds: its name, its manifest, and the module that is its handler. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { isName } from '@simmer/protocol/names';
import { parse } from 'yaml';
import { EXIT, Failure } from '../failure.ts';

export interface Project {
  /** Absolute. */
  readonly folder: string;
  /** As in URLs: `name`, or `name.namespace`. */
  readonly name: string;
  /** What its manifest says; undefined where it has none. */
  readonly manifest: { readonly metadata: Spec; readonly spec: Spec } | undefined;
  /** Path of the handler's module, relative to the folder. */
  readonly entry: string;
  /** Absolute; files that say how it is to be deployed, those included that are not there. */
  readonly sources: readonly string[];
}

export type Spec = Readonly<Record<string, unknown>>;

const MANIFESTS = ['simmer.yaml', 'simmer.yml', 'simmer.json', 'manifest.yaml', 'manifest.yml'];
const SUFFIXES = ['ts', 'mts', 'js', 'mjs', 'cjs', 'cts'];
/** Where a handler is looked for that nothing names. */
const ENTRIES = ['handler', 'index', 'src/handler', 'src/index'].flatMap((name) =>
  SUFFIXES.map((suffix) => `${name}.${suffix}`),
);

/** @throws {Failure} with what is missing or wrong */
export function projectIn(given: string, named: string | undefined): Project {
  const folder = resolve(given);
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
    throw new Failure(EXIT.notFound, `${given} is no folder`);
  }
  const file = MANIFESTS.map((name) => join(folder, name)).find((path) => existsSync(path));
  const manifest = file === undefined ? undefined : manifestOf(file);
  return {
    folder,
    name: nameOf(folder, named, manifest?.metadata),
    manifest,
    entry: entryOf(folder, manifest?.spec['handler']),
    sources: [...MANIFESTS, 'package.json'].map((name) => join(folder, name)),
  };
}

function manifestOf(file: string): { metadata: Spec; spec: Spec } {
  let value: unknown;
  try {
    value = parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new Failure(EXIT.usage, `${file}: ${(error as Error).message}`);
  }
  const { kind = 'Function', metadata = {}, spec = {} } = (value ?? {}) as Record<string, unknown>;
  if (kind !== 'Function' || !isObject(metadata) || !isObject(spec)) {
    throw new Failure(EXIT.usage, `${file} is no manifest of one Function`);
  }
  return { metadata, spec };
}

function isObject(value: unknown): value is Spec {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function nameOf(folder: string, named: string | undefined, metadata: Spec | undefined): string {
  const { name = basename(folder).toLowerCase(), namespace } = metadata ?? {};
  const full = named ?? (namespace === undefined ? String(name) : `${name}.${namespace}`);
  const parts = full.split('.');
  if (parts.length <= 2 && parts.every(isName)) return full;
  const what = `${JSON.stringify(full)} is no function name`;
  throw new Failure(
    EXIT.usage,
    `${what} (a-z, 0-9 and -, at most 40 characters): give one by --name`,
  );
}

function entryOf(folder: string, handler: unknown): string {
  if (typeof handler === 'string') {
    if (existsSync(join(folder, handler))) return handler;
    throw new Failure(EXIT.notFound, `${folder} has no ${handler}, which its manifest names`);
  }
  const main = mainOf(join(folder, 'package.json'));
  const found = [...(main === undefined ? [] : [main]), ...ENTRIES].find((path) =>
    existsSync(join(folder, path)),
  );
  if (found !== undefined) return found;
  const looked = `handler.ts, handler.js, index.ts, index.js, and the same in src`;
  throw new Failure(EXIT.notFound, `${folder} has no handler: looked for ${looked}`);
}

function mainOf(file: string): string | undefined {
  try {
    const { main } = JSON.parse(readFileSync(file, 'utf8')) as { main?: unknown };
    return typeof main === 'string' ? main : undefined;
  } catch {
    return undefined;
  }
}

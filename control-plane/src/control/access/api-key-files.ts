/**
 * The API keys of a file, or of a folder as the mount of a Kubernetes Secret is one.
 *
 * Invariants:
 *  1. No log line has a part of a file's content in it.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type ApiKeyEntry, parseApiKeyFile } from '@simmer/protocol/api-keys';
import { parse as parseYaml } from 'yaml';
import type { Log } from '../log.ts';
import { WatchedFiles } from './watched-files.ts';

/** A hundred times ten thousand keys. */
const MAX_FILE_BYTES = 268_435_456;
const SUFFIX = /\.(ya?ml|json)$/;

/** A key with the pepper of its file. */
export interface PepperedKey extends ApiKeyEntry {
  readonly pepper: string;
}

export interface ApiKeyFilesOptions {
  /** Absolute. */
  readonly path: string;
  readonly log: Log;
  readonly pollMs?: number;
}

export function apiKeyFiles(
  { path, log, pollMs }: ApiKeyFilesOptions,
  onKeys: (keys: readonly PepperedKey[]) => void,
): WatchedFiles<readonly PepperedKey[]> {
  return new WatchedFiles({
    list: () => list(path),
    read: (files) => readAll(path, files),
    apply(keys, isFirst) {
      onKeys(keys);
      if (!isFirst) log.info({ path, keys: keys.length }, 'API keys read again');
    },
    refused: (reason) => log.error({ path, reason }, 'API keys refused: those before go on'),
    ...(pollMs !== undefined && { pollMs }),
  });
}

/** The file, or those in the folder. */
async function list(path: string): Promise<string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const names = (await readdir(path)).filter((n) => !n.startsWith('.') && SUFFIX.test(n)).sort();
  if (names.length === 0) throw new Error(`${path} has no .yaml, .yml or .json file`);
  return names.map((name) => join(path, name));
}

async function readAll(path: string, files: readonly string[]): Promise<PepperedKey[]> {
  const texts: { readonly name: string; readonly text: string }[] = [];
  for (const file of files) {
    const name = file === path ? '' : file;
    if ((await stat(file)).size > MAX_FILE_BYTES) throw new Error(`${at(name)}it is too large`);
    texts.push({ name, text: await readFile(file, 'utf8') });
  }
  return keysIn(texts);
}

/** Of files together; `name` is told in errors, '' where there is but one. @throws where one is wrong */
export function keysIn(
  files: readonly { readonly name: string; readonly text: string }[],
): PepperedKey[] {
  const keys: PepperedKey[] = [];
  const seen = new Set<string>();
  for (const { name, text } of files) {
    const parsed = parseApiKeyFile(contentOf(text, at(name)));
    if (!parsed.ok) throw new Error(at(name) + parsed.issue);
    const { pepper } = parsed.file;
    for (const key of parsed.file.keys) {
      if (seen.has(key.id)) throw new Error(`${at(name)}${key.id} stands in another file, too`);
      seen.add(key.id);
      keys.push({ ...key, pepper });
    }
  }
  return keys;
}

function at(name: string): string {
  return name === '' ? '' : `${name}: `;
}

/** JSON first: reading 10,000 keys as YAML takes a hundred times as long. */
function contentOf(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    try {
      return parseYaml(text, { prettyErrors: false });
    } catch {
      throw new Error(`${where}it is neither JSON nor YAML`); // 1: a parser's message quotes the text
    }
  }
}

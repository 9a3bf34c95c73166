/**
 * The API keys of a file, or of a folder as the mount of a Kubernetes Secret is one, read again when they change.
 *
 * Level-triggered: looked at once a second, by `stat` through all links, so that a Secret's swap of `..data`, a file that
 * is written anew and one that is replaced are all the same; no watch can be lost.
 *
 * Invariants:
 *  1. A version that cannot be read, or is wrong, changes nothing: the one before goes on. It is told once.
 *  2. No log line has a part of a file's content in it.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type ApiKeyEntry, parseApiKeyFile } from '@simmer/protocol/api-keys';
import { parse as parseYaml } from 'yaml';
import type { Log } from '../log.ts';

const POLL_MS = 1_000;
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

export class ApiKeyFiles {
  private readonly options: ApiKeyFilesOptions;
  private signature = '';
  private timer: NodeJS.Timeout | undefined;
  private reading: Promise<void> | undefined;
  private closed = false;

  constructor(options: ApiKeyFilesOptions) {
    this.options = options;
  }

  /** @throws where they cannot be read now: a mistyped path is to stop the start. */
  async start(onKeys: (keys: readonly PepperedKey[]) => void): Promise<void> {
    const { path } = this.options;
    const files = await list(path);
    this.signature = await signatureOf(files);
    onKeys(await readAll(path, files));
    this.pollAfter(onKeys);
  }

  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    await this.reading;
  }

  private pollAfter(onKeys: (keys: readonly PepperedKey[]) => void): void {
    if (this.closed) return;
    this.timer = setTimeout(() => {
      this.reading = this.look(onKeys).finally(() => this.pollAfter(onKeys));
    }, this.options.pollMs ?? POLL_MS);
  }

  private async look(onKeys: (keys: readonly PepperedKey[]) => void): Promise<void> {
    const { path, log } = this.options;
    let signature = 'unreadable';
    try {
      const files = await list(path);
      signature = await signatureOf(files);
      if (signature === this.signature) return;
      const keys = await readAll(path, files);
      // Written to meanwhile: what was read may be half of it. The next look sees whether it was whole.
      if ((await signatureOf(files)) !== signature) return;
      this.signature = signature;
      onKeys(keys);
      log.info({ path, keys: keys.length }, 'API keys read again');
    } catch (error) {
      if (signature === this.signature) return;
      this.signature = signature;
      const reason = (error as Error).message;
      log.error({ path, reason }, 'API keys refused: those before go on'); // 1
    }
  }
}

/** The file, or those in the folder. */
async function list(path: string): Promise<string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const names = (await readdir(path)).filter((n) => !n.startsWith('.') && SUFFIX.test(n)).sort();
  if (names.length === 0) throw new Error(`${path} has no .yaml, .yml or .json file`);
  return names.map((name) => join(path, name));
}

async function signatureOf(files: readonly string[]): Promise<string> {
  const stats = await Promise.all(files.map((file) => stat(file, { bigint: true })));
  return stats.map((s, i) => `${files[i]}:${s.ino}:${s.size}:${s.mtimeNs}:${s.ctimeNs}`).join('\n');
}

async function readAll(path: string, files: readonly string[]): Promise<PepperedKey[]> {
  const keys: PepperedKey[] = [];
  const seen = new Set<string>();
  for (const file of files) {
    const where = file === path ? '' : `${file}: `;
    if ((await stat(file)).size > MAX_FILE_BYTES) throw new Error(`${where}it is too large`);
    const parsed = parseApiKeyFile(contentOf(await readFile(file, 'utf8'), where));
    if (!parsed.ok) throw new Error(where + parsed.issue);
    const { pepper } = parsed.file;
    for (const key of parsed.file.keys) {
      if (seen.has(key.id)) throw new Error(`${where}${key.id} stands in another file, too`);
      seen.add(key.id);
      keys.push({ ...key, pepper });
    }
  }
  return keys;
}

/** JSON first: reading 10,000 keys as YAML takes a hundred times as long. */
function contentOf(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    try {
      return parseYaml(text, { prettyErrors: false });
    } catch {
      throw new Error(`${where}it is neither JSON nor YAML`); // 2: a parser's message quotes the text
    }
  }
}

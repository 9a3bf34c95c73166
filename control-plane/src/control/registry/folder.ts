/**
 * The registry of the process backend: a folder of manifests, read again whenever something in it changes.
 *
 * Level-triggered: a watch, the slow poll and the confirmation of a removal all do the same thing, ask for a scan of
 * the whole folder; files whose signature has not changed are not read again. One scan at a time:
 *
 *     idle ──request──▶ waiting (debounce) ──▶ scanning ──▶ idle
 *                                               │  request during a scan ──▶ waiting
 *
 * Invariants (beside those of merge.ts):
 *  1. A root folder that cannot be read changes nothing.
 *  2. The listener hears only of sets that differ from the one before.
 *  3. Watches are a hint: every change is found by the poll too.
 *  4. A write through here is in force when it is answered, and one that removes needs no confirmation (folder-writes.ts).
 */
import { createHash } from 'node:crypto';
import { type FSWatcher, watch } from 'node:fs';
import { readFile, rm, stat } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { MAX_UNPACKED_BYTES } from '@simmer/protocol/bundle';
import type {
  FunctionManifest,
  FunctionSpec,
  ManifestIssue,
  WarmPoolManifest,
} from '@simmer/protocol/manifest';
import { functionKey, warmPoolKey, warmPoolName } from '@simmer/protocol/names';
import {
  type Accepts,
  type Bundles,
  type FunctionDocument,
  type FunctionWrite,
  NO_BUNDLES,
  type RefusedManifest,
  type RegisteredFunction,
  type Registry,
  type RegistrySnapshot,
  type Written,
} from '@simmer/protocol/registry';
import { asFunction, settingsOf } from '@simmer/protocol/warm-pool';
import { FolderCode } from '../code/folder-code.ts';
import type { Log } from '../log.ts';
import { UNFINISHED_MS } from '../whole-file.ts';
import { FolderWrites } from './folder-writes.ts';
import { MAX_MANIFEST_BYTES, type ParsedDocument, parseManifests } from './manifests.ts';
import { CONFIRM_REMOVAL_MS, compare, type Entry, type Given, merge } from './merge.ts';
import { pathWithin, revisionOf, sourceOf } from './revision.ts';
import { type Signature, signatureOf, type Walked, walk } from './walk.ts';

/** Editors and copies touch a file several times: read once they are through. */
const DEBOUNCE_MS = 100;
/** Watches get lost (network file systems, a watch limit, a folder that was replaced). */
const POLL_MS = 5_000;
/** Of this thread's time; a folder of 1,000 functions takes about 0.2 s to look through. */
const POLL_SHARE = 0.01;

export interface FolderRegistryOptions {
  /** Absolute. */
  readonly root: string;
  readonly log: Log;
  /** Uploaded code; none by default. */
  readonly bundles?: Bundles;
  /** Of the code that a folder gives, as it is sent to pods. */
  readonly maxBundleBytes?: number;
  readonly pollMs?: number;
  /** Of this thread's time that polls may take. */
  readonly pollShare?: number;
  /** False: only the poll finds changes. */
  readonly watch?: boolean;
  /** Whether a function's handler is a file of this machine, or stands in an image; by default all are files. */
  readonly isLocal?: (spec: FunctionSpec) => boolean;
}

interface Cached<T> {
  readonly signature: Signature;
  readonly value: T;
}

/** What one scan found in the files. */
interface Found {
  readonly given: Given[];
  readonly refused: RefusedManifest[];
  /** Files (relative) with a refused document or that could not be read. */
  readonly broken: Set<string>;
}

export class FolderRegistry implements Registry {
  private readonly root: string;
  private readonly log: Log;
  private readonly pollMs: number;
  private readonly pollShare: number;
  private readonly watching: boolean;
  private readonly isLocal: (spec: FunctionSpec) => boolean;
  private readonly bundles: Bundles;
  private readonly folders: FolderCode;
  private onChange: (snapshot: RegistrySnapshot) => void = () => {};
  private entries: ReadonlyMap<string, Entry> = new Map();
  private readonly documents = new Map<string, Cached<readonly ParsedDocument[]>>();
  private readonly digests = new Map<string, Cached<string>>();
  private readonly watchers = new Map<string, FSWatcher>();
  private refused: readonly RefusedManifest[] = [];
  /** Files (relative) that are being removed through here: 4. */
  private readonly removed = new Set<string>();
  private readonly writes: FolderWrites;
  private lastEmitted = '';
  private lastRootError = '';
  private watchFailed = false;
  private scanning: Promise<void> | undefined;
  private again = false;
  private closed = false;
  private timer: NodeJS.Timeout | undefined;
  private poll: NodeJS.Timeout | undefined;

  constructor(options: FolderRegistryOptions) {
    this.root = options.root;
    this.log = options.log;
    this.pollMs = options.pollMs ?? POLL_MS;
    this.pollShare = options.pollShare ?? POLL_SHARE;
    this.watching = options.watch ?? true;
    this.isLocal = options.isLocal ?? (() => true);
    this.bundles = options.bundles ?? NO_BUNDLES;
    this.folders = new FolderCode(options.maxBundleBytes ?? MAX_UNPACKED_BYTES);
    this.writes = new FolderWrites({
      root: this.root,
      scan: () => this.scanNow(),
      documents: () => [...this.documents].map(([path, { value }]) => [path, value] as const),
      keptFrom: (key) => {
        const entry = this.entries.get(key);
        return entry?.kept ? join(this.root, entry.file) : undefined;
      },
      check: async (manifest, folder) => {
        const registered = await this.register(manifest, folder);
        // Code may come after the manifest that names it.
        if ('key' in registered || registered.field === 'spec.source.bundle') return undefined;
        return registered;
      },
      scanWithout: async (path) => {
        this.removed.add(this.nameOf(path));
        await this.scanNow();
        this.removed.delete(this.nameOf(path));
      },
    });
  }

  /** @throws where the folder cannot be read now: a mistyped path is to stop the start. */
  async start(onChange: (snapshot: RegistrySnapshot) => void): Promise<void> {
    this.onChange = onChange;
    const began = performance.now();
    const walked = await walk(this.root);
    await Promise.all(walked.unfinished.map(tidy));
    await this.apply(walked);
    this.pollAfter(performance.now() - began);
  }

  async put(write: FunctionWrite): Promise<Written> {
    const { name, namespace } = write.manifest.metadata;
    const key = functionKey(namespace, name);
    const { path, created } = await this.writes.put(write);
    const file = this.nameOf(path);
    return { created, taken: () => this.taken(key, file) };
  }

  remove(key: string, accepts: Accepts): Promise<boolean> {
    return this.writes.remove(key, accepts);
  }

  async current(key: string): Promise<FunctionDocument | undefined> {
    await this.scanNow();
    return this.find(key)?.document;
  }

  async lookAgain(key: string): Promise<Written> {
    await this.scanNow();
    const file = this.find(key)?.file ?? '';
    return { created: false, taken: () => this.taken(key, file) };
  }

  /** Where it stands, and as what. */
  private find(key: string): { file: string; document: FunctionDocument } | undefined {
    for (const [path, { value }] of this.documents) {
      for (const parsed of value) {
        if (!parsed.ok || parsed.manifest.kind !== 'Function') continue;
        const { apiVersion, kind, metadata } = parsed.manifest;
        if (functionKey(metadata.namespace, metadata.name) !== key) continue;
        const spec = parsed.given['spec'] as FunctionDocument['spec'];
        return { file: this.nameOf(path), document: { apiVersion, kind, metadata, spec } };
      }
    }
    return undefined;
  }

  private taken(key: string, file: string): ReturnType<Written['taken']> {
    const entry = this.entries.get(key);
    if (entry && !entry.kept && entry.missingSince === undefined) return true;
    const refused = this.refused.find(({ source }) => source.startsWith(`${file}:`));
    return refused?.issues ?? false;
  }

  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.poll);
    clearTimeout(this.timer);
    for (const watcher of this.watchers.values()) watcher.close();
    this.watchers.clear();
    await this.writes.idle();
    await this.scanning;
  }

  private request(delayMs: number): void {
    if (this.closed || this.timer !== undefined) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      if (this.scanning) {
        this.again = true;
        return;
      }
      void this.begin();
    }, delayMs);
  }

  private begin(): Promise<void> {
    const began = performance.now();
    this.scanning = this.scan().finally(() => {
      this.scanning = undefined;
      this.pollAfter(performance.now() - began);
      if (!this.again) return;
      this.again = false;
      this.request(DEBOUNCE_MS);
    });
    return this.scanning;
  }

  /** A scan that begins after this was called, and its end. */
  private async scanNow(): Promise<void> {
    while (this.scanning) await this.scanning;
    if (!this.closed) await this.begin();
  }

  /** The next poll, after a scan that took so long. */
  private pollAfter(scanMs: number): void {
    if (this.closed) return;
    clearTimeout(this.poll);
    this.poll = setTimeout(() => this.request(0), Math.max(this.pollMs, scanMs / this.pollShare));
  }

  private async scan(): Promise<void> {
    let walked: Walked;
    try {
      walked = await walk(this.root);
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.lastRootError) {
        this.log.error(
          { folder: this.root },
          `cannot read the folder of functions, which stay as they were: ${message}`,
        );
      }
      this.lastRootError = message;
      return; // 1
    }
    this.lastRootError = '';
    await this.apply(walked);
  }

  private async apply(walked: Walked): Promise<void> {
    const found = await this.read(walked);
    if (this.closed) return;
    const before = this.withoutRemoved(walked);
    const merged = merge(before, found.given, (f) => found.broken.has(f), performance.now());
    this.entries = new Map(
      await Promise.all(
        [...merged.entries].map(async ([key, e]) => [key, await this.refresh(e)] as const),
      ),
    );
    if (this.closed) return;
    if (merged.removalPending) this.request(CONFIRM_REMOVAL_MS);
    // A handler may be where manifests are not looked for, `.build` say.
    const handlers = [...this.entries.values()].map(({ registered: { baseDir, manifest } }) =>
      dirname(resolve(baseDir, manifest.spec.handler)),
    );
    this.follow([...walked.folders, ...handlers, ...this.folders.takeFolders()]);
    this.refused = [...found.refused, ...merged.refused];
    const snapshot: RegistrySnapshot = {
      functions: [...this.entries.values()]
        .map((e) => e.registered)
        .sort((a, b) => compare(a.key, b.key)),
      refused: this.refused.toSorted((a, b) => compare(a.source, b.source)),
    };
    const functions = snapshot.functions.map((f) => ({ ...f, source: f.source?.digest }));
    const text = JSON.stringify({ ...snapshot, functions });
    if (text === this.lastEmitted) return; // 2
    this.lastEmitted = text;
    this.onChange(snapshot);
  }

  /** What was in force, but for files that were removed through here and are away still. */
  private withoutRemoved({ files }: Walked): ReadonlyMap<string, Entry> {
    if (this.removed.size === 0) return this.entries;
    const there = new Set(files.map((path) => this.nameOf(path)));
    const isGone = (file: string) => this.removed.has(file) && !there.has(file);
    return new Map([...this.entries].filter(([, { file }]) => !isGone(file)));
  }

  private async read(walked: Walked): Promise<Found> {
    const found: Found = {
      given: [],
      refused: [],
      broken: new Set(),
    };
    const present = new Set(walked.files);
    for (const path of this.documents.keys()) if (!present.has(path)) this.documents.delete(path);
    for (const [folder, reason] of walked.unreadable) {
      const name = this.nameOf(folder);
      found.refused.push({ source: name, issues: [{ field: '', reason }] });
      for (const entry of this.entries.values()) {
        if (entry.file.startsWith(`${name}/`)) found.broken.add(entry.file);
      }
    }
    for (const path of walked.files) await this.readManifestFile(path, found);
    return found;
  }

  private async readManifestFile(path: string, found: Found): Promise<void> {
    const file = this.nameOf(path);
    const refuse = (source: string, issues: readonly ManifestIssue[]) => {
      found.refused.push({ source, issues });
      found.broken.add(file);
    };
    let documents: readonly ParsedDocument[] | undefined;
    try {
      documents = await this.documentsOf(path);
    } catch (error) {
      return refuse(file, [{ field: '', reason: (error as Error).message }]);
    }
    for (const document of documents ?? []) {
      const source = `${file}:${document.line}`;
      if (!document.ok) {
        refuse(source, document.issues);
      } else if (document.manifest.kind === 'WarmPool') {
        const registered = warmPool(document.manifest, dirname(path));
        found.given.push({ registered, file, source });
      } else {
        const registered = await this.register(document.manifest, dirname(path));
        if ('key' in registered) found.given.push({ registered, file, source });
        else refuse(source, [registered]);
      }
    }
  }

  /** The file's documents; undefined where it vanished since it was listed. @throws where it cannot be read. */
  private async documentsOf(path: string): Promise<readonly ParsedDocument[] | undefined> {
    const signature = await signatureOf(path);
    if (signature === undefined) return undefined;
    const cached = this.documents.get(path);
    if (cached?.signature === signature) return cached.value;
    const text = await readFile(path, 'utf8');
    if (text.length > MAX_MANIFEST_BYTES) throw new Error(`is over ${MAX_MANIFEST_BYTES} bytes`);
    const value = parseManifests(path, text);
    this.documents.set(path, { signature, value });
    return value;
  }

  private async register(
    manifest: FunctionManifest,
    baseDir: string,
  ): Promise<RegisteredFunction | ManifestIssue> {
    const { spec, metadata } = manifest;
    const key = functionKey(metadata.namespace, metadata.name);
    if (spec.source !== undefined) {
      const source = await sourceOf(spec, this.root, baseDir, this.bundles, this.folders);
      if ('field' in source) return source;
      return { key, manifest, baseDir, revision: revisionOf(spec, baseDir, source.digest), source };
    }
    // In an image, which this machine has not.
    if (!this.isLocal(spec)) {
      return { key, manifest, baseDir, revision: revisionOf(spec, baseDir, '') };
    }
    const path = pathWithin(this.root, baseDir, spec.handler, 'spec.handler');
    if (typeof path !== 'string') return path;
    const digest = await this.digestOf(path).catch((error: Error) => error);
    if (typeof digest !== 'string') {
      const reason = digest === undefined ? `there is no file ${path}` : digest.message;
      return { field: 'spec.handler', reason };
    }
    return { key, manifest, baseDir, revision: revisionOf(spec, baseDir, digest) };
  }

  /** While a manifest is refused, its handler's code may still change. */
  private async refresh(entry: Entry): Promise<Entry> {
    if (!entry.kept || warmPoolName(entry.registered.key) !== undefined) return entry;
    const { manifest, baseDir } = entry.registered;
    const registered = await this.register(manifest, baseDir);
    return 'key' in registered ? { ...entry, registered } : entry;
  }

  private async digestOf(path: string): Promise<string | undefined> {
    const signature = await signatureOf(path);
    if (signature === undefined) return undefined;
    const cached = this.digests.get(path);
    if (cached?.signature === signature) return cached.value;
    const value = createHash('sha256')
      .update(await readFile(path))
      .digest('hex');
    this.digests.set(path, { signature, value });
    return value;
  }

  /** Watches exactly these folders, each by itself: a recursive watch would also hold every folder of node_modules. */
  private follow(folders: readonly string[]): void {
    if (!this.watching) return;
    const wanted = new Set(folders);
    for (const [folder, watcher] of this.watchers) {
      if (wanted.has(folder)) continue;
      watcher.close();
      this.watchers.delete(folder);
    }
    let added = false;
    for (const folder of wanted) {
      if (this.watchers.has(folder)) continue;
      try {
        const watcher = watch(folder, () => this.request(DEBOUNCE_MS));
        watcher.on('error', () => this.unfollow(folder));
        this.watchers.set(folder, watcher);
        added = true;
      } catch (error) {
        // Gone already is no failure of watching.
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue;
        if (!this.watchFailed) {
          this.log.warn(
            { folder },
            `cannot watch, changes are found every ${this.pollMs} ms: ${(error as Error).message}`,
          );
        }
        this.watchFailed = true; // 3
      }
    }
    // What changed between the walk and its watch was seen by neither.
    if (added) this.request(DEBOUNCE_MS);
  }

  private unfollow(folder: string): void {
    this.watchers.get(folder)?.close();
    this.watchers.delete(folder);
    this.request(DEBOUNCE_MS);
  }

  private nameOf(path: string): string {
    return relative(this.root, path);
  }
}

/** Removes what a write that was cut off left. */
async function tidy(path: string): Promise<void> {
  try {
    const { mtimeMs } = await stat(path);
    if (Date.now() - mtimeMs > UNFINISHED_MS) await rm(path, { force: true });
  } catch {
    // It is gone, or this folder is read-only: it does no harm.
  }
}

function warmPool(manifest: WarmPoolManifest, baseDir: string): RegisteredFunction {
  const { namespace, name } = manifest.metadata;
  const asked = asFunction(manifest);
  const pool = settingsOf(manifest);
  const revision = revisionOf(asked.spec, baseDir, '', pool.preload);
  return { key: warmPoolKey(namespace, name), manifest: asked, baseDir, revision, pool };
}

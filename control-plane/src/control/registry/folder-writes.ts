/**
 * Writes to the folder of functions. What is made here gets a file of its own in the root; what stands in a user's file is
 * replaced there, where that holds nothing else: nothing that a person wrote is lost but what was to be replaced.
 *
 * Invariants:
 *  1. One write at a time, each upon a scan that began after the one before.
 *  2. A manifest that the scan would refuse (its handler is no file in the folder) is not written.
 */
import { lstat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { FunctionManifest, ManifestIssue } from '@simmer/protocol/manifest';
import { functionKey } from '@simmer/protocol/names';
import {
  type Accepts,
  type FunctionDocument,
  type FunctionWrite,
  invalidManifest,
  WriteRefused,
} from '@simmer/protocol/registry';
import { createFile, removeFile, replaceFile, textOf } from './manifest-file.ts';
import type { ParsedDocument } from './manifests.ts';

/** What the registry knows, and does, for a write. Paths are absolute. */
export interface FolderWritesPorts {
  readonly root: string;
  /** A scan that begins now. */
  scan(): Promise<void>;
  /** Documents of each file, as they were last read. */
  documents(): Iterable<readonly [path: string, documents: readonly ParsedDocument[]]>;
  /** The file that gave what is in force of a key, where that cannot be read as it stands. */
  keptFrom(key: string): string | undefined;
  /** Why the manifest could not be served from this folder. */
  check(manifest: FunctionManifest, folder: string): Promise<ManifestIssue | undefined>;
  /** The same, of which is known that this file was not removed for a moment only. */
  scanWithout(path: string): Promise<void>;
}

interface Place {
  readonly path: string;
  readonly manifest: FunctionManifest;
  readonly alone: boolean;
}

export class FolderWrites {
  private readonly ports: FolderWritesPorts;
  private last: Promise<unknown> = Promise.resolve();

  constructor(ports: FolderWritesPorts) {
    this.ports = ports;
  }

  /** The file that it was written to. */
  put(write: FunctionWrite): Promise<{ readonly path: string; readonly created: boolean }> {
    const { document, manifest, mayReplace, accepts } = write;
    return this.inTurn(async () => {
      const { name, namespace } = manifest.metadata;
      const key = functionKey(namespace, name);
      const { root, keptFrom } = this.ports;
      const places = this.placesOf(key);
      const kept = keptFrom(key);
      if (!mayReplace && (places.length > 0 || kept !== undefined)) throw exists(key);
      const place = await this.only(key, places, kept);
      if (!accepts(place?.manifest)) throw otherByNow(key);
      const path = place?.path ?? join(root, `${name}.${namespace}.yaml`);
      const issue = await this.ports.check(manifest, dirname(path));
      if (issue) throw invalidManifest([issue]); // 2
      await this.write(path, document, place !== undefined);
      await this.ports.scan();
      return { path, created: place === undefined };
    });
  }

  remove(key: string, accepts: Accepts): Promise<boolean> {
    return this.inTurn(async () => {
      const place = await this.only(key, this.placesOf(key), this.ports.keptFrom(key));
      if (!accepts(place?.manifest)) throw otherByNow(key);
      if (place === undefined) return false;
      await removeFile(place.path);
      await this.ports.scanWithout(place.path);
      return true;
    });
  }

  /** Resolves once no write is under way. */
  async idle(): Promise<void> {
    await this.last;
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.last.then(async () => {
      await this.ports.scan();
      return work();
    });
    this.last = turn.catch(() => {}); // 1
    return turn;
  }

  private async write(path: string, document: FunctionDocument, there: boolean): Promise<void> {
    const text = textOf(path, document);
    if (there) return replaceFile(path, text);
    if (await createFile(path, text)) return;
    throw this.notHere(path, 'is there already, and gives something else');
  }

  private placesOf(key: string): Place[] {
    const places: Place[] = [];
    for (const [path, documents] of this.ports.documents()) {
      for (const document of documents) {
        if (!document.ok || document.manifest.kind !== 'Function') continue;
        const { manifest } = document;
        const { namespace, name } = manifest.metadata;
        if (functionKey(namespace, name) !== key) continue;
        places.push({ path, manifest, alone: documents.length === 1 });
      }
    }
    return places;
  }

  /** Where it stands, if anywhere. @throws where that is no place to write to */
  private async only(
    key: string,
    places: readonly Place[],
    kept: string | undefined,
  ): Promise<Place | undefined> {
    const [place, other] = places;
    if (place === undefined) {
      if (kept !== undefined) throw this.notHere(kept, 'cannot be read as it stands');
      return undefined;
    }
    if (other !== undefined) throw this.notHere(other.path, `gives ${key} as well`);
    if (!place.alone) throw this.notHere(place.path, `holds more than ${key}`);
    const file = await lstat(place.path).catch(() => undefined);
    if (!file?.isFile()) throw this.notHere(place.path, 'is no plain file');
    return place;
  }

  private notHere(path: string, why: string): WriteRefused {
    const file = relative(this.ports.root, path);
    return new WriteRefused('manifest_not_writable', `${file} ${why}: change it there.`);
  }
}

function exists(key: string): WriteRefused {
  return new WriteRefused('function_exists', `There is a function ${key}.`);
}

function otherByNow(key: string): WriteRefused {
  return new WriteRefused('precondition_failed', `${key} is another than If-Match names.`);
}

/**
 * Writes of Function objects through the API server, upon the informer's copy: what was written since is a conflict there, and
 * is decided anew upon the newer copy.
 *
 * Invariants:
 *  1. Only what a manifest says is replaced: finalizers, owners and kubectl's own annotation of the object stay.
 *  2. Nothing is written while another control plane may lead.
 *  3. Whatever the API server says is told as one of our codes, with its words.
 */
import type { FunctionManifest, ManifestIssue } from '@simmer/protocol/manifest';
import { functionKey } from '@simmer/protocol/names';
import {
  type Accepts,
  type FunctionDocument,
  type FunctionWrite,
  invalidManifest,
  WriteRefused,
} from '@simmer/protocol/registry';
import {
  type Api,
  ApiError,
  FUNCTIONS,
  isReason,
  isTransient,
  type KubeObject,
} from '../api/api.ts';
import type { Clock } from '../api/clock.ts';
import type { Informer } from '../api/informer.ts';
import { DRAIN_FINALIZER } from './finalizers.ts';
import { checkObject, LAST_APPLIED } from './resolve.ts';

/** Others write status, finalizers and labels of the same object: seldom twice between a look and a write. */
const TRIES = 5;
/** A change is told by the watch within milliseconds; after this the copy is not current. */
const NEWS_MS = 5_000;
const LOOK_MS = 10;

export interface ObjectWritesOptions {
  readonly api: Api;
  readonly mayWrite: () => boolean;
  readonly clock: Clock;
  /** By namespace. */
  readonly functions: ReadonlyMap<string, Informer>;
}

export class ObjectWrites {
  private readonly options: ObjectWritesOptions;
  /** The last write of each function that is under way: ours take turns, so that only others' are conflicts. */
  private readonly turns = new Map<string, Promise<unknown>>();

  constructor(options: ObjectWritesOptions) {
    this.options = options;
  }

  /** The object as it was stored. @throws {WriteRefused} */
  put(write: FunctionWrite): Promise<{ readonly object: KubeObject; readonly created: boolean }> {
    const { manifest, mayReplace, accepts } = write;
    const { name, namespace } = manifest.metadata;
    return this.attempt(namespace, name, async (seen) => {
      const { api } = this.options;
      if (seen === undefined) {
        if (!accepts(undefined)) throw otherByNow(name);
        try {
          const object = await api.create(FUNCTIONS, namespace, newObject(write));
          return { object, created: true };
        } catch (error) {
          if (!mayReplace && isReason(error, 'AlreadyExists')) throw exists(name);
          throw error;
        }
      }
      if (isLeaving(seen)) {
        throw new WriteRefused('write_conflict', `${name} is being deleted: its pods drain.`);
      }
      if (!mayReplace) throw exists(name);
      if (!accepts(manifestOf(seen))) throw otherByNow(name);
      const object = await api.replace(FUNCTIONS, namespace, replaced(seen, write));
      return { object, created: false };
    });
  }

  /** Undefined where there is none, or one that is being deleted. @throws {WriteRefused} */
  current(namespace: string, name: string): FunctionDocument | undefined {
    if (!this.options.functions.has(namespace)) return undefined;
    const object = this.informerOf(namespace).get(name);
    if (object === undefined || isLeaving(object)) return undefined;
    const { labels, annotations } = object.metadata;
    const kept = Object.entries(annotations ?? {}).filter(([key]) => key !== LAST_APPLIED);
    return {
      apiVersion: object.apiVersion ?? '',
      kind: 'Function',
      metadata: {
        ...{ name, namespace },
        ...(labels && { labels }),
        ...(kept.length > 0 && { annotations: Object.fromEntries(kept) }),
      },
      spec: object['spec'] as FunctionDocument['spec'],
    };
  }

  /** False where there is none. @throws {WriteRefused} */
  async remove(namespace: string, name: string, accepts: Accepts): Promise<boolean> {
    if (!this.options.functions.has(namespace)) return false;
    return this.attempt(namespace, name, async (seen) => {
      if (seen === undefined || isLeaving(seen)) {
        if (!accepts(undefined)) throw otherByNow(name);
        return false;
      }
      if (!accepts(manifestOf(seen))) throw otherByNow(name);
      // Only what was looked at: another of its name is not what the caller meant.
      const { uid = '', resourceVersion = '' } = seen.metadata;
      const only = { uid, resourceVersion };
      return (await this.options.api.remove(FUNCTIONS, namespace, name, only)) || undefined;
    });
  }

  /** Upon the copy as it is; again upon a newer one where that was out of date (undefined, or what the API server says). */
  private attempt<T>(
    namespace: string,
    name: string,
    write: (seen: KubeObject | undefined) => Promise<T | undefined>,
  ): Promise<T> {
    const key = functionKey(namespace, name);
    const before = this.turns.get(key) ?? Promise.resolve();
    const mine = before.then(() => this.tries(namespace, name, write));
    const ended = mine
      .catch(() => {})
      .finally(() => {
        if (this.turns.get(key) === ended) this.turns.delete(key);
      });
    this.turns.set(key, ended);
    return mine;
  }

  private async tries<T>(
    namespace: string,
    name: string,
    write: (seen: KubeObject | undefined) => Promise<T | undefined>,
  ): Promise<T> {
    const informer = this.informerOf(namespace);
    for (let tries = 0; tries < TRIES; tries++) {
      if (!this.options.mayWrite()) {
        throw new WriteRefused('registry_unavailable', 'Another control plane may lead.'); // 2
      }
      const seen = informer.get(name);
      try {
        const done = await write(seen);
        if (done !== undefined) return done;
      } catch (error) {
        if (!isOutdated(error, seen !== undefined)) throw explained(error as Error); // 3
      }
      await this.news(informer, name, seen);
    }
    throw new WriteRefused('write_conflict', `${name} is being written by others.`);
  }

  private informerOf(namespace: string): Informer {
    const { functions } = this.options;
    const informer = functions.get(namespace);
    if (informer === undefined) {
      const reason = `is not among those that are served: ${[...functions.keys()].join(', ')}`;
      throw invalidManifest([{ field: 'metadata.namespace', reason }]);
    }
    if (!informer.synced) {
      const why = informer.problem ?? 'they are not read yet';
      const detail = `The functions of ${namespace} are not known: ${why}.`;
      throw new WriteRefused('registry_unavailable', detail);
    }
    return informer;
  }

  private async news(informer: Informer, name: string, seen: KubeObject | undefined) {
    const { clock } = this.options;
    const end = clock.now() + NEWS_MS;
    while (informer.get(name) === seen) {
      if (clock.now() > end) {
        const detail = `What is known of ${name} is out of date.`;
        throw new WriteRefused('registry_unavailable', detail);
      }
      await new Promise<void>((resolve) => {
        clock.after(LOOK_MS, resolve);
      });
    }
  }
}

/** Deleted already: it is there only until its pods are gone. */
function isLeaving({ metadata }: KubeObject): boolean {
  return metadata.deletionTimestamp !== undefined;
}

/** Undefined where it says nothing valid. */
function manifestOf(object: KubeObject): FunctionManifest | undefined {
  const checked = checkObject(object);
  return checked.ok ? checked.manifest : undefined;
}

function newObject({ document, manifest }: FunctionWrite): KubeObject {
  const { metadata } = manifest;
  return {
    metadata: {
      ...metadata,
      // It may be deleted as soon as it is there.
      finalizers: [DRAIN_FINALIZER],
    },
    spec: document.spec,
  };
}

/** 1 */
function replaced(seen: KubeObject, { document, manifest }: FunctionWrite): KubeObject {
  const { labels, annotations } = manifest.metadata;
  const { managedFields: _, labels: __, annotations: before, ...kept } = seen.metadata;
  const applied = before?.[LAST_APPLIED];
  const all = { ...annotations, ...(applied !== undefined && { [LAST_APPLIED]: applied }) };
  return {
    metadata: { ...kept, ...(labels && { labels }), annotations: all },
    spec: document.spec,
  };
}

/** What was written upon is not what is there (any more). */
function isOutdated(error: unknown, wasThere: boolean): boolean {
  return (
    isReason(error, 'Conflict') ||
    isReason(error, 'AlreadyExists') ||
    // Of one that is new it is the namespace that is not found.
    (isReason(error, 'NotFound') && wasThere)
  );
}

function explained(error: Error): Error {
  if (!(error instanceof ApiError)) return error;
  const { message, reason, causes } = error;
  if (reason === 'Invalid' || reason === 'BadRequest') {
    const issues: readonly ManifestIssue[] = causes.length > 0 ? causes : [unplaced(message)];
    return new WriteRefused('invalid_manifest', message, issues);
  }
  return new WriteRefused(isTransient(error) ? 'registry_unavailable' : 'write_refused', message);
}

const unplaced = (reason: string): ManifestIssue => ({ field: '', reason });

function exists(name: string): WriteRefused {
  return new WriteRefused('function_exists', `There is a function ${name}.`);
}

function otherByNow(name: string): WriteRefused {
  return new WriteRefused('precondition_failed', `${name} is another than If-Match names.`);
}

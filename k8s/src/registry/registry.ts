/**
 * The registry on Kubernetes: Function and WarmPool objects of the namespaces it serves, and what stands in the Secrets and ConfigMaps
 * that they name.
 *
 *   object changes ─┐
 *   contents change ┴─▶ (DEBOUNCE_MS) ─▶ look ─▶ whole snapshot, where it differs
 *   finish(leaving) ──▶ finalizers
 *
 * Invariants:
 *  1. The listener hears only of sets that differ from the one before; a function whose running parts and settings did
 *     not change is the same object in both.
 *  2. A refused object keeps in force what it last said, while it is the same object (UID).
 *  3. A function that is being deleted is in no snapshot; its finalizer goes once the snapshot without it was told
 *     and none of its pods is left.
 *  4. A namespace that may not be read is empty, and the log says why; the others are served.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ManifestIssue } from '@simmer/protocol/manifest';
import { functionKey, warmPoolName } from '@simmer/protocol/names';
import type {
  Accepts,
  Bundles,
  FunctionDocument,
  FunctionWrite,
  RefusedManifest,
  RegisteredFunction,
  Registry,
  RegistrySnapshot,
  Written,
} from '@simmer/protocol/registry';
import { type Api, FUNCTIONS, type KubeLog, type KubeObject, WARM_POOLS } from '../api/api.ts';
import { type Clock, systemClock } from '../api/clock.ts';
import { Informer } from '../api/informer.ts';
import { Contents } from './contents.ts';
import { Finalizers, has } from './finalizers.ts';
import { type Checked, checkObject, keyOf, register, scalerOf, withScaler } from './resolve.ts';
import { ObjectWrites } from './writes.ts';

/** An `apply` of many objects comes as many events: look at them together. */
const DEBOUNCE_MS = 20;

export interface KubernetesRegistryOptions {
  readonly api: Api;
  readonly namespaces: readonly string[];
  readonly log: KubeLog;
  /** The image of functions that name none: part of their revision. */
  readonly stockImage: string;
  /** Uploaded code. */
  readonly bundles: Bundles;
  /** False while another control plane may lead: then nothing is written. */
  readonly mayWrite?: () => boolean;
  /** Removes what was made for a deleted object, by key and UID, before its name is free. */
  readonly cleanUp?: (key: string, uid: string) => Promise<void>;
  readonly clock?: Clock;
}

interface Namespace {
  readonly name: string;
  readonly functions: Informer;
  readonly warmPools: Informer;
  readonly contents: Contents;
}

/** A function as it was last looked at. */
interface Entry {
  readonly uid: string;
  readonly object: KubeObject;
  /** Of the namespace's contents, when it was looked at. */
  readonly contentsVersion: number;
  /** Its namespace has WarmPools. */
  readonly claimable: boolean;
  /** Of the object's own words; a write of its status leaves them alone. */
  readonly words: string;
  readonly checked: Checked;
  /** What is in force; undefined: it never was valid. */
  readonly registered: RegisteredFunction | undefined;
  readonly issues: readonly ManifestIssue[];
}

export class KubernetesRegistry implements Registry {
  private readonly options: KubernetesRegistryOptions;
  private readonly clock: Clock;
  private readonly namespaces: readonly Namespace[];
  private readonly finalizers: Finalizers;
  private readonly writes: ObjectWrites;
  private onSnapshot: (snapshot: RegistrySnapshot) => void = () => {};
  private entries = new Map<string, Entry>();
  private last: RegistrySnapshot | undefined;
  /** UIDs of deleted objects that the listener knows are gone. */
  private toldGone = new Set<string>();
  private timer: { cancel(): void } | undefined;
  private state: 'new' | 'reading' | 'running' | 'closed' = 'new';

  constructor(options: KubernetesRegistryOptions) {
    const { api, log, mayWrite = () => true, cleanUp = async () => {} } = options;
    this.options = options;
    this.clock = options.clock ?? systemClock;
    this.finalizers = new Finalizers({ api, log, mayWrite, cleanUp });
    this.namespaces = options.namespaces.map((name) => {
      const [functions, warmPools] = [FUNCTIONS, WARM_POOLS].map((resource) => {
        const informer = new Informer(api, resource, { namespace: name, log, reduce: withScaler });
        informer.onChange(() => this.lookSoon());
        return informer;
      }) as [Informer, Informer];
      return {
        name,
        functions,
        warmPools,
        contents: new Contents(api, name, log, () => this.lookSoon()),
      };
    });
    this.writes = new ObjectWrites({
      api,
      mayWrite,
      clock: this.clock,
      functions: new Map(this.namespaces.map(({ name, functions }) => [name, functions])),
    });
  }

  async put(write: FunctionWrite): Promise<Written> {
    const { namespace, name } = write.manifest.metadata;
    const { object, created } = await this.writes.put(write);
    return { created, taken: () => this.taken(functionKey(namespace, name), object) };
  }

  remove(key: string, accepts: Accepts): Promise<boolean> {
    const slash = key.indexOf('/');
    return this.writes.remove(key.slice(0, slash), key.slice(slash + 1), accepts);
  }

  async current(key: string): Promise<FunctionDocument | undefined> {
    const slash = key.indexOf('/');
    return this.writes.current(key.slice(0, slash), key.slice(slash + 1));
  }

  async lookAgain(key: string): Promise<Written> {
    await this.options.bundles.prepare(this.named());
    this.look();
    const object = this.object(key);
    return { created: false, taken: () => (object ? this.taken(key, object) : false) };
  }

  private taken(key: string, { metadata }: KubeObject): ReturnType<Written['taken']> {
    const entry = this.entries.get(key);
    if (entry === undefined) return false;
    if (entry.uid === metadata.uid && isOlder(entry.object.metadata, metadata)) return false;
    return entry.issues.length === 0 || entry.issues;
  }

  /** Resolves once every namespace was read (or is known not to be readable), however long the API server is away. */
  async start(onChange: (snapshot: RegistrySnapshot) => void): Promise<void> {
    this.onSnapshot = onChange;
    this.state = 'reading';
    await Promise.all(
      this.namespaces.flatMap(({ functions, warmPools, contents }) => [
        functions.startOrDenied(),
        warmPools.startOrDenied(),
        contents.start(),
      ]),
    );
    await this.options.bundles.prepare(this.named());
    if (this.isClosed()) return;
    this.state = 'running';
    this.look();
  }

  async close(): Promise<void> {
    this.state = 'closed';
    this.timer?.cancel();
    for (const { functions, warmPools, contents } of this.namespaces) {
      functions.stop();
      warmPools.stop();
      contents.stop();
    }
    await this.finalizers.close();
  }

  /** Told about once a second: which deleted functions still have pods. The others' finalizers go. */
  finish(leaving: ReadonlySet<string>): void {
    if (this.state !== 'running') return;
    for (const namespace of this.namespaces) {
      for (const object of objectsOf(namespace)) {
        const { uid = '', deletionTimestamp } = object.metadata;
        if (deletionTimestamp === undefined) {
          if (!has(object)) this.finalizers.want(object, true);
        } else if (this.toldGone.has(uid) && !leaving.has(keyOf(object)) && has(object)) {
          this.finalizers.want(object, false); // 3
        }
      }
    }
  }

  /** The object of a key, as it was last seen: its UID, generation and status. */
  object(key: string): KubeObject | undefined {
    const slash = key.indexOf('/');
    const namespace = this.namespaces.find(({ name }) => name === key.slice(0, slash));
    const warmPool = warmPoolName(key);
    if (warmPool !== undefined) return namespace?.warmPools.get(warmPool);
    return namespace?.functions.get(key.slice(slash + 1));
  }

  /** What is wrong with a key's manifest at present. */
  issues(key: string): readonly ManifestIssue[] {
    return this.entries.get(key)?.issues ?? [];
  }

  /** Keys of all objects that are not being deleted, the refused ones included. */
  keys(): readonly string[] {
    return [...this.entries.keys()];
  }

  /** Milliseconds since the least current of its copies was known to be current. */
  get staleMs(): number {
    const informers = this.namespaces.flatMap((n) => [
      n.functions,
      n.warmPools,
      ...n.contents.informers,
    ]);
    return Math.max(0, ...informers.map((informer) => informer.staleMs));
  }

  private lookSoon(): void {
    if (this.state !== 'running') return;
    this.timer ??= this.clock.after(DEBOUNCE_MS, () => {
      this.timer = undefined;
      this.look();
    });
  }

  private look(): void {
    if (this.isClosed()) return;
    const entries = new Map<string, Entry>();
    const gone = new Set<string>();
    for (const namespace of this.namespaces) {
      const claimable = namespace.warmPools.list().length > 0;
      for (const object of objectsOf(namespace)) {
        const { uid = '', deletionTimestamp } = object.metadata;
        const key = keyOf(object);
        if (deletionTimestamp === undefined) {
          // At once: it may be deleted as soon as it serves.
          if (!has(object)) this.finalizers.want(object, true);
          const before = this.entries.get(key);
          entries.set(key, this.enter(object, namespace.contents, claimable, before));
        } else {
          gone.add(uid); // 3
        }
      }
      namespace.contents.sweep();
    }
    this.entries = entries;
    const snapshot = snapshotOf(entries);
    if (!this.last || !same(this.last, snapshot)) {
      this.last = snapshot;
      this.onSnapshot(snapshot); // 1
    }
    this.toldGone = gone;
    void this.prepare();
  }

  /** Code that is named by now, and is on its way. */
  private async prepare(): Promise<void> {
    if (await this.options.bundles.prepare(this.named())) this.lookSoon();
  }

  /** Digests of uploaded code. */
  private named(): ReadonlySet<string> {
    const digests = new Set<string>();
    for (const { functions } of this.namespaces) {
      for (const { metadata, ...object } of functions.list()) {
        if (metadata.deletionTimestamp !== undefined) continue;
        const { source } = (object['spec'] ?? {}) as { source?: { bundle?: unknown } };
        if (typeof source?.bundle === 'string') digests.add(source.bundle);
      }
    }
    return digests;
  }

  private enter(
    object: KubeObject,
    contents: Contents,
    claimable: boolean,
    given: Entry | undefined,
  ): Entry {
    const { uid = '', labels, annotations } = object.metadata;
    const contentsVersion = contents.version;
    // Of a thousand functions one changes at a time; and the code that one lacks may have come.
    const isKnown =
      given?.object === object &&
      given.contentsVersion === contentsVersion &&
      given.claimable === claimable;
    if (isKnown && given.issues.length === 0) return given;
    const before = given?.uid === uid ? given : undefined;
    const words = JSON.stringify([object['spec'], labels, annotations]);
    const checked = before?.words === words ? before.checked : checkObject(object);
    const refuse = (issues: readonly ManifestIssue[]): Entry => {
      const registered = before?.registered; // 2
      return { uid, object, contentsVersion, claimable, words, checked, registered, issues };
    };
    if (!checked.ok) return refuse(checked.issues);
    const options = { ...this.options, before: before?.registered, claimable };
    const found = register(checked, uid, contents, options);
    if (!('key' in found)) return refuse([found]);
    const scaledBy = scalerOf(object);
    const registered = scaledBy === undefined ? found : { ...found, scaledBy };
    const unchanged =
      before?.registered?.revision === registered.revision &&
      before.registered.manifest === registered.manifest &&
      before.registered.scaledBy === registered.scaledBy &&
      isDeepStrictEqual(before.registered.environment, registered.environment);
    return {
      uid,
      object,
      contentsVersion,
      claimable,
      words,
      checked,
      registered: unchanged ? before.registered : registered, // 1
      issues: [],
    };
  }

  private isClosed(): boolean {
    return this.state === 'closed';
  }
}

function objectsOf({ functions, warmPools }: Namespace): readonly KubeObject[] {
  return [...functions.list(), ...warmPools.list()];
}

/** Versions of one resource are numbers that grow (KEP-5504). */
function isOlder(a: KubeObject['metadata'], b: KubeObject['metadata']): boolean {
  return BigInt(a.resourceVersion ?? 0) < BigInt(b.resourceVersion ?? 0);
}

function shown({ metadata }: KubeObject): string {
  return `${metadata.namespace}/${metadata.name}`;
}

function snapshotOf(entries: ReadonlyMap<string, Entry>): RegistrySnapshot {
  const functions: RegisteredFunction[] = [];
  const refused: RefusedManifest[] = [];
  for (const { object, registered, issues } of entries.values()) {
    if (registered) functions.push(registered);
    if (issues.length > 0) refused.push({ source: `${object.kind} ${shown(object)}`, issues });
  }
  functions.sort((a, b) => (a.key < b.key ? -1 : 1));
  refused.sort((a, b) => (a.source < b.source ? -1 : 1));
  return { functions, refused };
}

function same(a: RegistrySnapshot, b: RegistrySnapshot): boolean {
  return (
    a.functions.length === b.functions.length &&
    a.functions.every((f, i) => f === b.functions[i]) &&
    JSON.stringify(a.refused) === JSON.stringify(b.refused)
  );
}

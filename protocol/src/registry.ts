/** Where functions come from: a folder of manifests, or the API server. Level-triggered: each change brings the whole set. */
import { type ErrorCode, SimmerError } from './errors.ts';
import type { HeaderPairs } from './frames.ts';
import type { FunctionManifest, ManifestIssue } from './manifest.ts';
import type { WarmPoolSettings } from './warm-pool.ts';

/** A function's code, as its pods get it over their sockets: one module, or an archive (bundle.ts). */
export interface FunctionSource {
  /** Name of the module: its suffix says how it is to be read (.js, .mjs, .cjs, .ts). Of an archive: its path there. */
  readonly entry: string;
  /** SHA-256 of the bytes, hex. */
  readonly digest: string;
  readonly bytes: Uint8Array;
}

/** Variables with their values; `secrets` are never logged or written down. */
export interface GivenEnvironment {
  readonly env: HeaderPairs;
  readonly secrets: HeaderPairs;
}

export interface RegisteredFunction {
  /** namespace/name; of a WarmPool: names.ts, `warmPoolKey`. */
  readonly key: string;
  /** What a WarmPool's pods are launched by: warm-pool.ts. */
  readonly manifest: FunctionManifest;
  /** Folder that `spec.handler` is relative to. */
  readonly baseDir: string;
  /**
   * Identifies what its pods run: changes when the handler's code, environment or another field that a running pod
   * cannot take over does. Pods of another revision are replaced.
   */
  readonly revision: string;
  /** Where the manifest gives the code itself instead of naming a file: `spec.source`. */
  readonly source?: FunctionSource;
  /** Of a WarmPool. */
  readonly pool?: WarmPoolSettings;
  /** What `spec.env` comes to, where some of it stands elsewhere; `reason`: why that cannot be told. */
  readonly environment?: GivenEnvironment | { readonly reason: string };
  /** UID of the object that it was read from, where there is one: the owner of what is made for it. */
  readonly uid?: string;
  /** Who set its `minReplicas` from outside, through the scale subresource, where somebody did. */
  readonly scaledBy?: string;
}

/** A manifest that was refused; what it last said, if anything, stays in force. */
export interface RefusedManifest {
  readonly source: string;
  readonly issues: readonly ManifestIssue[];
}

export interface RegistrySnapshot {
  readonly functions: readonly RegisteredFunction[];
  readonly refused: readonly RefusedManifest[];
}

export interface Registry {
  /** Reads everything once, calls `onChange` with it, and again after each change. */
  start(onChange: (snapshot: RegistrySnapshot) => void): Promise<void>;
  close(): Promise<void>;
  /**
   * Stores a function, whole: another of its name is replaced, and a reader or a crash sees the one or the other. Others' writes
   * at the same time are each whole as well; the last one wins.
   * @throws {WriteRefused}
   */
  put(write: FunctionWrite): Promise<Written>;
  /** A function as it is stored, in force or not; undefined where there is none. @throws {WriteRefused} */
  current(key: string): Promise<FunctionDocument | undefined>;
  /** Looks once more at a function that is stored as it is to be: what it names may have come. */
  lookAgain(key: string): Promise<Written>;
  /** Removes a function; false where there is none. @throws {WriteRefused} */
  remove(key: string, accepts: Accepts): Promise<boolean>;
}

/** Where uploaded code is kept; `spec.source.bundle` names it. */
export interface Bundles {
  /** The bytes of this digest (`sha256:<hex>`), which nobody changes; undefined where there are none. */
  get(digest: string): Uint8Array | undefined;
  /** Of these, and of no others, `get` is to have the bytes from here on. Resolves with whether there are new ones; never rejects. */
  prepare(digests: ReadonlySet<string>): Promise<boolean>;
}

export const NO_BUNDLES: Bundles = { get: () => undefined, prepare: async () => false };

/** What `spec.source.bundle` stands for, or why it stands for nothing. */
export function bundleOf(
  bundles: Bundles,
  digest: string,
  entry: string,
): FunctionSource | ManifestIssue {
  const bytes = bundles.get(digest);
  if (bytes === undefined) {
    const reason = `${digest} is not in the store of code: upload it by PUT /v1/functions/{name}/code`;
    return { field: 'spec.source.bundle', reason };
  }
  return { entry, digest: digest.slice('sha256:'.length), bytes };
}

/** A Function's manifest as it is stored: checked, but with nothing filled in that its author left out. */
export interface FunctionDocument {
  readonly apiVersion: string;
  readonly kind: 'Function';
  readonly metadata: FunctionManifest['metadata'];
  readonly spec: Readonly<Record<string, unknown>>;
}

/** Whether what stands there now may be written over. Undefined: nothing does, or nothing valid. */
export type Accepts = (current: FunctionManifest | undefined) => boolean;

export interface FunctionWrite {
  readonly document: FunctionDocument;
  /** The document with its defaults. */
  readonly manifest: FunctionManifest;
  /** False: it is to be a new one (`function_exists`). */
  readonly mayReplace: boolean;
  /** Asked of one that would be replaced, and of none: `precondition_failed`. */
  readonly accepts: Accepts;
}

/** A function that was stored. */
export interface Written {
  readonly created: boolean;
  /** Whether the listener has heard of it (or of what came later); or why it is not in force as it stands. */
  taken(): boolean | readonly ManifestIssue[];
}

/** Nothing was written, or (`registry_unavailable`) perhaps. */
export class WriteRefused extends SimmerError {
  readonly issues: readonly ManifestIssue[];
  constructor(code: ErrorCode, detail: string, issues: readonly ManifestIssue[] = []) {
    super(code, detail);
    this.issues = issues;
  }
}

export function invalidManifest(issues: readonly ManifestIssue[]): WriteRefused {
  const all = issues.map(({ field, reason }) => (field === '' ? reason : `${field}: ${reason}`));
  return new WriteRefused('invalid_manifest', `${all.join('; ')}.`, issues);
}

/** Where functions come from: a folder of manifests, or the API server. Level-triggered: each change brings the whole set. */
import type { FunctionManifest, ManifestIssue } from './manifest.ts';

/** A function's code, as its pods get it over their sockets. */
export interface FunctionSource {
  /** Name of the module: its suffix says how it is to be read (.js, .mjs, .cjs, .ts). */
  readonly entry: string;
  /** SHA-256 of the bytes, hex. */
  readonly digest: string;
  readonly bytes: Uint8Array;
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
  /** UID of the object that it was read from, where there is one: the owner of what is made for it. */
  readonly uid?: string;
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
}

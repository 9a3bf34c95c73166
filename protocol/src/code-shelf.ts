/** Where the store of code keeps bundles: a folder, or ConfigMaps. What may be on it, and what goes, the store decides. */

export interface Shelved {
  /** `sha256:<hex>` */
  readonly digest: string;
  readonly bytes: number;
  /** Epoch milliseconds, as well as that is known. */
  readonly usedAt: number;
}

export interface CodeShelf {
  /** For people. */
  readonly name: string;
  /** All that it may hold. */
  readonly maxBytes: number;
  /** What is there under this digest, whole or not; undefined where nothing is. Absent: it takes longer. @throws where it cannot be read */
  readonly readNow?: (digest: string) => Uint8Array | undefined;
  /** The same. Resolves only once it is known. */
  read(digest: string): Promise<Uint8Array | undefined>;
  list(): Promise<readonly Shelved[]>;
  /** Whole, or not at all. @throws {Error} with why not */
  write(digest: string, bytes: Uint8Array): Promise<void>;
  /** One that is not there is gone. */
  remove(digest: string): Promise<void>;
}

/**
 * What is in force after a scan, from what was in force before and what the files say now. Pure.
 *
 * Invariants:
 *  1. A file with any refused document, or one that cannot be read, takes nothing away: what it gave before and does
 *     not give validly now stays as it was.
 *  2. Of two files that give one key, the first by path has it, and the other is refused.
 *  3. A function that is in no file is removed only when it is still missing CONFIRM_REMOVAL_MS later: editors and
 *     deployments replace files by removing and writing them.
 */
import type { RefusedManifest, RegisteredFunction } from '@simmer/protocol/registry';

/** Longer than a rename or a checkout leaves a file away; short enough that a deletion is seen at once by a person. */
export const CONFIRM_REMOVAL_MS = 250;

/** A function in force, and the file (relative to the root) that gave it. */
export interface Entry {
  readonly registered: RegisteredFunction;
  readonly file: string;
  /** Its manifest is refused at present: this is what it last said. */
  readonly kept: boolean;
  /** When a scan first did not find it. */
  readonly missingSince?: number;
}

/** A valid function document. `source`: file and line. */
export interface Given {
  readonly registered: RegisteredFunction;
  readonly file: string;
  readonly source: string;
}

export interface Merged {
  readonly entries: ReadonlyMap<string, Entry>;
  readonly refused: readonly RefusedManifest[];
  /** Functions wait to be confirmed as removed: scan again after CONFIRM_REMOVAL_MS. */
  readonly removalPending: boolean;
}

/** `isBroken` tells of a file (relative path) whether a document of it was refused or it could not be read. */
export function merge(
  before: ReadonlyMap<string, Entry>,
  given: readonly Given[],
  isBroken: (file: string) => boolean,
  now: number,
): Merged {
  const refused: RefusedManifest[] = [];
  const entries = new Map<string, Entry>();
  const givenBy = new Set(given.map((g) => `${g.file}\n${g.registered.key}`));

  const kept = [...before.entries()].filter(
    ([key, entry]) => isBroken(entry.file) && !givenBy.has(`${entry.file}\n${key}`), // 1
  );
  const candidates = [
    ...given.map((g) => ({ ...g, kept: false })),
    ...kept.map(([, e]) => ({
      registered: e.registered,
      file: e.file,
      source: e.file,
      kept: true,
    })),
  ].sort((a, b) => compare(a.file, b.file));
  for (const candidate of candidates) {
    const { key } = candidate.registered;
    const first = entries.get(key);
    if (first === undefined) {
      entries.set(key, {
        registered: candidate.registered,
        file: candidate.file,
        kept: candidate.kept,
      });
    } else {
      const reason = `${key} is already given by ${first.file}`; // 2
      refused.push({ source: candidate.source, issues: [{ field: 'metadata.name', reason }] });
    }
  }

  let removalPending = false;
  for (const [key, entry] of before) {
    if (entries.has(key)) continue;
    const missingSince = entry.missingSince ?? now;
    if (now - missingSince >= CONFIRM_REMOVAL_MS) continue; // 3
    entries.set(key, { ...entry, missingSince });
    removalPending = true;
  }
  return { entries, refused, removalPending };
}

/** By code unit, the same on every machine. */
export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

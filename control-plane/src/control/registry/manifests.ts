/** The text of a manifest file as checked documents. Pure. */
import { type Manifest, type ManifestIssue, resolveManifest } from '@simmer/protocol/manifest';
import { LineCounter, parseAllDocuments } from 'yaml';

/** One document of a file: what it says, or why it is refused. `line` is where it begins, from 1. */
export type ParsedDocument =
  | {
      readonly ok: true;
      readonly line: number;
      readonly manifest: Manifest;
      /** As it stands, without defaults. */
      readonly given: Readonly<Record<string, unknown>>;
    }
  | { readonly ok: false; readonly line: number; readonly issues: readonly ManifestIssue[] };

/** A manifest is text written by people: one larger than this is no manifest, and parsing it would hold up the thread. */
export const MAX_MANIFEST_BYTES = 4_194_304;

/**
 * Every document of a YAML or JSON file, in order. Empty documents are skipped. Never throws.
 * `path` only tells JSON from YAML: a tree of code holds many JSON files that are none of ours (package.json), so one
 * that never mentions an apiVersion is left alone.
 */
export function parseManifests(path: string, text: string): readonly ParsedDocument[] {
  if (path.endsWith('.json') && !text.includes('"apiVersion"')) return [];
  const lines = new LineCounter();
  const parsed: ParsedDocument[] = [];
  for (const document of parseAllDocuments(text, { lineCounter: lines, prettyErrors: false })) {
    const at = document.contents?.range?.[0] ?? document.range?.[0] ?? 0;
    const line = lines.linePos(at).line || 1;
    const error = document.errors[0];
    if (error) {
      const where = lines.linePos(error.pos[0]);
      const reason = `is not YAML: ${error.message} (line ${where.line}, column ${where.col})`;
      parsed.push({ ok: false, line, issues: [{ field: '', reason }] });
      continue;
    }
    const checked = check(line, () => document.toJS());
    if (checked) parsed.push(checked);
  }
  return parsed;
}

/** Undefined for an empty document. */
function check(line: number, toValue: () => unknown): ParsedDocument | undefined {
  let value: unknown;
  try {
    value = toValue();
  } catch (error) {
    // More aliases than the parser expands: a document that grows when it is read.
    const reason = `cannot be read: ${(error as Error).message}`;
    return { ok: false, line, issues: [{ field: '', reason }] };
  }
  if (value === null || value === undefined) return undefined;
  const resolved = resolveManifest(value);
  return resolved.ok
    ? { ok: true, line, manifest: resolved.manifest, given: value as Record<string, unknown> }
    : { ok: false, line, issues: resolved.issues };
}

/** The body of a write of a function -> the document to store. Pure. */
import { API_VERSION, type FunctionManifest, resolveManifest } from '@simmer/protocol/manifest';
import { type FunctionDocument, invalidManifest } from '@simmer/protocol/registry';
import { parseAllDocuments } from 'yaml';

export interface GivenFunction {
  readonly document: FunctionDocument;
  readonly manifest: FunctionManifest;
}

/** Whom the URL of a PUT names, and what stands there now. */
export interface Target {
  readonly name: string;
  readonly namespace: string;
  /** Labels and annotations that a body without `metadata` leaves as they are. */
  readonly current: FunctionManifest['metadata'] | undefined;
}

/** What a GET shows beside the manifest: it may be put back as it came. */
const SHOWN = ['name', 'namespace', 'urlName', 'status'] as const;

/** @param target of a PUT: its body may leave out all but `spec`. @throws {WriteRefused} `invalid_manifest` */
export function functionOf(body: Uint8Array, target?: Target): GivenFunction {
  const value = parse(Buffer.from(body).toString('utf8'));
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid('', 'The body must be a manifest: apiVersion, kind, metadata and spec');
  }
  const given: Record<string, unknown> = { ...value };
  for (const name of SHOWN) delete given[name];
  if (target) complete(given, target);
  if (given['kind'] !== undefined && given['kind'] !== 'Function') {
    throw invalid('kind', 'must be Function');
  }
  const resolved = resolveManifest(given);
  if (!resolved.ok) throw invalidManifest(resolved.issues);
  const manifest = resolved.manifest as FunctionManifest;
  const { apiVersion, metadata } = manifest;
  if (target) {
    for (const field of ['name', 'namespace'] as const) {
      if (metadata[field] === target[field]) continue;
      throw invalid(`metadata.${field}`, `must be ${target[field]}, as in the URL`);
    }
  }
  const spec = given['spec'] as FunctionDocument['spec'];
  return { document: { apiVersion, kind: 'Function', metadata, spec }, manifest };
}

/** What the URL says already, or the function has. */
function complete(given: Record<string, unknown>, { name, namespace, current }: Target): void {
  const { metadata } = given;
  given['apiVersion'] ??= API_VERSION;
  given['kind'] ??= 'Function';
  if (metadata === undefined) given['metadata'] = { ...current, name, namespace };
  else if (typeof metadata === 'object' && metadata !== null) {
    given['metadata'] = { name, namespace, ...metadata };
  }
}

/** JSON, or one document of YAML. */
function parse(text: string): unknown {
  // Most of JSON is YAML too, but takes twenty times as long to read as such.
  if (/^\s*\{/.test(text)) {
    try {
      return JSON.parse(text);
    } catch {
      // YAML may begin so.
    }
  }
  const documents = parseAllDocuments(text, { prettyErrors: false });
  const [document, ...others] = documents.filter(({ contents }) => contents !== null);
  if (document === undefined) throw invalid('', 'The body is empty');
  const [error] = document.errors;
  if (error) throw invalid('', `The body is neither JSON nor YAML: ${error.message}`);
  if (others.length > 0) throw invalid('', 'The body must hold one manifest');
  try {
    return document.toJS();
  } catch (thrown) {
    // More aliases than the parser expands.
    throw invalid('', `The body cannot be read: ${(thrown as Error).message}`);
  }
}

function invalid(field: string, reason: string) {
  return invalidManifest([{ field, reason }]);
}

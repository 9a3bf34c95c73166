/** What identifies the code and settings that a pod runs. */
import { createHash } from 'node:crypto';
import { isAbsolute, relative, resolve, sep } from 'node:path';
import type { FunctionSpec, ManifestIssue } from '@simmer/protocol/manifest';
import { type Bundles, bundleOf, type FunctionSource } from '@simmer/protocol/registry';
import type { FolderCode } from '../code/folder-code.ts';

/**
 * The revision of a function: changes with whatever a running pod cannot take over. The rest (replicas, queue, times
 * that the control plane keeps) applies at once, with the pods that are there.
 * @param handlerDigest of the handler file's bytes
 * @param preload of a WarmPool
 */
export function revisionOf(
  spec: FunctionSpec,
  baseDir: string,
  handlerDigest: string,
  preload: readonly string[] = [],
): string {
  const running = {
    baseDir,
    handler: spec.handler,
    handlerDigest,
    runtime: spec.runtime,
    backend: spec.backend ?? null,
    image: spec.image ?? null,
    template: spec.template ?? null,
    env: spec.env.map((e) => [e.name, e.value ?? null, e.valueFrom ?? null]),
    // Told to the pod at its launch or in its welcome.
    concurrency: spec.concurrency,
    graceMs: spec.graceMs,
    maxRequestBytes: spec.maxRequestBytes,
    maxResultBytes: spec.maxResultBytes,
    ...(spec.inputSchema && { inputSchema: spec.inputSchema }),
    ...(spec.outputSchema && { outputSchema: spec.outputSchema }),
    ...(preload.length > 0 && { preload }),
  };
  return createHash('sha256').update(JSON.stringify(running)).digest('hex').slice(0, 16);
}

/** The code that the manifest holds or names; or the issue. */
export async function sourceOf(
  spec: FunctionSpec,
  root: string,
  baseDir: string,
  bundles: Bundles,
  folders: FolderCode,
): Promise<FunctionSource | ManifestIssue> {
  const { inline, bundle, folder } = spec.source ?? {};
  if (bundle !== undefined) return bundleOf(bundles, bundle, spec.handler);
  if (folder !== undefined) {
    const field = 'spec.source.folder';
    const path = pathWithin(root, baseDir, folder, field);
    if (typeof path !== 'string') return path;
    const code = await folders.read(path, spec.handler);
    return typeof code === 'string' ? { field, reason: code } : code;
  }
  if (inline === undefined) {
    return { field: 'spec.source.configMap', reason: 'can be read only from the Kubernetes API' };
  }
  const bytes = Buffer.from(inline);
  const digest = createHash('sha256').update(bytes).digest('hex');
  return { entry: spec.handler, digest, bytes };
}

/** The absolute path, or the issue: what a manifest names must lie within the folder of functions. */
export function pathWithin(
  root: string,
  baseDir: string,
  name: string,
  field: string,
): string | ManifestIssue {
  const path = resolve(baseDir, name);
  const fromRoot = relative(root, path);
  if (fromRoot === '..' || fromRoot.startsWith(`..${sep}`) || isAbsolute(fromRoot)) {
    return { field, reason: `must lie within the folder of functions, ${root}` };
  }
  return path;
}

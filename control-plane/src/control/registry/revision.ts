/** What identifies the code and settings that a pod runs. */
import { createHash } from 'node:crypto';
import { isAbsolute, relative, resolve, sep } from 'node:path';
import type { FunctionSpec, ManifestIssue } from '@simmer/protocol/manifest';
import type { FunctionSource } from '@simmer/protocol/registry';

/**
 * The revision of a function: changes with whatever a running pod cannot take over. The rest (replicas, queue, times
 * that the control plane keeps) applies at once, with the pods that are there.
 * @param handlerDigest of the handler file's bytes
 */
export function revisionOf(spec: FunctionSpec, baseDir: string, handlerDigest: string): string {
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
  };
  return createHash('sha256').update(JSON.stringify(running)).digest('hex').slice(0, 16);
}

/** The code that stands in the manifest itself; or the issue. */
export function sourceOf(spec: FunctionSpec): FunctionSource | ManifestIssue {
  const { inline } = spec.source ?? {};
  if (inline === undefined) {
    return { field: 'spec.source.configMap', reason: 'can be read only from the Kubernetes API' };
  }
  const bytes = Buffer.from(inline);
  const digest = createHash('sha256').update(bytes).digest('hex');
  return { entry: spec.handler, digest, bytes };
}

/** The handler's absolute path, or the issue: it must lie within the folder of functions. */
export function handlerPath(
  root: string,
  baseDir: string,
  handler: string,
): string | ManifestIssue {
  const path = resolve(baseDir, handler);
  const fromRoot = relative(root, path);
  if (fromRoot === '..' || fromRoot.startsWith(`..${sep}`) || isAbsolute(fromRoot)) {
    return { field: 'spec.handler', reason: `must lie within the folder of functions, ${root}` };
  }
  return path;
}

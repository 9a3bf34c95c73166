/**
 * Has the server serve a bundle: the function is made, or its manifest replaced, to name the bundle, which is then uploaded. Until it
 * serves, what was there goes on.
 */
import type { Problem } from '@simmer/protocol/errors';
import { EXIT, Failure } from '../failure.ts';
import type { Server } from '../server.ts';
import type { Bundle } from './bundle.ts';
import type { Project, Spec } from './project.ts';

/** Of a function that nothing but its code is known of: one pod stays warm, so that the answer tells whether the code loads. */
const NEW: Spec = { minReplicas: 1 };

interface FunctionView {
  readonly spec: Spec;
  readonly waitsFor?: string;
}

export async function deploy(
  server: Server,
  { name, manifest }: Pick<Project, 'name' | 'manifest'>,
  bundle: Bundle,
  waitS: number,
  signal?: AbortSignal,
): Promise<void> {
  const path = `/v1/functions/${encodeURIComponent(name)}`;
  const current = await functionAt(server, path, signal);
  const { source: _, ...kept } = manifest?.spec ?? current?.spec ?? NEW;
  // Without a manifest only the code is to be another one.
  if (manifest !== undefined || current?.spec['handler'] !== bundle.handler) {
    const spec = { ...kept, handler: bundle.handler, source: { bundle: bundle.digest } };
    await putSpec(server, path, { ...metadataOf(manifest?.metadata), spec }, signal);
  }
  const hash = Buffer.from(bundle.digest.slice('sha256:'.length), 'hex').toString('base64');
  const answer = (await server.call(`${path}/code`, {
    method: 'PUT',
    query: { wait: String(waitS) },
    headers: { 'content-type': bundle.contentType, 'content-digest': `sha-256=:${hash}:` },
    body: bundle.bytes,
    signal,
  })) as FunctionView;
  if (answer.waitsFor !== undefined) {
    const message = `${name} does not serve yet: it waits for ${answer.waitsFor}`;
    throw new Failure(EXIT.timedOut, message, answer);
  }
}

async function functionAt(
  server: Server,
  path: string,
  signal: AbortSignal | undefined,
): Promise<FunctionView | undefined> {
  try {
    return (await server.call(path, { signal })) as FunctionView;
  } catch (error) {
    if (error instanceof Failure && error.exitCode === EXIT.notFound) return undefined;
    throw error;
  }
}

/** Its name is the URL's. */
function metadataOf(metadata: object | undefined): { metadata?: object } {
  const { name: _, namespace: __, ...rest } = (metadata ?? {}) as Record<string, unknown>;
  return Object.keys(rest).length === 0 ? {} : { metadata: rest };
}

/** Applied, though its code is not there yet: that is all that may be wrong with it. */
async function putSpec(
  server: Server,
  path: string,
  body: object,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    await server.call(path, {
      ...{ method: 'PUT', query: { wait: 'false' }, body: JSON.stringify(body), signal },
    });
  } catch (error) {
    const { json } = error as { json?: Partial<Problem> };
    const { code, issues = [] } = json ?? {};
    const waitsForCode =
      code === 'function_not_ready' &&
      issues.length > 0 &&
      issues.every(({ field }) => field === 'spec.source.bundle');
    if (!waitsForCode) throw error;
  }
}

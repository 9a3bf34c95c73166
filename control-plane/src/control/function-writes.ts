/**
 * `POST`, `PUT` and `DELETE /v1/functions`: through the registry, and answered when the change serves, or with the reason why
 * it does not.
 *
 *   body ──▶ checked ──▶ stored ──▶ taken over ──▶ known to the scheduler ──▶ a pod of it is ready ──▶ answered
 *               │           │            └──────────────── wait passed ────────────┘──▶ 202, with what is missing
 *               └───────────┴─▶ refused: nothing changed
 *
 * Invariants:
 *  1. What was stored stays stored, whatever the answer: a function that does not serve is answered so, and kept.
 *  2. The scheduler hears of the change before the answer does: its messages come in order.
 */
import { createHash } from 'node:crypto';
import { type ErrorCode, problem } from '@simmer/protocol/errors';
import type { FunctionManifest, ManifestIssue } from '@simmer/protocol/manifest';
import { functionKey, keyOfUrlName, urlNameOfKey } from '@simmer/protocol/names';
import { type Accepts, type Registry, WriteRefused, type Written } from '@simmer/protocol/registry';
import { may } from '../shared/caller.ts';
import { clip } from '../shared/clip.ts';
import type { HttpRequestMessage, HttpResponseMessage } from '../shared/messages.ts';
import { MAX_WAIT_S, writeWaitMs } from '../shared/write-wait.ts';
import type { Clock } from './clock.ts';
import { functionOf, type GivenFunction } from './function-body.ts';
import type { Log } from './log.ts';
import { isComing, isCurrent, type Pool } from './pools/pool.ts';

/** How often a write that waits looks: short beside what a pod takes to get ready. */
const LOOK_MS = 20;

export interface FunctionWritesOptions {
  readonly registry: Pick<Registry, 'put' | 'remove'>;
  readonly pools: { pool(key: string): Pool | undefined };
  /** How a function is shown. */
  readonly show: (pool: Pool) => object;
  readonly clock: Clock;
  readonly log: Log;
}

/** How far a change has come. */
type Progress =
  | { readonly state: 'serves' }
  | { readonly state: 'waits'; readonly for: string }
  | { readonly state: 'fails'; readonly why: string; readonly issues: readonly ManifestIssue[] };

export class FunctionWrites {
  private readonly options: FunctionWritesOptions;
  private draining = false;

  constructor(options: FunctionWritesOptions) {
    this.options = options;
  }

  static takes({ method, path }: Pick<HttpRequestMessage, 'method' | 'path'>): boolean {
    return method !== 'GET' && method !== 'HEAD' && /^\/v1\/functions(\/[^/]*)?$/.test(path);
  }

  /** This process launches no more pods: what waits is answered with what is missing. */
  drain(): void {
    this.draining = true;
  }

  /** Never rejects. */
  async answer(request: HttpRequestMessage): Promise<HttpResponseMessage> {
    try {
      const waitMs = writeWaitMs(request.query);
      if (waitMs === undefined) {
        const detail = `wait must be true, false or a whole number of seconds up to ${MAX_WAIT_S}.`;
        return fail(request, 'invalid_query', detail);
      }
      const [urlName] = request.path.split('/').slice(3);
      if (urlName === undefined) return await this.post(request, waitMs);
      const key = keyOfUrlName(urlName);
      if (key === undefined) {
        const detail = `${JSON.stringify(clip(urlName))} is not a function name.`;
        return fail(request, 'invalid_function_name', detail);
      }
      if (request.method === 'DELETE') return await this.delete(request, key, urlName, waitMs);
      return await this.put(request, key, waitMs);
    } catch (error) {
      return this.refused(request, error as Error);
    }
  }

  // ---- the three -----------------------------------------------------------------------------------------------------

  private post(request: HttpRequestMessage, waitMs: number): Promise<HttpResponseMessage> {
    const given = functionOf(request.body ?? EMPTY);
    return this.store(request, given, false, waitMs);
  }

  private put(
    request: HttpRequestMessage,
    key: string,
    waitMs: number,
  ): Promise<HttpResponseMessage> {
    const slash = key.indexOf('/');
    const given = functionOf(request.body ?? EMPTY, {
      namespace: key.slice(0, slash),
      name: key.slice(slash + 1),
      current: this.options.pools.pool(key)?.registered.manifest.metadata,
    });
    return this.store(request, given, true, waitMs);
  }

  private async delete(
    request: HttpRequestMessage,
    key: string,
    urlName: string,
    waitMs: number,
  ): Promise<HttpResponseMessage> {
    const { registry, pools } = this.options;
    mustCover(request, key);
    const before = pools.pool(key);
    if (!(await registry.remove(key, acceptsOf(request)))) return notFound(request, urlName);
    this.log(request, key, 'function deleted by request');
    const progress = await this.follow(waitMs, () =>
      before !== undefined && pools.pool(key) === before
        ? { state: 'waits', for: 'the function to be taken out of service' }
        : SERVES,
    );
    if (progress.state === 'serves') return respond(request, 204, '');
    return this.pending(request, {}, progress, []);
  }

  private async store(
    request: HttpRequestMessage,
    { document, manifest }: GivenFunction,
    mayReplace: boolean,
    waitMs: number,
  ): Promise<HttpResponseMessage> {
    const { name, namespace } = manifest.metadata;
    const key = functionKey(namespace, name);
    mustCover(request, key);
    const write = { document, manifest, mayReplace, accepts: acceptsOf(request) };
    const written = await this.options.registry.put(write);
    const { created } = written;
    this.log(request, key, `function ${created ? 'created' : 'replaced'} by request`);
    const progress = await this.follow(waitMs, () => this.progressOf(key, written));
    const headers: [string, string][] = [['etag', etagOf(manifest)]];
    if (created) headers.push(['location', `/v1/functions/${urlNameOfKey(key)}`]);
    if (progress.state === 'fails') {
      const detail = `The change is applied, but does not serve: ${progress.why}`;
      return fail(request, 'function_not_ready', detail, progress.issues);
    }
    const pool = this.options.pools.pool(key);
    const shown = pool ? this.options.show(pool) : { ...manifest, ...namesOf(key) };
    if (progress.state === 'waits') return this.pending(request, shown, progress, headers);
    return respond(request, created ? 201 : 200, shown, headers);
  }

  // ---- whether it serves ---------------------------------------------------------------------------------------------

  private progressOf(key: string, written: Written): Progress {
    const taken = written.taken();
    if (taken === false) return { state: 'waits', for: 'the registry to tell of the change' };
    if (taken !== true) {
      const why = taken.map(({ field, reason }) => `${field}: ${reason}`).join('; ');
      return { state: 'fails', why: `${why}.`, issues: taken };
    }
    const pool = this.options.pools.pool(key);
    // Others have deleted it since.
    if (pool === undefined) return { state: 'waits', for: 'the function to be registered' };
    if (pool.registered.manifest.spec.minReplicas === 0) return SERVES;
    const pods = [...pool.pods.values()].filter((pod) => isCurrent(pool, pod));
    if (pods.some(({ kind, phase }) => kind === 'pool' && phase.name === 'ready')) return SERVES;
    const { lastFailure } = pool;
    if (lastFailure) {
      return { state: 'fails', why: `${lastFailure.code}: ${lastFailure.message}`, issues: [] };
    }
    const stuck = pods.find((pod) => pod.stuck)?.stuck;
    const coming = pods.filter(isComing).length;
    const how = stuck ? `: ${stuck.reason}` : `; ${coming} on the way`;
    return { state: 'waits', for: `a pod of revision ${pool.registered.revision}${how}` };
  }

  /** Until it serves or fails, or the time has passed. */
  private async follow(waitMs: number, look: () => Progress): Promise<Progress> {
    const { clock } = this.options;
    const end = clock.now() + waitMs;
    for (;;) {
      const progress = look();
      if (progress.state !== 'waits' || clock.now() >= end || this.draining) return progress;
      await new Promise<void>((resolve) => {
        clock.after(Math.min(LOOK_MS, end - clock.now()), resolve);
      });
    }
  }

  // ---- answers -------------------------------------------------------------------------------------------------------

  private pending(
    request: HttpRequestMessage,
    shown: object,
    progress: Progress,
    headers: readonly [string, string][],
  ): HttpResponseMessage {
    const waitsFor = progress.state === 'waits' ? progress.for : '';
    return respond(request, 202, { ...shown, waitsFor }, headers);
  }

  private refused(request: HttpRequestMessage, error: Error): HttpResponseMessage {
    const { code, message } = error as WriteRefused;
    const { executionId, method, path } = request;
    if (!(error instanceof WriteRefused)) {
      this.options.log.error({ executionId, err: error }, `${method} ${path} failed: ${message}`);
      return fail(request, 'internal_error', 'The log has a line with this execution id.');
    }
    // Of these an operator has to know.
    if (OPERATORS.has(code)) {
      this.options.log.warn({ executionId, code }, `${method} ${path} refused: ${message}`);
    }
    return fail(request, code, message, error.issues);
  }

  private log({ executionId, caller }: HttpRequestMessage, key: string, message: string): void {
    this.options.log.info({ function: key, executionId, caller: caller.id }, message);
  }
}

const EMPTY = new Uint8Array();
const SERVES: Progress = { state: 'serves' };
const OPERATORS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'registry_read_only',
  'registry_unavailable',
  'write_refused',
]);

/** Changes with whatever of the function a PUT can change. */
export function etagOf(manifest: FunctionManifest): string {
  return `"${createHash('sha256').update(canonical(manifest)).digest('hex').slice(0, 16)}"`;
}

/** JSON with sorted names: the API server sorts them, people do not. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => {
    if (typeof part !== 'object' || part === null || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

/** @throws where the caller may not write this function, whether it is there or not */
function mustCover({ caller }: HttpRequestMessage, key: string): void {
  if (may(caller, ['write'], key)) return;
  const detail = `The credentials do not cover writes of ${urlNameOfKey(key)}.`;
  throw new WriteRefused('forbidden', detail);
}

/** RFC 9110, 13.1.1: `*` is whatever there is. */
function acceptsOf({ ifMatch }: HttpRequestMessage): Accepts {
  if (ifMatch === '') return () => true;
  const tags = ifMatch.split(',').map((tag) => tag.trim());
  return (current) =>
    current !== undefined && (tags.includes('*') || tags.includes(etagOf(current)));
}

function namesOf(key: string) {
  const slash = key.indexOf('/');
  return {
    name: key.slice(slash + 1),
    namespace: key.slice(0, slash),
    urlName: urlNameOfKey(key),
  };
}

function notFound(request: HttpRequestMessage, urlName: string): HttpResponseMessage {
  return fail(request, 'function_not_found', `There is no function ${urlName}.`);
}

function fail(
  request: HttpRequestMessage,
  code: ErrorCode,
  detail: string,
  issues: readonly ManifestIssue[] = [],
): HttpResponseMessage {
  const { executionId } = request;
  const body = problem(code, detail, { executionId, ...(issues.length > 0 && { issues }) });
  const answer = respond(request, body.status, body);
  return { ...answer, contentType: 'application/problem+json' };
}

function respond(
  { requestId }: HttpRequestMessage,
  status: number,
  value: object | '',
  headers: readonly [string, string][] = [],
): HttpResponseMessage {
  const contentType = value === '' ? '' : 'application/json';
  const body = value === '' ? '' : `${JSON.stringify(value)}\n`;
  return { type: 'http-response', requestId, status, contentType, headers, body };
}

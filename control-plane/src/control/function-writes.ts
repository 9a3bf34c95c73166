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
import type { ErrorCode } from '@simmer/protocol/errors';
import { SimmerError } from '@simmer/protocol/errors';
import type { FunctionManifest, ManifestIssue } from '@simmer/protocol/manifest';
import { functionKey, urlNameOfKey } from '@simmer/protocol/names';
import { type Registry, WriteRefused, type Written } from '@simmer/protocol/registry';
import type { HttpRequestMessage, HttpResponseMessage } from '../shared/messages.ts';
import type { Clock } from './clock.ts';
import { functionOf, type GivenFunction } from './function-body.ts';
import type { Log } from './log.ts';
import { isComing, isCurrent, type Pool } from './pools/pool.ts';
import {
  acceptsOf,
  etagOf,
  fail,
  mustCover,
  namedIn,
  notFound,
  respond,
  waitMsOf,
} from './write-answers.ts';

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
  answer(request: HttpRequestMessage): Promise<HttpResponseMessage> {
    return this.guarded(request, async () => {
      const waitMs = waitMsOf(request);
      if (request.method === 'POST') return this.post(request, waitMs);
      const { key, urlName } = namedIn(request);
      if (request.method === 'DELETE') return this.delete(request, key, urlName, waitMs);
      return this.put(request, key, waitMs);
    });
  }

  /** What `work` answers, or why nothing was done. Never rejects. */
  async guarded(
    request: HttpRequestMessage,
    work: () => Promise<HttpResponseMessage>,
  ): Promise<HttpResponseMessage> {
    try {
      return await work();
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
    this.log(request, key, `function ${written.created ? 'created' : 'replaced'} by request`);
    return this.serve(request, manifest, written, waitMs);
  }

  /** The answer to what was written, once it serves, fails, or the time has passed. */
  async serve(
    request: HttpRequestMessage,
    manifest: FunctionManifest,
    written: Written,
    waitMs: number,
  ): Promise<HttpResponseMessage> {
    const { name, namespace } = manifest.metadata;
    const key = functionKey(namespace, name);
    const { created } = written;
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
    const { code, message } = error as SimmerError;
    const { executionId, method, path } = request;
    if (!(error instanceof SimmerError)) {
      this.options.log.error({ executionId, err: error }, `${method} ${path} failed: ${message}`);
      return fail(request, 'internal_error', 'The log has a line with this execution id.');
    }
    // Of these an operator has to know.
    if (OPERATORS.has(code)) {
      this.options.log.warn({ executionId, code }, `${method} ${path} refused: ${message}`);
    }
    return fail(request, code, message, error instanceof WriteRefused ? error.issues : []);
  }

  log({ executionId, caller }: HttpRequestMessage, key: string, message: string): void {
    this.options.log.info({ function: key, executionId, caller: caller.id }, message);
  }
}

const EMPTY = new Uint8Array();
const SERVES: Progress = { state: 'serves' };
const OPERATORS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'registry_read_only',
  'registry_unavailable',
  'write_refused',
  'code_store_full',
  'code_store_unavailable',
]);

function namesOf(key: string) {
  const slash = key.indexOf('/');
  return {
    name: key.slice(slash + 1),
    namespace: key.slice(0, slash),
    urlName: urlNameOfKey(key),
  };
}

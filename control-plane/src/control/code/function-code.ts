/**
 * `PUT` and `GET /v1/functions/{name}/code`: a function's code as its body.
 *
 *   body ──▶ digest ──▶ checked ──▶ in the store ──▶ named by the function ──▶ (function-writes.ts) ──▶ answered
 *
 * Invariants:
 *  1. The function names only what the store has by then; of two uploads at once each is whole, and the last one wins.
 *  2. What was stored and is named by no function (the write was refused) makes way when others need its place.
 */
import { BundleError, isArchive } from '@simmer/protocol/bundle';
import { SimmerError } from '@simmer/protocol/errors';
import { type FunctionManifest, resolveManifest } from '@simmer/protocol/manifest';
import {
  type FunctionDocument,
  invalidManifest,
  type Registry,
  WriteRefused,
  type Written,
} from '@simmer/protocol/registry';
import { may } from '../../shared/caller.ts';
import type { HttpRequestMessage, HttpResponseMessage } from '../../shared/messages.ts';
import type { FunctionWrites } from '../function-writes.ts';
import type { Pool } from '../pools/pool.ts';
import {
  acceptsOf,
  etagOf,
  fail,
  mustCover,
  namedIn,
  notFound,
  waitMsOf,
} from '../write-answers.ts';
import { checkBundle, digestOf } from './check.ts';
import type { CodeStore } from './store.ts';

export interface FunctionCodeOptions {
  readonly registry: Pick<Registry, 'put' | 'current' | 'lookAgain'>;
  readonly pools: { pool(key: string): Pool | undefined };
  readonly writes: FunctionWrites;
  readonly store: CodeStore;
}

/** Others write the function, too: seldom twice between a look and a write. */
const TRIES = 5;

const ARCHIVE_TYPES = new Set(['application/gzip', 'application/x-gzip']);
const MODULE_TYPES = new Set(['application/javascript', 'text/javascript']);

export class FunctionCode {
  private readonly options: FunctionCodeOptions;

  constructor(options: FunctionCodeOptions) {
    this.options = options;
  }

  static takes({ path }: Pick<HttpRequestMessage, 'path'>): boolean {
    return /^\/v1\/functions\/[^/]*\/code$/.test(path);
  }

  /** Never rejects. */
  answer(request: HttpRequestMessage): Promise<HttpResponseMessage> {
    return this.options.writes.guarded(request, () =>
      request.method === 'PUT' ? this.put(request) : this.get(request),
    );
  }

  private async get(request: HttpRequestMessage): Promise<HttpResponseMessage> {
    const { key, urlName } = namedIn(request);
    const pool = this.options.pools.pool(key);
    if (pool === undefined || !may(request.caller, [], key)) return notFound(request, urlName);
    const { source } = pool.registered;
    if (source === undefined) {
      return fail(request, 'code_not_found', `${urlName} has no code that is kept here.`);
    }
    const { requestId } = request;
    const contentType = isArchive(source.bytes)
      ? 'application/gzip'
      : 'text/javascript; charset=utf-8';
    const digest = Buffer.from(source.digest, 'hex').toString('base64');
    const headers: [string, string][] = [['content-digest', `sha-256=:${digest}:`]];
    const body = source.bytes;
    return { type: 'http-response', requestId, status: 200, contentType, headers, body };
  }

  private async put(request: HttpRequestMessage): Promise<HttpResponseMessage> {
    const { registry, store, writes } = this.options;
    const waitMs = waitMsOf(request);
    const { key, urlName } = namedIn(request);
    mustCover(request, key);
    const bytes = request.body ?? new Uint8Array();
    mustBeAsTyped(request, bytes);
    const document = await registry.current(key);
    if (document === undefined) return notFound(request, urlName);
    const digest = await digestOf(bytes);
    mustBeAsDigested(request, digest);
    const { manifest } = withBundle(document, digest);
    try {
      await checkBundle(bytes, manifest.spec.handler);
    } catch (error) {
      if (!(error instanceof BundleError)) throw error;
      throw new SimmerError('invalid_bundle', `The code cannot be used: ${error.message}.`);
    }
    return store.putFor(digest, bytes, async () => {
      const named = await this.name(request, key, digest);
      if (named === undefined) return notFound(request, urlName);
      writes.log(request, key, 'code uploaded by request');
      return writes.serve(request, named.manifest, named.written, waitMs);
    });
  }

  /** Has the function name the digest; undefined where there is none by now. */
  private async name(
    request: HttpRequestMessage,
    key: string,
    digest: string,
  ): Promise<{ manifest: FunctionManifest; written: Written } | undefined> {
    const { registry } = this.options;
    const accepts = acceptsOf(request);
    for (let tries = 0; tries < TRIES; tries++) {
      const current = await registry.current(key);
      if (current === undefined) return undefined;
      const before = etagOf(resolved(current));
      if (!accepts(resolved(current))) {
        throw new WriteRefused('precondition_failed', `${key} is another than If-Match names.`);
      }
      const { document, manifest } = withBundle(current, digest);
      // Its manifest came before its code: there is nothing to write.
      if (etagOf(manifest) === before) return { manifest, written: await registry.lookAgain(key) };
      try {
        const written = await registry.put({
          ...{ document, manifest, mayReplace: true },
          accepts: (now) => now !== undefined && etagOf(now) === before,
        });
        return { manifest, written };
      } catch (error) {
        const isAnother = (error as Partial<SimmerError>).code === 'precondition_failed';
        if (!isAnother || tries + 1 === TRIES) throw error;
      }
    }
    throw new WriteRefused('write_conflict', `${key} is being written by others.`);
  }
}

/** @throws {WriteRefused} `invalid_manifest` */
function resolved(document: FunctionDocument): FunctionManifest {
  const checked = resolveManifest(document);
  if (!checked.ok) throw invalidManifest(checked.issues);
  return checked.manifest as FunctionManifest;
}

function withBundle(current: FunctionDocument, digest: string) {
  const document = { ...current, spec: { ...current.spec, source: { bundle: digest } } };
  return { document, manifest: resolved(document) };
}

/** @throws {SimmerError} `unsupported_media_type`, `invalid_bundle` */
function mustBeAsTyped({ contentType }: HttpRequestMessage, bytes: Uint8Array): void {
  const type = contentType.split(';', 1)[0]?.trim().toLowerCase() ?? '';
  if (!ARCHIVE_TYPES.has(type) && !MODULE_TYPES.has(type)) {
    const detail = 'The Content-Type must be text/javascript, or application/gzip for an archive.';
    throw new SimmerError('unsupported_media_type', detail);
  }
  if (ARCHIVE_TYPES.has(type) === isArchive(bytes)) return;
  const what = isArchive(bytes) ? 'gzip' : 'no gzip';
  throw new SimmerError('invalid_bundle', `The body is ${what}, and its Content-Type is ${type}.`);
}

/** RFC 9530: of several digests the one that is known here counts. @throws {SimmerError} `digest_mismatch` */
function mustBeAsDigested({ contentDigest }: HttpRequestMessage, digest: string): void {
  if (contentDigest === '') return;
  const hex = digest.slice('sha256:'.length);
  const wanted = `:${Buffer.from(hex, 'hex').toString('base64')}:`;
  for (const item of contentDigest.split(',')) {
    const [name = '', ...value] = item.trim().split('=');
    if (name.toLowerCase() !== 'sha-256') continue;
    if (value.join('=') === wanted) continue;
    throw new SimmerError('digest_mismatch', `The body's digest is sha-256=${wanted}.`);
  }
}

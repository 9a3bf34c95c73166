/** What writes of functions and of their code share: what a request asks for, and how it is answered. */
import { createHash } from 'node:crypto';
import { type ErrorCode, problem } from '@simmer/protocol/errors';
import type { FunctionManifest, ManifestIssue } from '@simmer/protocol/manifest';
import { keyOfUrlName, urlNameOfKey } from '@simmer/protocol/names';
import { type Accepts, WriteRefused } from '@simmer/protocol/registry';
import { may } from '../shared/caller.ts';
import { clip } from '../shared/clip.ts';
import type { HttpRequestMessage, HttpResponseMessage } from '../shared/messages.ts';
import { MAX_WAIT_S, writeWaitMs } from '../shared/write-wait.ts';

/** @throws {WriteRefused} `invalid_query` */
export function waitMsOf({ query }: HttpRequestMessage): number {
  const waitMs = writeWaitMs(query);
  if (waitMs !== undefined) return waitMs;
  const detail = `wait must be true, false or a whole number of seconds up to ${MAX_WAIT_S}.`;
  throw new WriteRefused('invalid_query', detail);
}

/** The function's key and its name in URLs. @throws {WriteRefused} `invalid_function_name` */
export function namedIn({ path }: HttpRequestMessage): { key: string; urlName: string } {
  const [urlName = ''] = path.split('/').slice(3);
  const key = keyOfUrlName(urlName);
  if (key !== undefined) return { key, urlName };
  const detail = `${JSON.stringify(clip(urlName))} is not a function name.`;
  throw new WriteRefused('invalid_function_name', detail);
}

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
export function mustCover({ caller }: HttpRequestMessage, key: string): void {
  if (may(caller, ['write'], key)) return;
  const detail = `The credentials do not cover writes of ${urlNameOfKey(key)}.`;
  throw new WriteRefused('forbidden', detail);
}

/** RFC 9110, 13.1.1: `*` is whatever there is. */
export function acceptsOf({ ifMatch }: HttpRequestMessage): Accepts {
  if (ifMatch === '') return () => true;
  const tags = ifMatch.split(',').map((tag) => tag.trim());
  return (current) =>
    current !== undefined && (tags.includes('*') || tags.includes(etagOf(current)));
}

export function notFound(request: HttpRequestMessage, urlName: string): HttpResponseMessage {
  return fail(request, 'function_not_found', `There is no function ${urlName}.`);
}

export function fail(
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

export function respond(
  { requestId }: HttpRequestMessage,
  status: number,
  value: object | '',
  headers: readonly [string, string][] = [],
): HttpResponseMessage {
  const contentType = value === '' ? '' : 'application/json';
  const body = value === '' ? '' : `${JSON.stringify(value)}\n`;
  return { type: 'http-response', requestId, status, contentType, headers, body };
}

/**
 * The operations of the public port: method, path, and what a caller must be allowed to do for it. Plain data, so that the
 * server's routing, its access checks and the OpenAPI document cannot disagree.
 */

/** What a caller may be allowed: call functions; look at what there is; change it. */
export const SCOPES = ['invoke', 'read', 'write'] as const;
export type Scope = (typeof SCOPES)[number];

/** Which part of the server answers. `control`: the control thread; `stream`: what upgrades to a WebSocket. */
export type AnsweredBy = 'invocation' | 'executions' | 'dead-letters' | 'control' | 'stream';

export interface Operation {
  /** `ANY`: each of HTTP's. */
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE' | 'ANY';
  /** `{x}` is one segment, or a part of one; `{x...}` the rest. */
  readonly path: string;
  /** The caller needs one of these. Empty: nothing. */
  readonly scopes: readonly Scope[];
  readonly by: AnsweredBy;
  /**
   * A request body is read, up to MAX_OPERATION_BODY_BYTES, or where it is code the configured `max-bundle-bytes`; that of an invocation is
   * the function's matter.
   */
  readonly takesBody?: true | 'code';
}

/** A manifest with its code, at most. */
export const MAX_OPERATION_BODY_BYTES = 1_048_576;

export const OPERATIONS: readonly Operation[] = [
  {
    method: 'POST',
    path: '/v1/functions/{name}:invoke',
    scopes: ['invoke'],
    by: 'invocation',
  },
  {
    method: 'POST',
    path: '/v1/functions/{name}:enqueue',
    scopes: ['invoke'],
    by: 'invocation',
  },
  { method: 'ANY', path: '/fn/{name}/{path...}', scopes: ['invoke'], by: 'invocation' },
  { method: 'GET', path: '/v1/functions', scopes: ['read'], by: 'control' },
  { method: 'GET', path: '/v1/functions/{name}', scopes: ['read'], by: 'control' },
  {
    method: 'GET',
    path: '/v1/functions/{name}/callback-key',
    scopes: ['write'],
    by: 'control',
  },
  { method: 'POST', path: '/v1/functions', scopes: ['write'], by: 'control', takesBody: true },
  {
    method: 'PUT',
    path: '/v1/functions/{name}',
    scopes: ['write'],
    by: 'control',
    takesBody: true,
  },
  { method: 'GET', path: '/v1/functions/{name}/code', scopes: ['read'], by: 'control' },
  {
    method: 'PUT',
    path: '/v1/functions/{name}/code',
    scopes: ['write'],
    by: 'control',
    takesBody: 'code',
  },
  { method: 'DELETE', path: '/v1/functions/{name}', scopes: ['write'], by: 'control' },
  { method: 'GET', path: '/v1/pools', scopes: ['read'], by: 'control' },
  { method: 'GET', path: '/v1/pools/{name}', scopes: ['read'], by: 'control' },
  { method: 'GET', path: '/v1/executions', scopes: ['invoke', 'read'], by: 'executions' },
  { method: 'GET', path: '/v1/executions/{id}', scopes: ['invoke', 'read'], by: 'executions' },
  {
    method: 'GET',
    path: '/v1/executions/{id}/logs',
    scopes: ['invoke', 'read'],
    by: 'executions',
  },
  { method: 'DELETE', path: '/v1/executions/{id}', scopes: ['invoke', 'write'], by: 'executions' },
  { method: 'GET', path: '/v1/stream', scopes: ['invoke', 'read', 'write'], by: 'stream' },
  { method: 'GET', path: '/openapi.json', scopes: [], by: 'control' },
  { method: 'GET', path: '/docs', scopes: [], by: 'control' },
  { method: 'GET', path: '/docs/{file}', scopes: [], by: 'control' },
  { method: 'GET', path: '/v1/dead-letters', scopes: ['read'], by: 'dead-letters' },
  { method: 'GET', path: '/v1/dead-letters/{id}', scopes: ['read'], by: 'dead-letters' },
  { method: 'POST', path: '/v1/dead-letters/{id}:replay', scopes: ['invoke'], by: 'dead-letters' },
  { method: 'DELETE', path: '/v1/dead-letters/{id}', scopes: ['write'], by: 'dead-letters' },
  { method: 'POST', path: '/v1/dead-letters:replay', scopes: ['invoke'], by: 'dead-letters' },
  { method: 'DELETE', path: '/v1/dead-letters', scopes: ['write'], by: 'dead-letters' },
];

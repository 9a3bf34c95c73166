/**
 * The OpenAPI 3.1 document, made of the routes (operations.ts), what is said of each (described.ts), the schemas of what is answered
 * (views.ts) and of manifests, and the error registry. `GET /openapi.json` serves it; docs/openapi.json is it, for those
 * who generate clients.
 */
import type { TSchema } from 'typebox';
import { ERRORS, type ErrorCode } from '../errors.ts';
import { OPERATIONS, type Operation } from '../operations.ts';
import {
  type Answer,
  BY_ACCESS,
  BY_CONTROL,
  BY_SCHEDULER,
  type Callback,
  DESCRIBED,
  type Described,
  EVERYWHERE,
  type Parameter,
} from './described.ts';
import * as views from './views.ts';

type Json = Readonly<Record<string, unknown>>;

/** Schemas with a name of their own: they stand once, and are referred to. */
const NAMED: ReadonlyMap<TSchema, string> = new Map(
  Object.entries(views).flatMap(([name, value]) =>
    name.endsWith('Schema') ? [[value as TSchema, name.slice(0, -'Schema'.length)] as const] : [],
  ),
);

const ANY_METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch'];

/** Name and description. */
type Headers = Readonly<Record<string, string>>;

const EVERY_ANSWER: Headers = {
  'X-Execution-Id': 'Of the invocation, or of this request; it stands in the log.',
  'X-Trace-Id': 'The trace of the invocation.',
  'Access-Control-Allow-Origin': 'With `cors-origins`, where they cover the request.',
  'Access-Control-Expose-Headers': 'With `cors-origins`, where they cover the request.',
  Vary: 'With `cors-origins`: Origin.',
};

/** Of the limit that was met, with `rate_limited`. */
const RATE_LIMIT: Headers = {
  'RateLimit-Limit': 'Requests at once.',
  'RateLimit-Remaining': 'Requests that are left: 0.',
  'RateLimit-Reset': 'Seconds until all of them are there again.',
};

/** What else each answer of a call may carry. */
const EVERY_CALL: Headers = {
  'Idempotent-Replayed': '`true`: the answer of the execution that the `Idempotency-Key` began.',
};

const TAGS: Readonly<Record<string, string>> = {
  Invocations: 'Call functions.',
  Executions: 'What has become of calls.',
  'Dead letters': 'What failed for good.',
  Functions: 'What can be called.',
  Pools: 'The pods that are warm.',
  Documentation: 'This document.',
};

const SECURITY = {
  bearer: {
    type: 'http',
    scheme: 'bearer',
    description: 'An API key, or a JWT of the issuer that the server trusts.',
  },
  apiKey: { type: 'apiKey', in: 'header', name: 'X-Api-Key', description: 'An API key.' },
};

/** Every error code that the operation may answer. */
export function errorsOf(operation: Operation): readonly ErrorCode[] {
  const described = describedOf(operation);
  const more = operation.by === 'control' ? BY_CONTROL : BY_SCHEDULER;
  const access = operation.scopes.length === 0 ? [] : BY_ACCESS;
  return [...new Set([...described.errors, ...access, ...EVERYWHERE, ...more])];
}

function describedOf({ method, path }: Operation): Described {
  const described = DESCRIBED[`${method} ${path}`];
  if (described === undefined) throw new Error(`${method} ${path} is not described`);
  return described;
}

/** `version`: of the server. */
export function openApiDocument(version: string): Json {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const operation of OPERATIONS) {
    // OpenAPI has no parameter over several segments: the one that is left stands for them.
    const path = operation.path.replace('...}', '}');
    const methods = operation.method === 'ANY' ? ANY_METHODS : [operation.method.toLowerCase()];
    paths[path] ??= {};
    for (const method of methods) {
      const suffix = operation.method === 'ANY' ? `-${method}` : '';
      (paths[path] as Record<string, unknown>)[method] = operationObject(operation, suffix);
    }
  }
  const schemas = Object.fromEntries(
    [...NAMED].map(([schema, name]) => [name, schemaObject(schema, true)]),
  );
  return {
    openapi: '3.1.1',
    info: {
      title: 'Simmer',
      version,
      summary: 'Functions on Kubernetes with the latency of a plain function call',
      description: [
        'Errors are problem documents (RFC 9457) with a stable `code`. Every answer carries `X-Execution-Id`, save those that the HTTP parser',
        'gives by itself, as text, before there is a request: 400, 431 and 505.',
      ].join(' '),
      license: { name: 'Apache 2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths,
    components: { schemas, securitySchemes: SECURITY },
  };
}

function operationObject(operation: Operation, suffix: string): Json {
  const described = describedOf(operation);
  const { id, tag, summary, description, parameters = [], body } = described;
  const responses: Record<string, Json> = {};
  const every = operation.by === 'invocation' ? { ...EVERY_ANSWER, ...EVERY_CALL } : EVERY_ANSWER;
  for (const [status, answer] of Object.entries(described.answers)) {
    responses[status] = responseObject(answer, every);
  }
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of errorsOf(operation)) {
    const { status } = ERRORS[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  for (const [status, codes] of byStatus) responses[status] = problemResponse(status, codes, every);
  const taken = parameters.filter((p) => p.in === 'path').map((p) => p.name);
  if (!taken.every((name) => operation.path.includes(`{${name}`))) {
    throw new Error(`${operation.path} has not the parameters ${taken}`);
  }
  const hasBody = body !== undefined && !['-get', '-head', '-delete'].includes(suffix);
  return {
    operationId: `${id}${suffix}`,
    tags: [tag],
    summary,
    ...(description && { description }),
    ...(parameters.length > 0 && {
      parameters: parameters.map(parameterObject),
    }),
    ...(hasBody && {
      requestBody: { required: body.required, content: contentObject(body.content) },
    }),
    // The last: a server without keys asks for none.
    security: operation.scopes.length === 0 ? [] : [{ bearer: [] }, { apiKey: [] }, {}],
    ...(operation.scopes.length > 0 && { 'x-simmer-scopes': operation.scopes }),
    responses,
    ...(described.callback && { callbacks: { ended: callbackObject(described.callback) } }),
  };
}

function callbackObject(callback: Callback): Json {
  const { id, to, summary, description, headers, content, answers } = callback;
  return {
    [to]: {
      post: {
        ...{ operationId: id, tags: ['Executions'], summary, description },
        parameters: headers.map(parameterObject),
        requestBody: { required: true, content: contentObject(content) },
        // Its signature is what it shows.
        security: [],
        responses: Object.fromEntries(
          Object.entries(answers).map(([status, meaning]) => [status, { description: meaning }]),
        ),
      },
    },
  };
}

function parameterObject({ name, in: where, description, schema }: Parameter): Json {
  return {
    ...{ name, in: where, description },
    ...(where === 'path' && { required: true }),
    schema: schemaObject(schema),
  };
}

function responseObject({ description, content, headers = {} }: Answer, every: Headers): Json {
  return {
    description,
    headers: headersObject({ ...every, ...headers }),
    ...(content && { content: contentObject(content) }),
  };
}

function problemResponse(status: number, codes: readonly ErrorCode[], every: Headers): Json {
  const again = status === 429 || status === 503;
  return {
    description: codes.map((code) => `\`${code}\`: ${ERRORS[code].title}.`).join(' '),
    headers: headersObject({
      ...every,
      ...(again && { 'Retry-After': 'Seconds after which to try again.' }),
      ...(status === 401 && { 'WWW-Authenticate': 'Bearer.' }),
      ...(status === 426 && { Upgrade: 'websocket' }),
      ...(codes.includes('rate_limited') && RATE_LIMIT),
    }),
    content: {
      'application/problem+json': {
        schema: {
          allOf: [
            { $ref: '#/components/schemas/Problem' },
            { type: 'object', properties: { code: { enum: [...codes] } } },
          ],
        },
      },
    },
  };
}

function headersObject(headers: Headers): Json {
  return Object.fromEntries(
    Object.entries(headers).map(([name, description]) => [
      name,
      { description, schema: { type: 'string' } },
    ]),
  );
}

function contentObject(content: Readonly<Record<string, TSchema>>): Json {
  return Object.fromEntries(
    Object.entries(content).map(([type, schema]) => [type, { schema: schemaObject(schema) }]),
  );
}

/** Plain JSON Schema, in which named schemas are referred to, but for the outermost where it is what is defined. */
function schemaObject(schema: TSchema, definition = false): unknown {
  const name = NAMED.get(schema);
  if (name !== undefined && !definition) return { $ref: `#/components/schemas/${name}` };
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, inner(value)]));
}

function inner(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inner);
  if (typeof value !== 'object' || value === null) return value;
  return schemaObject(value as TSchema);
}

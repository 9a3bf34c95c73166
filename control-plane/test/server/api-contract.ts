/**
 * Holds an answer of the public port against the OpenAPI document: its status, its code, its headers and its body must stand
 * there. Every request of simmer.ts goes through here, so that what any test meets is described.
 */
import { openApiDocument } from '@simmer/protocol/api/openapi';
import { ERRORS, isErrorCode } from '@simmer/protocol/errors';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { routeOf } from '../../src/scheduler/routes.ts';
import type { Answer } from './simmer.ts';

interface ResponseObject {
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly content?: Readonly<Record<string, { readonly schema: object }>>;
}
interface OperationObject {
  readonly operationId: string;
  readonly responses: Readonly<Record<string, ResponseObject>>;
}

const document = openApiDocument('0.0.0') as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, OperationObject>>>>;
  readonly components: object;
};

/** Of HTTP itself, or written by uWebSockets.js. */
const TRANSPORT = new Set([
  ...['connection', 'content-length', 'content-type', 'date', 'keep-alive', 'transfer-encoding'],
  'uwebsockets',
]);
/** What the HTTP parser answers by itself (docs/http-parser.md). */
const PARSER = new Set([400, 431, 505]);

const ajv = new Ajv2020({ strict: false, validateFormats: false });
ajv.addSchema({ $id: 'openapi', ...document });
const validators = new Map<object, ValidateFunction>();
/** The operations and statuses that were met: `invoke 200`. */
export const met = new Set<string>();

function validatorOf(schema: object): ValidateFunction {
  let validator = validators.get(schema);
  if (validator === undefined) {
    const text = JSON.stringify(schema).replaceAll('"#/components', '"openapi#/components');
    validator = ajv.compile(JSON.parse(text) as object);
    validators.set(schema, validator);
  }
  return validator;
}

function operationOf(method: string, path: string): OperationObject | undefined {
  if (path.startsWith('/fn/')) return document.paths['/fn/{name}/{path}']?.[method.toLowerCase()];
  const routed = routeOf(method, path);
  if (routed.kind !== 'found') return undefined;
  return document.paths[routed.operation.path]?.[method.toLowerCase()];
}

/** What is wrong with it; undefined for nothing. */
export function breachOf(method: string, target: string, answer: Answer): string | undefined {
  const path = target.split('?', 1)[0] as string;
  const type = (answer.headers['content-type'] ?? '').split(';', 1)[0] as string;
  const where = `${method} ${path} ${answer.status}`;
  if (answer.headers['x-execution-id'] === undefined) {
    return PARSER.has(answer.status) ? undefined : `${where}: no X-Execution-Id`;
  }
  const operation = operationOf(method, path);
  if (operation === undefined) {
    const { code } = answer.json as { code: string };
    const known = ['route_not_found', 'method_not_allowed', 'unauthorized'].includes(code);
    return known ? undefined : `${where}: there is no such operation`;
  }
  const isProblem = type === 'application/problem+json';
  const raw = path.startsWith('/fn/');
  // A handler's own answer.
  if (raw && !(isProblem && isErrorCode((answer.json as { code: string }).code))) return undefined;
  met.add(`${operation.operationId} ${answer.status}`);
  const response = operation.responses[answer.status];
  if (response === undefined) return `${where}: the status is not described: ${answer.text}`;
  for (const name of Object.keys(answer.headers)) {
    const described = Object.keys(response.headers ?? {}).some((h) => h.toLowerCase() === name);
    if (!described && !TRANSPORT.has(name)) return `${where}: the header ${name} is not described`;
  }
  if (answer.body.length === 0) return undefined;
  const schema = response.content?.[type]?.schema;
  if (schema === undefined) return `${where}: the content type ${type} is not described`;
  if (!type.endsWith('json')) return undefined;
  const validate = validatorOf(schema);
  if (!validate(answer.json)) {
    return `${where}: ${ajv.errorsText(validate.errors)}: ${answer.text.slice(0, 1_000)}`;
  }
  if (isProblem) {
    const { code, status } = answer.json as { code: keyof typeof ERRORS; status: number };
    if (status !== answer.status || ERRORS[code].status !== status)
      return `${where}: not ${code}'s`;
  }
  return undefined;
}

/** What a step asks for, as bytes; and what an answer to it tells. */
import type { Told, View } from './evidence.ts';
import { MAX_DELAY_MS, type Step } from './plan.ts';
import type { Answer } from './wire.ts';

export interface Request {
  readonly head: string;
  readonly body: string;
}

/** `isOther`: another one, under the same key. */
export function requestOf(step: Step, callbackOrigin: string, isOther = false): Request {
  const { op, route, work, timeoutMs, maxRetries, keyed } = step;
  const { ballast } = work;
  const input = { op, work };
  // Of a stream only the answer is large.
  const pad = route === 'stream' ? '' : ' '.repeat(ballast);
  const isEnvelope = route === 'invoke' || route === 'enqueue';
  const callbackUrl =
    route === 'enqueue' && step.callback !== ''
      ? `${callbackOrigin}/${step.callback}/${op}`
      : undefined;
  const body =
    JSON.stringify(isEnvelope ? { input, callbackUrl } : input) + pad + (isOther ? ' ' : '');
  const path = isEnvelope
    ? `/v1/functions/${step.function}:${route}`
    : `/fn/${step.function}/any/path?op=${op}`;
  return {
    head: headOf('POST', path, {
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(body)),
      ...(timeoutMs > 0 && { 'x-timeout-ms': String(timeoutMs) }),
      ...(maxRetries >= 0 && { 'x-max-retries': String(maxRetries) }),
      ...(keyed.kind !== 'none' && { 'idempotency-key': `key of ${op}` }),
    }),
    body,
  };
}

export function headOf(
  method: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\nhost: simmer\r\n${lines.join('')}\r\n`;
}

/** An answer's body as JSON; undefined where it is none. */
// biome-ignore lint/suspicious/noExplicitAny: what it holds is what is to be found out
export function jsonOf(answer: Answer): any {
  try {
    return JSON.parse(answer.body.toString());
  } catch {
    return undefined;
  }
}

export function toldOf(step: Step, answer: Answer): Told {
  const { status, headers, complete } = answer;
  const executionId = headers.get('x-execution-id') ?? '';
  if (step.route === 'stream' && status === 200) return streamTold(step, answer, executionId);
  const json = jsonOf(answer);
  const told = {
    ...{ status, complete, executionId, attempts: undefined, op: undefined, pid: undefined },
    isReplay: headers.get('idempotent-replayed') === 'true',
    code: 'ok',
    intact: json !== undefined && (json.executionId ?? executionId) === executionId,
  };
  if (!complete) return { ...told, intact: true };
  if (status === 202) return told;
  if (status !== 200) return { ...told, code: String(json?.code), attempts: json?.attempts };
  const output = step.route === 'raw' ? json : json?.output;
  return {
    ...told,
    ...{ attempts: output?.attempt, op: output?.op, pid: output?.pid },
    intact: told.intact && output?.ballast?.length === step.work.ballast,
  };
}

function streamTold(step: Step, { headers, body, complete }: Answer, executionId: string): Told {
  const byte = step.op.charCodeAt(step.op.length - 1);
  const wanted = step.work.ballast;
  return {
    ...{ status: 200, code: 'ok', executionId, complete, pid: undefined },
    isReplay: headers.get('idempotent-replayed') === 'true',
    attempts: Number(headers.get('x-attempt')),
    op: headers.get('x-op'),
    intact:
      (complete ? body.length === wanted : body.length <= wanted) && body.every((b) => b === byte),
  };
}

const ENDED = new Set(['succeeded', 'failed', 'timed_out', 'cancelled', 'dead_lettered']);

/** An execution that has ended, as `/v1/executions/{id}` tells of it; undefined for one that has not. */
// biome-ignore lint/suspicious/noExplicitAny: an answer's body
export function endOf(json: any): View | undefined {
  if (!ENDED.has(json?.status)) return undefined;
  const attempts = json.attempts as { outcome?: string }[];
  return {
    status: json.status,
    attempts: attempts.length,
    outcomes: attempts.map((attempt) => attempt.outcome ?? 'none'),
    endedAt: json.endedAt ?? '',
    code: json.error?.code ?? 'ok',
    op: json.output?.op,
    pid: json.output?.pid,
    hadTime: Date.parse(json.deadlineAt) - Date.parse(json.endedAt) > MAX_DELAY_MS,
  };
}

/**
 * From a client's message to an invocation: the same checks, limits and errors as for its HTTP request (http-invocations.ts).
 */
import type { ClientEnqueue, ClientInvoke, ClientRequest } from '@simmer/protocol/client-messages';
import type { ErrorCode } from '@simmer/protocol/errors';
import type { HeaderPairs } from '@simmer/protocol/frames';
import { keyOfUrlName } from '@simmer/protocol/names';
import { MAX_RETRIES } from '@simmer/protocol/retry';
import { clip } from '../../shared/clip.ts';
import type { Gate, Refused } from '../access/gate.ts';
import type { Known } from '../access/known.ts';
import type { Executions } from '../executions/executions.ts';
import type { FunctionState } from '../function-state.ts';
import type { FunctionTable } from '../function-table.ts';
import { NOT_FORWARDED } from '../hop-by-hop.ts';
import { isIdempotencyKey } from '../idempotency/fingerprint.ts';
import type { Idempotency } from '../idempotency/idempotency.ts';
import type { KeyedCall } from '../idempotency/keyed-call.ts';
import { type ExecutionIds, traceparentOf } from '../ids.ts';
import { Invocation } from '../invocation.ts';
import { refusalDetail, tooLarge } from '../refusals.ts';
import type { Scheduler } from '../scheduler.ts';
import { EnqueueAsk } from './asks.ts';
import { Call } from './call.ts';
import { envelopeHead, InboundBody } from './inbound-body.ts';
import type { Failure, OpenRequest, RequestPorts } from './open-request.ts';

export interface StreamRequestsPorts {
  readonly scheduler: Scheduler;
  readonly functions: FunctionTable;
  readonly executions: Executions;
  readonly idempotency: Idempotency;
  readonly gate: Gate;
  readonly ids: ExecutionIds;
  /** As access/may-call.ts says it of any call. */
  notAdmitted(known: Known, key: string, fn: FunctionState | null): Refused | undefined;
  readonly maxTimeoutMs: number;
}

type Running = ClientInvoke | ClientEnqueue | ClientRequest;
/** What was taken on; its body may still come. */
type Taken = Call | EnqueueAsk;

const METHOD = /^[A-Z][A-Z-]{0,31}$/;
// Neither spaces nor what has no place in a request line; RFC 9112 3.2.
const PATH = /^\/[!-"$-~\u0080-\uffff]*$/;
const HEADER_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that must not stand there
const HEADER_VALUE = /^[^\u0000-\u0008\u000a-\u001f\u007f\u0100-\uffff]*$/;

export class StreamRequests {
  private readonly ports: StreamRequestsPorts;

  constructor(ports: StreamRequestsPorts) {
    this.ports = ports;
  }

  /** Takes it on, and submits it if all of it has come; what it fails with where it is refused. */
  take(message: Running, known: Known, ports: RequestPorts): Failure | undefined {
    const { scheduler, functions } = this.ports;
    const executionId = this.ports.ids.next();
    const { function: name } = message;
    const refuse = (code: ErrorCode, detail: string, retryAfterSeconds = 0): Failure => {
      const traceparent = traceparentOf(message.traceparent ?? '', '');
      return { executionId, traceparent, code, detail, retryAfterSeconds };
    };
    const fn = functions.byUrlName(name);
    const key = fn?.key ?? keyOfUrlName(name);
    const no = this.ports.notAdmitted(known, key ?? '', fn ?? null);
    if (no !== undefined) return refuse(no.code, no.detail, no.retryAfterSeconds);
    if (fn === undefined) {
      if (key === undefined) {
        return refuse('invalid_function_name', `${JSON.stringify(clip(name))} is not a name.`);
      }
      return refuse('function_not_found', `There is no function ${name}.`);
    }
    const bad = this.badOption(message, fn);
    if (bad !== undefined) {
      fn.counters.countError(bad.code);
      return refuse(bad.code, bad.detail);
    }
    const wrong = message.type === 'request' ? badRequest(message) : undefined;
    if (wrong !== undefined) return refuse('invalid_message', wrong);
    if (message.type !== 'request' && message.more === true && !ports.binary) {
      return refuse(
        'invalid_message',
        'An input comes in pieces with the subprotocol of msgpack only.',
      );
    }

    const body = bodyOf(message);
    const declared = message.more === true ? message.length : body.received;
    const length = body.length - body.received + (declared ?? 0);
    if (length > fn.maxRequestBytes || body.length > fn.maxRequestBytes) {
      fn.counters.countError('payload_too_large');
      return refuse('payload_too_large', tooLarge(fn.maxRequestBytes));
    }
    const async = message.type === 'enqueue';
    const budgetMs = message.timeoutMs ?? fn.timeoutMs;
    const { idempotencyKey = '' } = message;
    const refusal =
      idempotencyKey !== '' && this.ports.idempotency.isKnown(fn, known.caller.id, idempotencyKey)
        ? scheduler.refusalOfBytes(fn, length)
        : scheduler.refusal(fn, length, async ? fn.record.spec.deadlineMs : budgetMs);
    if (refusal !== undefined) {
      const again = refusal === 'draining' ? 1 : scheduler.retryAfterSeconds(fn, refusal);
      return refuse(refusal, refusalDetail(refusal, fn, scheduler), again);
    }
    const taken = async
      ? this.enqueue(message, fn, executionId, budgetMs, ports)
      : this.call(message, fn, executionId, budgetMs, ports);
    invocationOf(taken).caller = known.caller;
    taken.body = body;
    ports.opened(taken);
    scheduler.open(invocationOf(taken), declared === undefined ? Math.max(1, body.length) : length);
    if (message.more !== true) this.submit(taken);
    return undefined;
  }

  private badOption(
    message: Running,
    fn: FunctionState,
  ): { code: ErrorCode; detail: string } | undefined {
    const { timeoutMs = fn.timeoutMs, maxRetries = 0, idempotencyKey } = message;
    const max = this.ports.maxTimeoutMs;
    if (timeoutMs < 1 || timeoutMs > max) {
      const detail = `timeoutMs must be a whole number from 1 to ${max}.`;
      return { code: 'invalid_timeout', detail };
    }
    if (maxRetries > MAX_RETRIES) {
      const detail = `maxRetries must be a whole number from 0 to ${MAX_RETRIES}.`;
      return { code: 'invalid_retries', detail };
    }
    if (idempotencyKey !== undefined && !isIdempotencyKey(idempotencyKey)) {
      const detail = 'idempotencyKey must be 1 to 255 printable ASCII characters.';
      return { code: 'invalid_idempotency_key', detail };
    }
    return undefined;
  }

  private call(
    message: ClientInvoke | ClientRequest,
    fn: FunctionState,
    executionId: string,
    budgetMs: number,
    ports: RequestPorts,
  ): Call {
    const { scheduler } = this.ports;
    const call = new Call(message.id, scheduler, ports);
    const now = scheduler.ports.now();
    const raw = message.type === 'request';
    call.keyed = this.keyed(message, fn, call);
    call.invocation = new Invocation(
      scheduler,
      executionId,
      fn,
      raw ? 'raw' : 'value',
      raw ? message.method : '',
      raw ? message.path : '',
      raw ? headersOf(message, this.ports.gate) : [],
      traceparentOf(message.traceparent ?? '', ''),
      call.keyed ?? call,
      now,
      now + budgetMs,
    );
    const { invocation } = call;
    invocation.maxRetries = message.maxRetries ?? fn.maxRetries;
    call.keyed?.bind(invocation, () => scheduler.submit(invocation), null);
    return call;
  }

  private enqueue(
    message: ClientEnqueue,
    fn: FunctionState,
    executionId: string,
    budgetMs: number,
    ports: RequestPorts,
  ): EnqueueAsk {
    const { scheduler, executions } = this.ports;
    const ask = new EnqueueAsk(message.id, scheduler, ports);
    const traceparent = traceparentOf(message.traceparent ?? '', '');
    const maxRetries = message.maxRetries ?? fn.maxRetries;
    ask.keyed = this.keyed(message, fn, ask);
    const execution = executions.begin(
      ...([fn, executionId, traceparent, budgetMs, maxRetries, ask.keyed ?? ask] as const),
    );
    ask.execution = execution;
    ask.keyed?.bind(execution.invocation, () => void executions.submit(execution), execution);
    return ask;
  }

  /** Its place among the calls of its idempotency key; null where it brings none. */
  private keyed(message: Running, fn: FunctionState, client: Taken): KeyedCall | null {
    const { idempotencyKey } = message;
    if (idempotencyKey === undefined) return null;
    const raw = message.type === 'request';
    const contentType = raw ? headersOf(message, this.ports.gate).find(isContentType)?.[1] : '';
    const request = {
      route: raw ? 'raw' : message.type,
      method: raw ? message.method : 'POST',
      target: raw ? message.path : '',
      contentType: contentType ?? '',
    } as const;
    return this.ports.idempotency.call(fn, idempotencyKey, request, client);
  }

  /** The next piece of a body. */
  data(
    request: OpenRequest,
    bytes: Uint8Array,
    more: boolean,
    grant: (bytes: number) => void,
  ): void {
    const { body } = request;
    if (body === null || !(request instanceof Call || request instanceof EnqueueAsk)) return;
    const { scheduler } = this.ports;
    const invocation = invocationOf(request);
    if (invocation.state !== 'receiving') return;
    const { fn } = invocation;
    body.add(bytes);
    if (body.length > fn.maxRequestBytes) {
      scheduler.fail(invocation, 'payload_too_large', tooLarge(fn.maxRequestBytes));
      return;
    }
    if (body.length > invocation.heldBytes) {
      scheduler.hold(invocation, body.length - invocation.heldBytes);
      const over = scheduler.overBytes(fn);
      if (over !== undefined) {
        scheduler.fail(invocation, over, refusalDetail(over, fn, scheduler));
        return;
      }
    }
    if (!more) this.submit(request);
    else if (bytes.length > 0) grant(bytes.length);
  }

  private submit(taken: Taken): void {
    const { body } = taken;
    if (body === null) return;
    taken.body = null;
    invocationOf(taken).body = body.whole();
    if (taken.keyed !== null) taken.keyed.submit();
    else if (taken instanceof EnqueueAsk) void this.ports.executions.submit(taken.execution);
    else this.ports.scheduler.submit(taken.invocation);
  }
}

const isContentType = ([name]: readonly [string, string]): boolean => name === 'content-type';

function invocationOf(taken: Taken): Invocation {
  return taken instanceof EnqueueAsk ? taken.execution.invocation : taken.invocation;
}

function bodyOf(message: Running): InboundBody {
  if (message.type === 'request') {
    const body = new InboundBody('', '');
    if (message.body !== undefined) body.add(message.body);
    return body;
  }
  const { input, metadata } = message;
  const callbackUrl = message.type === 'enqueue' ? message.callbackUrl : undefined;
  const hasInput = input !== undefined || message.more === true;
  const body = new InboundBody(envelopeHead(metadata, callbackUrl, hasInput), '}');
  if (input !== undefined) body.add(input);
  return body;
}

/** What an HTTP parser would have refused. */
function badRequest({ method, path, headers }: ClientRequest): string | undefined {
  if (!METHOD.test(method)) return 'method: not one of HTTP';
  if (!PATH.test(path)) return 'path: not a path that begins with a slash';
  for (const [name, value] of headers ?? []) {
    if (!HEADER_NAME.test(name) || !HEADER_VALUE.test(value)) {
      return `headers: ${JSON.stringify(clip(name))} is not one`;
    }
  }
  return undefined;
}

function headersOf({ headers }: ClientRequest, gate: Gate): HeaderPairs {
  const pairs = (headers ?? []).map(([name, value]) => [name.toLowerCase(), value] as const);
  return pairs.filter(
    ([name, value]) => !NOT_FORWARDED.has(name) && !gate.isCredential(name, value),
  );
}

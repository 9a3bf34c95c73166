/**
 * The public port (8080): requests in, invocations to the core. Reads of a request what the route needs while it may (its
 * object is dead once the handler returns), refuses early what cannot be taken, and collects the body.
 *
 * Invariants:
 *  N1. Every request is answered once, by the core's Reply or here; its X-Execution-Id names it in the log.
 *  N2. Bytes are held for a body before they are received: by its Content-Length, or as they come.
 *  N3. Nothing is parsed but the request line, a few headers and names.
 */
import type { ErrorCode } from '@simmer/protocol/errors';
import type { Form, HeaderPairs } from '@simmer/protocol/frames';
import { keyOfUrlName } from '@simmer/protocol/names';
import { MAX_OPERATION_BODY_BYTES } from '@simmer/protocol/operations';
import { MAX_RETRIES } from '@simmer/protocol/retry';
import { ANYONE } from '../shared/caller.ts';
import type { AdminRequests } from './admin-requests.ts';
import type { Core } from './core.ts';
import type { Executions } from './executions/executions.ts';
import { ExecutionsApi } from './executions/executions-api.ts';
import type { Forwarder } from './forwarder.ts';
import type { FunctionState } from './function-state.ts';
import type { FunctionTable } from './function-table.ts';
import { HOP_BY_HOP } from './hop-by-hop.ts';
import { HttpReply } from './http-reply.ts';
import { isIdempotencyKey } from './idempotency/fingerprint.ts';
import type { Idempotency } from './idempotency/idempotency.ts';
import type { KeyedCall } from './idempotency/keyed-call.ts';
import { type ExecutionIds, newTraceparent, traceparentOf } from './ids.ts';
import { Invocation } from './invocation.ts';
import { collect, copyOf, RequestBody } from './request-body.ts';
import { routeOf } from './routes.ts';
import type { Scheduler } from './scheduler.ts';
import type { TurnBatch } from './turn-batch.ts';
import {
  type HttpRequest,
  type HttpResponse,
  listen,
  type Uws,
  type us_listen_socket,
} from './uws.ts';

export interface IngressSettings {
  readonly host: string;
  readonly port: number;
  /** Of this process: its execution ids begin with it. */
  readonly bootId: string;
  readonly maxTimeoutMs: number;
}

const INVOKE = ':invoke';
const ENQUEUE = ':enqueue';
const FN_PREFIX = '/fn/';
const TIMEOUT_DIGITS = /^[0-9]{1,9}$/;
const RETRY_DIGITS = /^[0-9]{1,3}$/;
const LENGTH_DIGITS = /^[0-9]*$/;

export class Ingress {
  private readonly scheduler: Scheduler;
  private readonly functions: FunctionTable;
  private readonly admin: AdminRequests;
  private readonly executions: Executions;
  private readonly executionsApi: ExecutionsApi;
  private readonly idempotency: Idempotency;
  private readonly batch: TurnBatch;
  private readonly ids: ExecutionIds;
  private readonly settings: IngressSettings;
  private forwarder: Forwarder | null = null;

  constructor(
    core: Core,
    admin: AdminRequests,
    batch: TurnBatch,
    ids: ExecutionIds,
    settings: IngressSettings,
  ) {
    this.scheduler = core.scheduler;
    this.functions = core.functions;
    this.admin = admin;
    this.executions = core.executions;
    this.executionsApi = new ExecutionsApi(core.executions, settings.bootId);
    this.idempotency = core.idempotency;
    this.batch = batch;
    this.ids = ids;
    this.settings = settings;
  }

  listen(uws: Uws): Promise<{ socket: us_listen_socket; port: number }> {
    const app = uws.App();
    app.post('/v1/functions/:target', (res, req) => this.onFunctionPost(res, req));
    app.any('/fn/*', (res, req) => this.onRaw(res, req));
    app.any('/*', (res, req) => this.onOther(res, req));
    return listen(uws, app, this.settings.host, this.settings.port);
  }

  /** From now on every request goes there: another control plane has taken over. */
  sendClientsTo(forwarder: Forwarder): void {
    this.forwarder = forwarder;
  }

  // ---- routes ------------------------------------------------------------------------------------------------------

  private onFunctionPost(res: HttpResponse, req: HttpRequest): void {
    if (this.forwarder !== null) {
      this.forwarder.take(res, req);
      return;
    }
    const target = req.getParameter(0) ?? '';
    const verb = target.endsWith(INVOKE) ? INVOKE : ENQUEUE;
    if (!target.endsWith(verb)) {
      this.onOther(res, req);
      return;
    }
    const fn = this.find(res, req, target.slice(0, -verb.length));
    if (fn !== undefined) this.invoke(res, req, fn, 'value', 'POST', '', verb === ENQUEUE);
  }

  private onRaw(res: HttpResponse, req: HttpRequest): void {
    if (this.forwarder !== null) {
      this.forwarder.take(res, req);
      return;
    }
    const url = req.getUrl();
    const slash = url.indexOf('/', FN_PREFIX.length);
    const name = slash === -1 ? url.slice(FN_PREFIX.length) : url.slice(FN_PREFIX.length, slash);
    const fn = this.find(res, req, name);
    if (fn === undefined) return;
    const query = req.getQuery();
    const path = slash === -1 ? '/' : url.slice(slash);
    const target = query === undefined ? path : `${path}?${query}`;
    this.invoke(res, req, fn, 'raw', req.getCaseSensitiveMethod(), target, false);
  }

  private onOther(res: HttpResponse, req: HttpRequest): void {
    if (this.forwarder !== null) {
      this.forwarder.take(res, req);
      return;
    }
    const method = req.getCaseSensitiveMethod();
    const path = req.getUrl();
    const reply = new HttpReply(res, this.batch, method === 'HEAD', this.scheduler);
    let gone = (): void => {};
    res.onAborted(() => {
      reply.onAborted();
      gone();
    });
    const requestId = this.ids.next();
    const routed = routeOf(method, path);
    if (routed.kind === 'not-found') {
      reply.failWith(requestId, '', 'route_not_found', `There is nothing at ${clip(path)}.`);
      return;
    }
    if (routed.kind === 'wrong-method') {
      const { allow } = routed;
      reply.failWith(requestId, '', 'method_not_allowed', `${clip(path)} takes ${allow}.`, {
        headers: [['allow', allow]],
      });
      return;
    }
    if (this.scheduler.draining) {
      reply.failWith(requestId, '', 'draining', 'This control plane is shutting down.');
      return;
    }
    const { operation, parameter } = routed;
    const caller = ANYONE;
    const query = req.getQuery() ?? '';
    if (operation.by === 'executions') {
      const onGone = (callback: () => void): void => {
        gone = callback;
      };
      const ports = { reply, requestId, caller, onGone };
      void this.executionsApi.answer(ports, operation, parameter, query);
      return;
    }
    const request = { requestId, caller, method, path, query };
    if (operation.takesBody !== true) {
      this.admin.forward(reply, { ...request, contentType: '', body: null });
      return;
    }
    const contentType = req.getHeader('content-type');
    const length = Number(req.getHeader('content-length') || 0);
    collect(res, length, MAX_OPERATION_BODY_BYTES, (body) => {
      if (body === undefined) {
        const detail = tooLarge(MAX_OPERATION_BODY_BYTES);
        reply.failWith(requestId, '', 'payload_too_large', detail);
      } else {
        this.admin.forward(reply, { ...request, contentType, body });
      }
    });
  }

  private find(res: HttpResponse, req: HttpRequest, name: string): FunctionState | undefined {
    const fn = this.functions.byUrlName(name);
    if (fn !== undefined) return fn;
    const valid = keyOfUrlName(name) !== undefined;
    this.refuse(
      res,
      req,
      this.ids.next(),
      '',
      valid ? 'function_not_found' : 'invalid_function_name',
      valid ? `There is no function ${name}.` : `${JSON.stringify(clip(name))} is not a name.`,
    );
    return undefined;
  }

  // ---- invocations -------------------------------------------------------------------------------------------------

  private invoke(
    res: HttpResponse,
    req: HttpRequest,
    fn: FunctionState,
    form: Form,
    method: string,
    target: string,
    async: boolean,
  ): void {
    const { scheduler } = this;
    const id = this.ids.next();
    const given = req.getHeader('traceparent');
    const traceparent = traceparentOf(given, given === '' ? req.getHeader('x-trace-id') : '');

    let budgetMs = fn.timeoutMs;
    const wanted = req.getHeader('x-timeout-ms');
    if (wanted !== '') {
      budgetMs = TIMEOUT_DIGITS.test(wanted) ? Number(wanted) : 0;
      const max = this.settings.maxTimeoutMs;
      if (budgetMs < 1 || budgetMs > max) {
        const detail = `X-Timeout-Ms must be a whole number from 1 to ${max}.`;
        fn.counters.countError('invalid_timeout');
        this.refuse(res, req, id, traceparent, 'invalid_timeout', detail);
        return;
      }
    }

    let { maxRetries } = fn;
    const retries = req.getHeader('x-max-retries');
    if (retries !== '') {
      maxRetries = RETRY_DIGITS.test(retries) ? Number(retries) : MAX_RETRIES + 1;
      if (maxRetries > MAX_RETRIES) {
        const detail = `X-Max-Retries must be a whole number from 0 to ${MAX_RETRIES}.`;
        fn.counters.countError('invalid_retries');
        this.refuse(res, req, id, traceparent, 'invalid_retries', detail);
        return;
      }
    }

    const lengthHeader = req.getHeader('content-length');
    const chunked = lengthHeader === '' && req.getHeader('transfer-encoding') !== '';
    const length = lengthHeader === '' ? 0 : Number(lengthHeader);
    // The parser hands over a request whose length is no number too, and answers 400 itself once this returns. To hold
    // NaN bytes would end every limit on bytes for good.
    if (length > fn.maxRequestBytes || !LENGTH_DIGITS.test(lengthHeader)) {
      fn.counters.countError('payload_too_large');
      this.refuse(res, req, id, traceparent, 'payload_too_large', tooLarge(fn.maxRequestBytes));
      return;
    }
    const key = req.getHeader('idempotency-key');
    if (key !== '' && !isIdempotencyKey(key)) {
      const detail = 'Idempotency-Key must be 1 to 255 printable ASCII characters.';
      fn.counters.countError('invalid_idempotency_key');
      this.refuse(res, req, id, traceparent, 'invalid_idempotency_key', detail);
      return;
    }
    const timeMs = async ? fn.record.spec.deadlineMs : budgetMs;
    const refusal =
      key !== '' && this.idempotency.isKnown(fn, ANYONE.id, key)
        ? scheduler.refusalOfBytes(fn, length)
        : scheduler.refusal(fn, length, timeMs);
    if (refusal !== undefined) {
      const again = refusal === 'draining' ? 1 : scheduler.retryAfterSeconds(fn, refusal);
      this.refuse(res, req, id, traceparent, refusal, refusalDetail(refusal, fn, scheduler), again);
      return;
    }

    const reply = new HttpReply(res, this.batch, method === 'HEAD', this.scheduler);
    const declared = chunked ? undefined : length;
    let keyed: KeyedCall | null = null;
    if (key !== '') {
      const route = async ? 'enqueue' : form === 'raw' ? 'raw' : 'invoke';
      const contentType = req.getHeader('content-type');
      const request = { route, method, target, contentType } as const;
      keyed = this.idempotency.call(fn, ANYONE.id, key, request, reply);
    }
    if (async) {
      const { executions } = this;
      const asking = keyed ?? reply;
      const execution = executions.begin(fn, id, traceparent, budgetMs, maxRetries, asking);
      const { invocation } = execution;
      const submit = () => void executions.submit(execution);
      keyed?.bind(invocation, submit, execution);
      res.onAborted(() => {
        reply.onAborted();
        if (keyed !== null) keyed.clientGone();
        else if (execution.isAsking) scheduler.clientGone(invocation);
      });
      this.take(res, invocation, declared, keyed === null ? submit : () => keyed.submit());
      return;
    }
    const now = scheduler.ports.now();
    const invocation = new Invocation(
      scheduler,
      id,
      fn,
      form,
      form === 'raw' ? method : '',
      target,
      form === 'raw' ? headersOf(req) : NO_HEADERS,
      traceparent,
      keyed ?? reply,
      now,
      now + budgetMs,
    );
    invocation.maxRetries = maxRetries;
    keyed?.bind(invocation, () => scheduler.submit(invocation), null);
    res.onAborted(() => {
      reply.onAborted();
      if (keyed === null) scheduler.clientGone(invocation);
      else keyed.clientGone();
    });
    this.take(res, invocation, declared, keyed === null ? null : () => keyed.submit());
  }

  /**
   * Holds bytes for its body, and submits it once that has come. `declared`: undefined where its length is not known; `submit`:
   * null for a plain call.
   */
  private take(
    res: HttpResponse,
    invocation: Invocation,
    declared: number | undefined,
    submit: (() => void) | null,
  ): void {
    // One of unknown length holds a byte before any has come: that it is on its way is to be seen (send-off.ts).
    this.scheduler.open(invocation, declared ?? 1);
    if (declared === 0) this.submit(invocation, submit);
    else this.receive(res, invocation, declared, submit);
  }

  private receive(
    res: HttpResponse,
    invocation: Invocation,
    declared: number | undefined,
    submit: (() => void) | null,
  ): void {
    const { scheduler } = this;
    const { fn } = invocation;
    const max = fn.maxRequestBytes;
    let body: RequestBody | undefined;
    res.onData((chunk, isLast) => {
      if (invocation.state !== 'receiving') return;
      if (declared === undefined) {
        if ((body?.length ?? 0) + chunk.byteLength > max) {
          scheduler.fail(invocation, 'payload_too_large', tooLarge(max));
          return;
        }
        scheduler.hold(invocation, chunk.byteLength); // N2
        const over = scheduler.overBytes(fn);
        if (over !== undefined) {
          scheduler.fail(invocation, over, refusalDetail(over, fn, scheduler));
          return;
        }
      }
      if (body === undefined && isLast) {
        invocation.body = copyOf(chunk); // the usual case: all in one piece
      } else {
        body ??= new RequestBody(declared);
        const whole = body.add(chunk, isLast);
        if (whole === undefined) return;
        invocation.body = whole;
      }
      this.submit(invocation, submit);
    });
  }

  private submit(invocation: Invocation, submit: (() => void) | null): void {
    if (submit === null) this.scheduler.submit(invocation);
    else submit();
  }

  /** Answers what never became an invocation. What remains of the request's body is read and dropped. */
  private refuse(
    res: HttpResponse,
    req: HttpRequest,
    id: string,
    traceparent: string,
    code: ErrorCode,
    detail: string,
    retryAfterSeconds = 0,
  ): void {
    const reply = new HttpReply(
      res,
      this.batch,
      req.getCaseSensitiveMethod() === 'HEAD',
      this.scheduler,
    );
    res.onAborted(() => reply.onAborted());
    reply.failWith(id, traceparent || newTraceparent(), code, detail, { retryAfterSeconds });
  }
}

const NO_HEADERS: HeaderPairs = [];

/** The headers of a raw call, without `traceparent`, which travels with every invocation. */
function headersOf(req: HttpRequest): HeaderPairs {
  const headers: [string, string][] = [];
  req.forEach((name, value) => {
    if (!NOT_FORWARDED.has(name)) headers.push([name, value]);
  });
  return headers;
}

/** Of this hop, or replaced by ours. */
const NOT_FORWARDED: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  'expect',
  'proxy-authorization',
  'traceparent',
]);

function tooLarge(max: number): string {
  return `The body is over ${max} bytes.`;
}

function refusalDetail(code: ErrorCode, fn: FunctionState, scheduler: Scheduler): string {
  const { queue } = fn.record.spec;
  switch (code) {
    case 'draining':
      return 'This control plane is shutting down.';
    case 'no_capacity':
      return scheduler.misses.holdReason(fn);
    case 'overloaded':
      return 'All functions together hold as many bytes as the platform allows.';
    case 'deadline_unreachable':
      return `${fn.queue.length} invocations wait; the deadline would pass before this one had its turn.`;
    default:
      return `Of at most ${queue.maxLength} invocations ${fn.queue.length} wait, of at most ${queue.maxBytes} bytes ${fn.heldBytes} are held.`;
  }
}

/** A stranger's text, short enough to be shown. */
function clip(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}...` : text;
}

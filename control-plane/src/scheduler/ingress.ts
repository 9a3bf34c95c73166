/**
 * The public port (8080): requests in, invocations to the core. Reads of a request what the route needs while it may (its
 * object is dead once the handler returns), refuses early what cannot be taken, and collects the body.
 *
 * Invariants:
 *  N1. Every request is answered once, by the core's Reply or here; its X-Execution-Id names it in the log.
 *  N2. Bytes are held for a body before they are received: by its Content-Length, or as they come.
 *  N3. Nothing is parsed but the request line, a few headers and names.
 *  N4. Nothing is placed, and nothing told of a function, before it is known who calls and that it may. While a token is
 *      checked the body comes, under the same bounds as any other.
 */
import { API_KEY_PREFIX, API_KEY_TEXT } from '@simmer/protocol/api-keys';
import type { Form, HeaderPairs } from '@simmer/protocol/frames';
import { keyOfUrlName, urlNameOfKey } from '@simmer/protocol/names';
import { MAX_OPERATION_BODY_BYTES, type Operation, type Scope } from '@simmer/protocol/operations';
import { MAX_RETRIES } from '@simmer/protocol/retry';
import { may } from '../shared/caller.ts';
import { writeWaitMs } from '../shared/write-wait.ts';
import { type Access, Refused, rateLimited } from './access/access.ts';
import type { Gate } from './access/gate.ts';
import { KNOWN_ANYONE, Known } from './access/known.ts';
import type { AdminRequests } from './admin-requests.ts';
import type { Core } from './core.ts';
import { DeadLettersApi } from './dead-letters/dead-letters-api.ts';
import type { Executions } from './executions/executions.ts';
import { ExecutionsApi } from './executions/executions-api.ts';
import type { Forwarder } from './forwarder.ts';
import type { FunctionState } from './function-state.ts';
import type { FunctionTable } from './function-table.ts';
import { NOT_FORWARDED } from './hop-by-hop.ts';
import { HttpReply } from './http-reply.ts';
import { isIdempotencyKey } from './idempotency/fingerprint.ts';
import type { Idempotency } from './idempotency/idempotency.ts';
import type { KeyedCall } from './idempotency/keyed-call.ts';
import { type ExecutionIds, newTraceparent, traceparentOf } from './ids.ts';
import { Invocation } from './invocation.ts';
import { refusalDetail, tooLarge } from './refusals.ts';
import { collect, copyOf, RequestBody } from './request-body.ts';
import { routeOf } from './routes.ts';
import type { Scheduler } from './scheduler.ts';
import { StreamServer } from './stream/stream-server.ts';
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
  /** Between two pings of a client's WebSocket. */
  readonly streamHeartbeatMs: number;
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
  private readonly gate: Gate;
  private readonly deadLettersApi: DeadLettersApi;
  private readonly batch: TurnBatch;
  private readonly ids: ExecutionIds;
  private readonly settings: IngressSettings;
  private forwarder: Forwarder | null = null;
  /** Clients' WebSockets. */
  readonly streams: StreamServer;

  constructor(
    core: Core,
    admin: AdminRequests,
    gate: Gate,
    batch: TurnBatch,
    ids: ExecutionIds,
    settings: IngressSettings,
  ) {
    this.scheduler = core.scheduler;
    this.functions = core.functions;
    this.admin = admin;
    this.executions = core.executions;
    this.executionsApi = new ExecutionsApi(core.executions, settings.bootId, core.scheduler.logs);
    this.idempotency = core.idempotency;
    this.gate = gate;
    this.deadLettersApi = new DeadLettersApi(core.deadLetters, settings.bootId);
    this.batch = batch;
    this.ids = ids;
    this.settings = settings;
    const { scheduler, functions, executions, idempotency } = core;
    const { bootId, maxTimeoutMs, streamHeartbeatMs: heartbeatMs } = settings;
    this.streams = new StreamServer({
      ...{ scheduler, functions, executions, idempotency, gate, batch, ids },
      ...{ bootId, maxTimeoutMs, heartbeatMs },
      notAdmitted: (known, key, fn) => this.notAdmitted(known, key, fn),
    });
  }

  listen(uws: Uws): Promise<{ socket: us_listen_socket; port: number }> {
    const app = uws.App();
    this.streams.serve(uws, app);
    app.post('/v1/functions/:target', (res, req) => this.onFunctionPost(res, req));
    app.any('/fn/*', (res, req) => this.onRaw(res, req));
    app.any('/*', (res, req) => this.onOther(res, req));
    return listen(uws, app, this.settings.host, this.settings.port);
  }

  /** From now on every request goes there: another control plane has taken over. */
  sendClientsTo(forwarder: Forwarder): void {
    this.forwarder = forwarder;
    this.streams.goaway();
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
    const access = this.gate.callerOfRequest(req);
    const fn = this.find(res, req, target.slice(0, -verb.length), access);
    if (fn !== undefined) this.invoke(res, req, fn, access, 'value', 'POST', '', verb === ENQUEUE);
  }

  private onRaw(res: HttpResponse, req: HttpRequest): void {
    if (this.forwarder !== null) {
      this.forwarder.take(res, req);
      return;
    }
    const url = req.getUrl();
    const slash = url.indexOf('/', FN_PREFIX.length);
    const name = slash === -1 ? url.slice(FN_PREFIX.length) : url.slice(FN_PREFIX.length, slash);
    const access = this.gate.callerOfRequest(req);
    const fn = this.find(res, req, name, access);
    if (fn === undefined) return;
    const query = req.getQuery();
    const path = slash === -1 ? '/' : url.slice(slash);
    const target = query === undefined ? path : `${path}?${query}`;
    this.invoke(res, req, fn, access, 'raw', req.getCaseSensitiveMethod(), target, false);
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
    const access = operation.scopes.length === 0 ? KNOWN_ANYONE : this.gate.callerOfRequest(req);
    const query = req.getQuery() ?? '';
    const contentType = operation.takesBody === true ? req.getHeader('content-type') : '';
    const length = operation.takesBody === true ? Number(req.getHeader('content-length') || 0) : 0;
    const writes = operation.by === 'control' && operation.method !== 'GET';
    const ifMatch = writes ? req.getHeader('if-match') : '';
    const waitMs = writes ? (writeWaitMs(query) ?? 0) : 0;
    const refuse = (no: Refused): void => reply.refuse(requestId, '', no);
    const answer = (known: Known, body: Uint8Array | null): void => {
      const { caller } = known;
      if (operation.by === 'executions' || operation.by === 'dead-letters') {
        const onGone = (callback: () => void): void => {
          gone = callback;
        };
        const ports = { reply, requestId, caller, onGone };
        const api = operation.by === 'executions' ? this.executionsApi : this.deadLettersApi;
        void api.answer(ports, operation, parameter, query);
      } else {
        const request = { requestId, caller, method, path, query, contentType, ifMatch, waitMs };
        this.admin.forward(reply, { ...request, body });
      }
    };
    // Whether the operation is allowed at all is told before its body is waited for, where it is known.
    const checked = this.checked(access, operation);
    if (checked instanceof Refused) refuse(checked);
    else if (operation.takesBody !== true)
      whenKnown(checked, refuse, (known) => answer(known, null));
    else {
      collect(res, length, MAX_OPERATION_BODY_BYTES, (body) => {
        whenKnown(checked, refuse, (known) => {
          const max = MAX_OPERATION_BODY_BYTES;
          if (body === undefined) refuse(new Refused('payload_too_large', tooLarge(max)));
          else answer(known, body);
        });
      });
    }
  }

  /** The caller, if it may ask for this operation at all: what it may of a function is for the one who answers. */
  private checked(
    access: Access | Promise<Access>,
    operation: Operation,
  ): Access | Promise<Access> {
    if (access instanceof Refused) return access;
    if (access instanceof Promise) {
      return access.then((known) => this.checked(known, operation));
    }
    const no = this.gate.limit(access, this.scheduler.ports.now());
    if (no !== undefined) return no;
    return may(access.caller, operation.scopes, '') ? access : lacksScope(operation.scopes);
  }

  /** The function, if this caller may invoke it now; it was answered why not otherwise. */
  private find(
    res: HttpResponse,
    req: HttpRequest,
    name: string,
    access: Access | Promise<Access>,
  ): FunctionState | undefined {
    const fn = this.functions.byUrlName(name);
    if (access instanceof Known && fn !== undefined) {
      const no = this.notAdmitted(access, fn.key, fn);
      if (no === undefined) return fn;
      this.refuse(res, req, this.ids.next(), '', no, null);
      return undefined;
    }
    if (access instanceof Refused) {
      this.refuse(res, req, this.ids.next(), '', access, null);
      return undefined;
    }
    if (fn !== undefined) return fn;
    const key = keyOfUrlName(name);
    const missing =
      key === undefined
        ? new Refused('invalid_function_name', `${JSON.stringify(clip(name))} is not a name.`)
        : new Refused('function_not_found', `There is no function ${name}.`);
    // A stranger, and one who may not call it, are not told whether it is there.
    const reasonFor = (known: Access): Refused => {
      if (known instanceof Refused) return known;
      return this.notAdmitted(known, key ?? '', null) ?? missing;
    };
    const pending = access instanceof Promise ? access.then(reasonFor) : null;
    const reason = access instanceof Known ? reasonFor(access) : missing;
    this.refuse(res, req, this.ids.next(), '', reason, pending);
    return undefined;
  }

  /** Why this caller may not invoke it now; takes one call off the limits. `key`: '' where it is no name at all. */
  private notAdmitted(known: Known, key: string, fn: FunctionState | null): Refused | undefined {
    const { gate } = this;
    if (known.bucket !== null) {
      const no = gate.limit(known, this.scheduler.ports.now());
      if (no !== undefined) return no;
    }
    if (key !== '' && !known.mayInvoke(key)) {
      if (!known.caller.scopes.includes('invoke')) return lacksScope(['invoke']);
      return new Refused('forbidden', `Its function patterns do not cover ${urlNameOfKey(key)}.`);
    }
    if (fn === null || fn.bucket === null) return undefined;
    const now = this.scheduler.ports.now();
    if (fn.bucket.take(now)) return undefined;
    fn.counters.countError('rate_limited');
    return rateLimited('All callers of the function together', fn.bucket, now);
  }

  // ---- invocations -------------------------------------------------------------------------------------------------

  private invoke(
    res: HttpResponse,
    req: HttpRequest,
    fn: FunctionState,
    access: Access | Promise<Access>,
    form: Form,
    method: string,
    target: string,
    async: boolean,
  ): void {
    const { scheduler } = this;
    // Not known yet: what is refused here is told once it is.
    const pending = access instanceof Promise ? access : null;
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
        const no = new Refused('invalid_timeout', detail);
        this.refuse(res, req, id, traceparent, no, pending);
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
        const no = new Refused('invalid_retries', detail);
        this.refuse(res, req, id, traceparent, no, pending);
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
      const no = new Refused('payload_too_large', tooLarge(fn.maxRequestBytes));
      this.refuse(res, req, id, traceparent, no, pending);
      return;
    }
    const key = req.getHeader('idempotency-key');
    if (key !== '' && !isIdempotencyKey(key)) {
      const detail = 'Idempotency-Key must be 1 to 255 printable ASCII characters.';
      fn.counters.countError('invalid_idempotency_key');
      const no = new Refused('invalid_idempotency_key', detail);
      this.refuse(res, req, id, traceparent, no, pending);
      return;
    }
    const timeMs = async ? fn.record.spec.deadlineMs : budgetMs;
    const refusal =
      key !== '' && access instanceof Known && this.idempotency.isKnown(fn, access.caller.id, key)
        ? scheduler.refusalOfBytes(fn, length)
        : scheduler.refusal(fn, length, timeMs);
    if (refusal !== undefined) {
      const again = refusal === 'draining' ? 1 : scheduler.retryAfterSeconds(fn, refusal);
      const no = new Refused(refusal, refusalDetail(refusal, fn, scheduler), again);
      this.refuse(res, req, id, traceparent, no, pending);
      return;
    }

    const reply = new HttpReply(res, this.batch, method === 'HEAD', this.scheduler);
    const declared = chunked ? undefined : length;
    let keyed: KeyedCall | null = null;
    if (key !== '') {
      const route = async ? 'enqueue' : form === 'raw' ? 'raw' : 'invoke';
      const contentType = req.getHeader('content-type');
      const request = { route, method, target, contentType } as const;
      keyed = this.idempotency.call(fn, key, request, reply);
    }
    if (async) {
      const { executions } = this;
      const asking = keyed ?? reply;
      const execution = executions.begin(fn, id, traceparent, budgetMs, maxRetries, asking);
      const { invocation } = execution;
      const identified = this.identify(invocation, access, reply);
      const submit = () => void executions.submit(execution);
      keyed?.bind(invocation, submit, execution);
      res.onAborted(() => {
        reply.onAborted();
        if (keyed !== null) keyed.clientGone();
        else if (execution.isAsking) scheduler.clientGone(invocation);
      });
      this.take(
        res,
        invocation,
        declared,
        keyed === null ? submit : () => keyed.submit(),
        identified,
      );
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
      form === 'raw' ? headersOf(req, this.gate) : NO_HEADERS,
      traceparent,
      keyed ?? reply,
      now,
      now + budgetMs,
    );
    invocation.maxRetries = maxRetries;
    const identified = this.identify(invocation, access, reply);
    keyed?.bind(invocation, () => scheduler.submit(invocation), null);
    res.onAborted(() => {
      reply.onAborted();
      if (keyed === null) scheduler.clientGone(invocation);
      else keyed.clientGone();
    });
    this.take(res, invocation, declared, keyed === null ? null : () => keyed.submit(), identified);
  }

  /** Notes who calls; where that is not known yet, null only once it is, or the invocation has failed for it. */
  private identify(
    invocation: Invocation,
    access: Access | Promise<Access>,
    reply: HttpReply,
  ): Promise<void> | null {
    if (access instanceof Known) {
      invocation.caller = access.caller;
      return null;
    }
    const { fn } = invocation;
    return Promise.resolve(access).then((known) => {
      if (invocation.state !== 'receiving') return;
      const no = known instanceof Known ? this.notAdmitted(known, fn.key, fn) : known;
      if (known instanceof Known) invocation.caller = known.caller;
      if (no === undefined) return;
      reply.addHeaders(no.headers);
      this.scheduler.fail(invocation, no.code, no.detail, no.retryAfterSeconds);
    });
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
    identified: Promise<void> | null,
  ): void {
    // One of unknown length holds a byte before any has come: that it is on its way is to be seen (send-off.ts).
    this.scheduler.open(invocation, declared ?? 1);
    if (declared === 0) this.submit(invocation, submit, identified);
    else this.receive(res, invocation, declared, submit, identified);
  }

  private receive(
    res: HttpResponse,
    invocation: Invocation,
    declared: number | undefined,
    submit: (() => void) | null,
    identified: Promise<void> | null,
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
      this.submit(invocation, submit, identified);
    });
  }

  /** Its body is there; who calls may not be known yet (N4). */
  private submit(
    invocation: Invocation,
    submit: (() => void) | null,
    identified: Promise<void> | null,
  ): void {
    if (identified !== null) {
      void identified.then(() => {
        if (invocation.state === 'receiving') this.submit(invocation, submit, null);
      });
    } else if (submit === null) this.scheduler.submit(invocation);
    else submit();
  }

  /** Answers what never became an invocation. What remains of the request's body is read and dropped. */
  private refuse(
    res: HttpResponse,
    req: HttpRequest,
    id: string,
    traceparent: string,
    no: Refused,
    pending: Promise<Access> | null,
  ): void {
    const isHead = req.getCaseSensitiveMethod() === 'HEAD';
    const reply = new HttpReply(res, this.batch, isHead, this.scheduler);
    res.onAborted(() => reply.onAborted());
    const trace = traceparent || newTraceparent();
    if (pending === null) reply.refuse(id, trace, no);
    else void pending.then((a) => reply.refuse(id, trace, a instanceof Refused ? a : no));
  }
}

/** Goes on with the caller, now or once it is known. */
function whenKnown(
  access: Access | Promise<Access>,
  refuse: (no: Refused) => void,
  goOn: (known: Known) => void,
): void {
  if (access instanceof Promise) void access.then((a) => whenKnown(a, refuse, goOn));
  else if (access instanceof Refused) refuse(access);
  else goOn(access);
}

function lacksScope(scopes: readonly Scope[]): Refused {
  return new Refused('forbidden', `It needs the scope ${scopes.join(' or ')}.`);
}

const NO_HEADERS: HeaderPairs = [];

/** The headers of a raw call, without `traceparent`, which travels with every invocation, and without our credentials. */
function headersOf(req: HttpRequest, gate: Gate): HeaderPairs {
  const headers: [string, string][] = [];
  req.forEach((name, value) => {
    if (NOT_FORWARDED.has(name) || gate.isCredential(name, value)) return;
    headers.push([name, value]);
  });
  return headers;
}

/** A stranger's text, short enough to be shown, and without a key that came to stand in it by mistake. */
function clip(text: string): string {
  const shown = text.replace(API_KEY_TEXT, `${API_KEY_PREFIX}...`);
  return shown.length > 100 ? `${shown.slice(0, 100)}...` : shown;
}

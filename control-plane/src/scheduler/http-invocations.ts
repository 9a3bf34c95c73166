/**
 * Invocations over HTTP: reads of a request what the call needs while it may (its object is dead once the handler returns),
 * refuses early what cannot be taken, collects the body, and submits.
 *
 * Invariants:
 *  N2. Bytes are held for a body before they are received: by its Content-Length, or as they come.
 *  N3. Nothing is parsed but the request line, a few headers and names.
 *  N4. Nothing is placed, and nothing told of a function, before it is known who calls and that it may. While a token is
 *      checked the body comes, under the same bounds as any other.
 */
import type { Form, HeaderPairs } from '@simmer/protocol/frames';
import { keyOfUrlName } from '@simmer/protocol/names';
import { MAX_RETRIES } from '@simmer/protocol/retry';
import { clip } from '../shared/clip.ts';
import { type Access, Refused } from './access/access.ts';
import type { Cors } from './access/cors.ts';
import type { Gate } from './access/gate.ts';
import { Known } from './access/known.ts';
import { notAdmitted } from './access/may-call.ts';
import type { Core } from './core.ts';
import type { Executions } from './executions/executions.ts';
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
import { copyOf, RequestBody } from './request-body.ts';
import type { Scheduler } from './scheduler.ts';
import type { TurnBatch } from './turn-batch.ts';
import type { HttpRequest, HttpResponse } from './uws.ts';

const TIMEOUT_DIGITS = /^[0-9]{1,9}$/;
const RETRY_DIGITS = /^[0-9]{1,3}$/;
const LENGTH_DIGITS = /^[0-9]*$/;

export class HttpInvocations {
  private readonly scheduler: Scheduler;
  private readonly functions: FunctionTable;
  private readonly executions: Executions;
  private readonly idempotency: Idempotency;
  private readonly gate: Gate;
  private readonly cors: Cors | null;
  private readonly batch: TurnBatch;
  private readonly ids: ExecutionIds;
  private readonly maxTimeoutMs: number;

  constructor(
    core: Core,
    gate: Gate,
    cors: Cors | null,
    batch: TurnBatch,
    ids: ExecutionIds,
    maxTimeoutMs: number,
  ) {
    this.scheduler = core.scheduler;
    this.functions = core.functions;
    this.executions = core.executions;
    this.idempotency = core.idempotency;
    this.gate = gate;
    this.cors = cors;
    this.batch = batch;
    this.ids = ids;
    this.maxTimeoutMs = maxTimeoutMs;
  }

  /** A call of the function of this name. `target`: of a raw one, path and query as its handler is to see them. */
  call(
    res: HttpResponse,
    req: HttpRequest,
    name: string,
    form: Form,
    method: string,
    target: string,
    async: boolean,
  ): void {
    const access = this.gate.callerOfRequest(req);
    const fn = this.find(res, req, name, access);
    if (fn !== undefined) this.invoke(res, req, fn, access, form, method, target, async);
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
      const no = notAdmitted(this.gate, access, fn.key, fn, this.scheduler.ports);
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
      return notAdmitted(this.gate, known, key ?? '', null, this.scheduler.ports) ?? missing;
    };
    const pending = access instanceof Promise ? access.then(reasonFor) : null;
    const reason = access instanceof Known ? reasonFor(access) : missing;
    this.refuse(res, req, this.ids.next(), '', reason, pending);
    return undefined;
  }

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
    const id = this.ids.next();
    const given = req.getHeader('traceparent');
    const traceparent = traceparentOf(given, given === '' ? req.getHeader('x-trace-id') : '');

    let budgetMs = fn.timeoutMs;
    const wanted = req.getHeader('x-timeout-ms');
    if (wanted !== '') {
      budgetMs = TIMEOUT_DIGITS.test(wanted) ? Number(wanted) : 0;
      const max = this.maxTimeoutMs;
      if (budgetMs < 1 || budgetMs > max) {
        const detail = `X-Timeout-Ms must be a whole number from 1 to ${max}.`;
        fn.counters.countError('invalid_timeout');
        const no = new Refused('invalid_timeout', detail);
        this.refuseCall(res, req, id, traceparent, no, access, fn);
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
        this.refuseCall(res, req, id, traceparent, no, access, fn);
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
      this.refuseCall(res, req, id, traceparent, no, access, fn);
      return;
    }
    const key = req.getHeader('idempotency-key');
    if (key !== '' && !isIdempotencyKey(key)) {
      const detail = 'Idempotency-Key must be 1 to 255 printable ASCII characters.';
      fn.counters.countError('invalid_idempotency_key');
      const no = new Refused('invalid_idempotency_key', detail);
      this.refuseCall(res, req, id, traceparent, no, access, fn);
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
      this.refuseCall(res, req, id, traceparent, no, access, fn);
      return;
    }

    const reply = this.replyTo(res, req, method);
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
      const no =
        known instanceof Known
          ? notAdmitted(this.gate, known, fn.key, fn, this.scheduler.ports)
          : known;
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

  private replyTo(res: HttpResponse, req: HttpRequest, method: string): HttpReply {
    const reply = new HttpReply(res, this.batch, method === 'HEAD', this.scheduler);
    if (this.cors !== null) reply.shareWith(this.cors.headersFor(req.getHeader('origin')));
    return reply;
  }

  /** A call that cannot be, of one who may not be known yet: whether they may call at all is told first. */
  private refuseCall(
    res: HttpResponse,
    req: HttpRequest,
    id: string,
    traceparent: string,
    no: Refused,
    access: Access | Promise<Access>,
    fn: FunctionState,
  ): void {
    const reasonFor = (known: Access): Refused =>
      known instanceof Refused
        ? known
        : (notAdmitted(this.gate, known, fn.key, fn, this.scheduler.ports) ?? no);
    const pending = access instanceof Promise ? access.then(reasonFor) : null;
    this.refuse(res, req, id, traceparent, no, pending);
  }

  /** Answers what never became an invocation. What remains of the request's body is read and dropped. */
  private refuse(
    res: HttpResponse,
    req: HttpRequest,
    id: string,
    traceparent: string,
    no: Refused,
    pending: Promise<Refused> | null,
  ): void {
    const reply = this.replyTo(res, req, req.getCaseSensitiveMethod());
    res.onAborted(() => reply.onAborted());
    const trace = traceparent || newTraceparent();
    if (pending === null) reply.refuse(id, trace, no);
    else void pending.then((first) => reply.refuse(id, trace, first));
  }
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

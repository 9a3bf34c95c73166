/**
 * What is asked for on the public port and is no invocation: found in the table of operations (protocol/operations.ts), allowed
 * or not, and handed to the part of the server that answers it.
 */
import { MAX_OPERATION_BODY_BYTES, type Operation } from '@simmer/protocol/operations';
import { may } from '../shared/caller.ts';
import { clip } from '../shared/clip.ts';
import { writeWaitMs } from '../shared/write-wait.ts';
import { type Access, Refused } from './access/access.ts';
import type { Cors } from './access/cors.ts';
import type { Gate } from './access/gate.ts';
import { KNOWN_ANYONE, type Known } from './access/known.ts';
import { lacksScope } from './access/may-call.ts';
import type { AdminRequests } from './admin-requests.ts';
import type { Core } from './core.ts';
import { DeadLettersApi } from './dead-letters/dead-letters-api.ts';
import { ExecutionsApi } from './executions/executions-api.ts';
import { HttpReply } from './http-reply.ts';
import type { ExecutionIds } from './ids.ts';
import { tooLarge } from './refusals.ts';
import { collect, collectShared } from './request-body.ts';
import { routeOf } from './routes.ts';
import type { Scheduler } from './scheduler.ts';
import type { TurnBatch } from './turn-batch.ts';
import type { HttpRequest, HttpResponse } from './uws.ts';

/** Of the largest code, that may be on their way at once: each is held in memory until it is answered. */
const UPLOADS = 4;

export class HttpOperations {
  private readonly scheduler: Scheduler;
  private readonly admin: AdminRequests;
  private readonly executionsApi: ExecutionsApi;
  private readonly deadLettersApi: DeadLettersApi;
  private readonly gate: Gate;
  private readonly cors: Cors | null;
  private readonly batch: TurnBatch;
  private readonly ids: ExecutionIds;
  private readonly maxBundleBytes: number;
  /** Of code that is received, or was handed over and is not answered. */
  private codeBytes = 0;

  constructor(
    core: Core,
    admin: AdminRequests,
    gate: Gate,
    cors: Cors | null,
    batch: TurnBatch,
    ids: ExecutionIds,
    bootId: string,
    maxBundleBytes: number,
  ) {
    this.scheduler = core.scheduler;
    this.admin = admin;
    this.executionsApi = new ExecutionsApi(core.executions, bootId, core.scheduler.logs);
    this.deadLettersApi = new DeadLettersApi(core.deadLetters, bootId);
    this.gate = gate;
    this.cors = cors;
    this.batch = batch;
    this.ids = ids;
    this.maxBundleBytes = maxBundleBytes;
  }

  /** Whether it was a preflight: a browser asks what a page may send, without credentials. No handler is asked. */
  answersPreflight(res: HttpResponse, req: HttpRequest, cors: Cors): boolean {
    // Not `getMethod`, which turns it to lower case for good.
    if (req.getCaseSensitiveMethod() !== 'OPTIONS') return false;
    const origin = req.getHeader('origin');
    if (origin === '' || req.getHeader('access-control-request-method') === '') return false;
    const reply = new HttpReply(res, this.batch, false, this.scheduler);
    res.onAborted(() => reply.onAborted());
    reply.shareWith(cors.headersFor(origin));
    reply.addHeaders(cors.preflightHeaders(req.getHeader('access-control-request-headers')));
    reply.answer(this.ids.next(), '', 204, '', '');
    return true;
  }

  take(res: HttpResponse, req: HttpRequest): void {
    const method = req.getCaseSensitiveMethod();
    const path = req.getUrl();
    const reply = new HttpReply(res, this.batch, method === 'HEAD', this.scheduler);
    if (this.cors !== null) reply.shareWith(this.cors.headersFor(req.getHeader('origin')));
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
    if (operation.by === 'stream') {
      // stream-server.ts takes those that ask for the upgrade.
      reply.addHeaders([['upgrade', 'websocket']]);
      reply.failWith(requestId, '', 'upgrade_required', `${path} is a WebSocket.`);
      return;
    }
    const access = operation.scopes.length === 0 ? KNOWN_ANYONE : this.gate.callerOfRequest(req);
    const query = req.getQuery() ?? '';
    const { takesBody } = operation;
    const contentType = takesBody ? req.getHeader('content-type') : '';
    const length = takesBody ? Number(req.getHeader('content-length') || 0) : 0;
    const contentDigest = takesBody === 'code' ? req.getHeader('content-digest') : '';
    const writes = operation.by === 'control' && operation.method !== 'GET';
    const ifMatch = writes ? req.getHeader('if-match') : '';
    const waitMs = writes ? (writeWaitMs(query) ?? 0) : 0;
    const refuse = (no: Refused): void => reply.refuse(requestId, '', no);
    const answer = (known: Known, body: Uint8Array | null, answered = (): void => {}): void => {
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
        this.admin.forward(reply, { ...request, contentDigest, body }, answered);
      }
    };
    // Whether the operation is allowed at all is told before its body is waited for, where it is known.
    const checked = this.checked(access, operation);
    if (checked instanceof Refused) refuse(checked);
    else if (takesBody === undefined) whenKnown(checked, refuse, (known) => answer(known, null));
    else if (takesBody === 'code') {
      const release = this.holdCode(length);
      if (release === undefined) {
        const detail = 'Too much code is being uploaded.';
        reply.failWith(requestId, '', 'overloaded', detail, { retryAfterSeconds: 1 });
        return;
      }
      gone = release;
      collectShared(res, length, this.maxBundleBytes, (body) => {
        gone = () => {};
        const no = (refused: Refused): void => {
          release();
          refuse(refused);
        };
        whenKnown(checked, no, (known) => {
          if (body !== undefined) answer(known, body, release);
          else no(new Refused('payload_too_large', tooLarge(this.maxBundleBytes)));
        });
      });
    } else {
      collect(res, length, MAX_OPERATION_BODY_BYTES, (body) => {
        whenKnown(checked, refuse, (known) => {
          const max = MAX_OPERATION_BODY_BYTES;
          if (body === undefined) refuse(new Refused('payload_too_large', tooLarge(max)));
          else answer(known, body);
        });
      });
    }
  }

  /** Room for code of this length, or of any where it is not told (0); what gives it back, once. Undefined: there is none. */
  private holdCode(length: number): (() => void) | undefined {
    const bytes = length === 0 ? this.maxBundleBytes : Math.min(length, this.maxBundleBytes);
    if (this.codeBytes + bytes > UPLOADS * this.maxBundleBytes) return undefined;
    this.codeBytes += bytes;
    let held = true;
    return () => {
      if (held) this.codeBytes -= bytes;
      held = false;
    };
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
    return may(access.caller, operation.scopes, '')
      ? access
      : this.gate.counted(lacksScope(operation.scopes));
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

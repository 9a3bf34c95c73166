/**
 * The public port (8080): which requests are invocations (http-invocations.ts), which are other operations
 * (http-operations.ts), and clients' WebSockets (stream/).
 *
 * Invariants:
 *  N1. Every request is answered once, by the core's Reply or where it was refused; its X-Execution-Id names it in the log.
 *  (N2 to N4: http-invocations.ts)
 */
import { Cors } from './access/cors.ts';
import type { Gate } from './access/gate.ts';
import { notAdmitted } from './access/may-call.ts';
import type { AdminRequests } from './admin-requests.ts';
import { ClientPort, type TlsFiles } from './client-port.ts';
import type { Core } from './core.ts';
import type { Forwarder } from './forwarder.ts';
import { HttpInvocations } from './http-invocations.ts';
import { HttpOperations } from './http-operations.ts';
import type { ExecutionIds } from './ids.ts';
import { StreamServer } from './stream/stream-server.ts';
import type { TurnBatch } from './turn-batch.ts';
import type { HttpRequest, HttpResponse, Uws, us_listen_socket } from './uws.ts';

export interface IngressSettings {
  readonly host: string;
  readonly port: number;
  /** Of this process: its execution ids begin with it. */
  readonly bootId: string;
  readonly maxTimeoutMs: number;
  /** Between two pings of a client's WebSocket. */
  readonly streamHeartbeatMs: number;
  /** Of pages that may read answers: `scheme://host[:port]`, or `*`. */
  readonly corsOrigins?: readonly string[];
  /** Of code that is uploaded. */
  readonly maxBundleBytes: number;
  /** Absent: plain HTTP. */
  readonly tls?: TlsFiles;
}

const INVOKE = ':invoke';
const ENQUEUE = ':enqueue';
const FN_PREFIX = '/fn/';

export class Ingress {
  private readonly settings: IngressSettings;
  private readonly invocations: HttpInvocations;
  private readonly operations: HttpOperations;
  private readonly cors: Cors | null;
  private port: ClientPort | null = null;
  /** Clients' WebSockets. */
  readonly streams: StreamServer;
  private forwarder: Forwarder | null = null;

  constructor(
    core: Core,
    admin: AdminRequests,
    gate: Gate,
    batch: TurnBatch,
    ids: ExecutionIds,
    settings: IngressSettings,
  ) {
    const { bootId, maxTimeoutMs, maxBundleBytes, streamHeartbeatMs: heartbeatMs } = settings;
    const { scheduler, functions, executions, idempotency } = core;
    this.settings = settings;
    this.cors = Cors.of(settings.corsOrigins ?? []);
    this.invocations = new HttpInvocations(core, gate, this.cors, batch, ids, maxTimeoutMs);
    this.operations = new HttpOperations(
      ...([core, admin, gate, this.cors, batch, ids, bootId, maxBundleBytes] as const),
    );
    this.streams = new StreamServer({
      ...{ scheduler, functions, executions, idempotency, gate, batch, ids },
      ...{ bootId, maxTimeoutMs, heartbeatMs, cors: this.cors },
      notAdmitted: (known, key, fn) => notAdmitted(gate, known, key, fn, scheduler.ports),
    });
  }

  listen(uws: Uws): Promise<{ socket: us_listen_socket; port: number }> {
    const { host, port, tls = null } = this.settings;
    this.port = new ClientPort(uws, (app) => {
      this.streams.serve(uws, app);
      app.post('/v1/functions/:target', (res, req) => this.onFunctionPost(res, req));
      app.any('/fn/*', (res, req) => this.onRaw(res, req));
      app.any('/*', (res, req) => this.onOther(res, req));
    });
    return this.port.listen(host, port, tls);
  }

  /** @throws where it is none; the one before goes on then */
  useCertificate(tls: TlsFiles): void {
    this.port?.use(tls);
  }

  /** From now on every request goes there: another control plane has taken over. */
  sendClientsTo(forwarder: Forwarder): void {
    this.forwarder = forwarder;
    this.streams.goaway();
  }

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
    const name = target.slice(0, -verb.length);
    this.invocations.call(res, req, name, 'value', 'POST', '', verb === ENQUEUE);
  }

  private onRaw(res: HttpResponse, req: HttpRequest): void {
    if (this.forwarder !== null) {
      this.forwarder.take(res, req);
      return;
    }
    if (this.cors !== null && this.operations.answersPreflight(res, req, this.cors)) return;
    const url = req.getUrl();
    const slash = url.indexOf('/', FN_PREFIX.length);
    const name = slash === -1 ? url.slice(FN_PREFIX.length) : url.slice(FN_PREFIX.length, slash);
    const query = req.getQuery();
    const path = slash === -1 ? '/' : url.slice(slash);
    const target = query === undefined ? path : `${path}?${query}`;
    this.invocations.call(res, req, name, 'raw', req.getCaseSensitiveMethod(), target, false);
  }

  private onOther(res: HttpResponse, req: HttpRequest): void {
    if (this.forwarder !== null) this.forwarder.take(res, req);
    else if (this.cors === null || !this.operations.answersPreflight(res, req, this.cors)) {
      this.operations.take(res, req);
    }
  }
}

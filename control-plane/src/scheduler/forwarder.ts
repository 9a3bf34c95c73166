/**
 * Requests that still come here while another control plane leads: passed on to it, their answers passed back. A node's
 * routing follows the label of the leader only after some time, and a client's open connection not at all.
 *
 * Invariants:
 *  F1. A request is passed on once: what may have run is never sent again. One that did not get there is answered 503
 *      `draining`; where the answer breaks off, so does the client's connection, as if it had been connected there.
 *  F2. Every answer ends its connection: the client's next one goes to the leader.
 *  F3. Who reads slowly is not read for: body and answer wait for each other's sockets.
 *  F4. `res` is never touched once the client has gone.
 */
import {
  type ClientRequest,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { ConnectionOptions } from 'node:tls';
import { HOP_BY_HOP } from './hop-by-hop.ts';
import { type House, HttpReply, statusLine } from './http-reply.ts';
import type { TurnBatch } from './turn-batch.ts';
import type { HttpRequest, HttpResponse } from './uws.ts';

const NOT_PASSED_ON: ReadonlySet<string> = new Set([...HOP_BY_HOP, 'expect']);
/** uWebSockets.js writes its own of the last three. */
const NOT_PASSED_BACK: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  'content-length',
  'date',
  'uwebsockets',
]);
const RETRY_AFTER_SECONDS = 1;

export interface ForwarderOptions {
  /** Of the leader's clients' port: an http or https URL; '' where it is not known, then all is refused. */
  readonly address: string;
  /** PEM: the certificate that the leader shows, which is ours as well; with https. */
  readonly certificate?: string;
  /** Milliseconds, monotonic. */
  now(): number;
  newId(): string;
  readonly batch: TurnBatch;
  readonly house: House;
}

export class Forwarder {
  /** Requests that are not answered yet. */
  live = 0;
  /** When the last request came, on the clock of `now`; when this was made, before the first. */
  lastRequestAt: number;
  private readonly options: ForwarderOptions;
  private readonly to: RequestOptions | undefined;
  private readonly request: typeof httpRequest;

  constructor(options: ForwarderOptions) {
    this.options = options;
    this.lastRequestAt = options.now();
    this.request = options.address.startsWith('https:') ? httpsRequest : httpRequest;
    if (options.address !== '') {
      const { hostname, port } = new URL(options.address);
      const tls = options.certificate === undefined ? {} : pinned(options.certificate);
      this.to = { host: hostname.replace(/^\[|\]$/g, ''), port, ...tls };
    }
  }

  /** Reads `req`, which is dead once this returns, and answers `res` in its time. */
  take(res: HttpResponse, req: HttpRequest): void {
    this.live++;
    this.lastRequestAt = this.options.now();
    const isHead = req.getCaseSensitiveMethod() === 'HEAD';
    const exchange = new Exchange(res, isHead, this.options, () => {
      this.live--;
    });
    if (this.to === undefined) exchange.refuse();
    else exchange.send(this.open(req, this.to), hasBody(req));
  }

  private open(req: HttpRequest, to: RequestOptions): ClientRequest {
    const query = req.getQuery();
    const headers: string[] = [];
    req.forEach((name, value) => {
      if (!NOT_PASSED_ON.has(name)) headers.push(name, asLatin1(value));
      else if (name === 'transfer-encoding') headers.push(name, 'chunked'); // nothing else gets here
    });
    return this.request({
      ...to,
      // A connection each: one that was kept might be closed under its next request, which is not sent again (F1).
      agent: false,
      method: req.getCaseSensitiveMethod(),
      path: query === undefined ? req.getUrl() : `${req.getUrl()}?${query}`,
      headers,
    });
  }
}

/** One request and its answer. */
class Exchange {
  private readonly res: HttpResponse;
  private readonly isHead: boolean;
  private readonly options: ForwarderOptions;
  /** Of what did not get there. */
  private readonly refusal: HttpReply;
  private readonly onEnd: () => void;
  private upstream: ClientRequest | undefined;
  private state: 'sent' | 'answering' | 'ended' = 'sent';

  constructor(res: HttpResponse, isHead: boolean, options: ForwarderOptions, onEnd: () => void) {
    this.res = res;
    this.isHead = isHead;
    this.options = options;
    this.refusal = new HttpReply(res, options.batch, isHead, options.house);
    this.onEnd = onEnd;
    res.onAborted(() => {
      this.end();
      this.refusal.onAborted();
      this.upstream?.destroy();
    });
  }

  send(upstream: ClientRequest, body: boolean): void {
    this.upstream = upstream;
    // F1: without a connection nothing was sent.
    let connected = false;
    upstream.once('socket', (socket) => {
      // With TLS nothing goes out before it is known who answers.
      socket.once('encrypted' in socket ? 'secureConnect' : 'connect', () => {
        connected = true;
      });
    });
    upstream.on('error', () => {
      // An answer that has begun tells of its own end.
      if (this.state !== 'sent') return;
      if (connected) this.breakOff();
      else this.refuse();
    });
    upstream.on('response', (response) => this.answer(response));
    if (!body) {
      upstream.end();
      return;
    }
    const { res } = this;
    res.onData((chunk, isLast) => {
      // Answered already: what still comes of it is dropped.
      if (this.state !== 'sent') return;
      // It is neutered when this returns.
      const room = upstream.write(Buffer.from(chunk.slice(0)));
      if (isLast) upstream.end();
      else if (!room && this.state === 'sent') {
        res.pause(); // F3
        upstream.once('drain', () => {
          if (this.state !== 'ended') res.resume();
        });
      }
    });
  }

  private answer(response: IncomingMessage): void {
    if (this.state !== 'sent') return;
    this.state = 'answering';
    const status = response.statusCode ?? 502;
    const bodiless = this.isHead || status === 204 || status === 304;
    const length = response.headers['content-length'];
    response.on('error', () => this.breakOff());
    if (bodiless || length === undefined) this.stream(response, status, bodiless, length);
    else this.whole(response, status);
  }

  /** Its length is known, and within what a result may be. */
  private whole(response: IncomingMessage, status: number): void {
    const pieces: Buffer[] = [];
    response.on('data', (piece: Buffer) => pieces.push(piece));
    response.on('end', () => {
      if (this.state === 'ended') return;
      this.end();
      this.res.cork(() => {
        this.writeHead(response, status);
        this.res.end(Buffer.concat(pieces), true);
      });
    });
  }

  private stream(
    response: IncomingMessage,
    status: number,
    bodiless: boolean,
    length: string | undefined,
  ): void {
    const { res } = this;
    res.cork(() => {
      this.writeHead(response, status);
      res.writeHeader('connection', 'close');
      // As a header of its own: see HttpReply.endHead.
      if (bodiless && length !== undefined) res.writeHeader('content-length', length);
      if (!bodiless) return;
      this.end();
      res.endWithoutBody();
    });
    if (bodiless) {
      response.resume();
      return;
    }
    res.onWritable(() => {
      response.resume();
      return true;
    });
    response.on('data', (piece: Buffer) => {
      if (this.state === 'ended') return;
      res.cork(() => {
        if (!res.write(piece)) response.pause(); // F3
      });
    });
    response.on('end', () => {
      if (this.state === 'ended') return;
      this.end();
      res.cork(() => res.end());
    });
  }

  private writeHead({ rawHeaders }: IncomingMessage, status: number): void {
    this.res.writeStatus(statusLine(status));
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const name = rawHeaders[i] as string;
      const key = name.toLowerCase();
      if (NOT_PASSED_BACK.has(key)) continue;
      this.res.writeHeader(name, asUtf8(rawHeaders[i + 1] as string));
    }
  }

  /** It did not get there. */
  refuse(): void {
    if (this.state === 'ended') return;
    this.end();
    const detail = 'This control plane has handed over to another.';
    this.refusal.failWith(this.options.newId(), '', 'draining', detail, {
      retryAfterSeconds: RETRY_AFTER_SECONDS,
    });
  }

  private breakOff(): void {
    if (this.state === 'ended') return;
    this.end();
    this.res.close();
  }

  private end(): void {
    if (this.state === 'ended') return;
    this.state = 'ended';
    this.onEnd();
  }
}

/** Whoever shows that very certificate (or one signed by it): the leader is reached by an address that no certificate bears. */
function pinned(ca: string): ConnectionOptions {
  return { ca, allowPartialTrustChain: true, checkServerIdentity: () => undefined };
}

function hasBody(req: HttpRequest): boolean {
  const length = req.getHeader('content-length');
  return (length !== '' && length !== '0') || req.getHeader('transfer-encoding') !== '';
}

const NOT_ASCII = /[^\0-\x7f]/;

/** uWebSockets.js reads and writes headers as UTF-8, Node as Latin-1: the same bytes. */
function asLatin1(text: string): string {
  return NOT_ASCII.test(text) ? Buffer.from(text, 'utf8').toString('latin1') : text;
}
function asUtf8(text: string): string {
  return NOT_ASCII.test(text) ? Buffer.from(text, 'latin1').toString('utf8') : text;
}

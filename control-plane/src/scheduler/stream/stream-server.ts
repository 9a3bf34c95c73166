/**
 * `/v1/stream`: where clients' WebSockets are let in, and all those that are open.
 *
 * A credential comes as a header, or, from a browser, as an offered subprotocol; never in the URL, which others log.
 */
import {
  BEARER_PROTOCOL,
  CLIENT_JSON,
  CLIENT_MSGPACK,
  MAX_BINARY_BYTES,
  STREAM_PATH,
} from '@simmer/protocol/client-messages';
import type { Cors } from '../access/cors.ts';
import { type Access, Refused } from '../access/gate.ts';
import type { Known } from '../access/known.ts';
import { HttpReply } from '../http-reply.ts';
import type { HttpRequest, HttpResponse, TemplatedApp, Uws, us_socket_context_t } from '../uws.ts';
import { StreamRequests } from './stream-requests.ts';
import { type Credential, StreamSocket, type StreamSocketPorts } from './stream-socket.ts';

type ServerPorts = Omit<StreamSocketPorts, 'requests' | 'closed'> & { readonly cors: Cors | null };

interface SocketData {
  readonly binary: boolean;
  readonly known: Known;
  readonly credential: Credential;
  socket: StreamSocket | null;
}

export class StreamServer {
  private readonly ports: StreamSocketPorts;
  private readonly cors: Cors | null;
  private readonly sockets = new Set<StreamSocket>();
  /** Another control plane has taken over. */
  private leaving = false;

  constructor(ports: ServerPorts) {
    this.cors = ports.cors;
    this.ports = {
      ...ports,
      requests: new StreamRequests(ports),
      closed: (socket) => void this.sockets.delete(socket),
    };
  }

  serve(uws: Uws, app: TemplatedApp): void {
    app.ws<SocketData>(STREAM_PATH, {
      compression: uws.DISABLED,
      maxPayloadLength: MAX_BINARY_BYTES,
      // Off: O1 of outbox.ts, and S3 of stream-socket.ts.
      maxBackpressure: 0,
      idleTimeout: 0,
      maxLifetime: 0,
      sendPingsAutomatically: false,
      upgrade: (res, req, context) => this.upgrade(res, req, context),
      open: (ws) => {
        const data = ws.getUserData();
        data.socket = new StreamSocket(ws, data.binary, data.known, data.credential, this.ports);
        this.sockets.add(data.socket);
      },
      message: (ws, message, isBinary) => ws.getUserData().socket?.onMessage(message, isBinary),
      drain: (ws) => ws.getUserData().socket?.onDrain(),
      pong: (ws) => ws.getUserData().socket?.onPong(),
      close: (ws) => ws.getUserData().socket?.onClose(),
    });
  }

  /** No new request is taken; sockets close as their last one ends. */
  goaway(): void {
    this.leaving = true;
    for (const socket of this.sockets) socket.goaway();
  }

  private upgrade(res: HttpResponse, req: HttpRequest, context: us_socket_context_t): void {
    const offered = protocolsOf(req);
    const chosen = chosenOf(offered);
    const foreign = this.foreign(req);
    const credential = credentialOf(req, offered);
    const access = this.ports.gate.callerOf(credential.authorization, credential.apiKey);
    const binary = chosen === CLIENT_MSGPACK;
    // One that offers none gets none, as RFC 6455 has it.
    const protocol = offered.length === 0 ? '' : (chosen ?? '');
    const [key, extensions] = ['sec-websocket-key', 'sec-websocket-extensions'].map((name) =>
      req.getHeader(name),
    ) as [string, string];
    let gone = false;
    const admit = (known: Access): void => {
      if (gone) return;
      // Only now: while a token was looked at, the goodbye may have been said.
      const no = this.closedTo(chosen) ?? foreign;
      const refused = no ?? (known instanceof Refused ? known : undefined);
      if (refused !== undefined) {
        this.refuse(res, refused);
        return;
      }
      const data = { binary, known: known as Known, credential, socket: null };
      res.cork(() => res.upgrade<SocketData>(data, key, protocol, extensions, context));
    };
    if (!(access instanceof Promise)) {
      admit(access);
      return;
    }
    res.onAborted(() => {
      gone = true;
    });
    void access.then(admit);
  }

  /** Why nobody is let in this way. */
  private closedTo(chosen: string | undefined): Refused | undefined {
    if (this.leaving || this.ports.scheduler.draining) {
      return new Refused('draining', 'This control plane is shutting down.', 1);
    }
    if (chosen !== undefined) return undefined;
    const detail = `Of the subprotocols ${CLIENT_JSON} and ${CLIENT_MSGPACK} none is offered.`;
    return new Refused('unknown_subprotocol', detail);
  }

  /**
   * A page of another origin: browsers let any of them open a WebSocket here, and read what comes. One without an `Origin`
   * is no browser.
   */
  private foreign(req: HttpRequest): Refused | undefined {
    const origin = req.getHeader('origin');
    if (origin === '' || this.cors?.allows(origin)) return undefined;
    const own = URL.parse(origin)?.host === req.getHeader('host');
    if (own) return undefined;
    return new Refused('forbidden', 'Pages of this origin are not among `cors-origins`.');
  }

  private refuse(res: HttpResponse, no: Refused): void {
    const { batch, ids, scheduler } = this.ports;
    const reply = new HttpReply(res, batch, false, scheduler);
    res.onAborted(() => reply.onAborted());
    scheduler.counters.addStream('refusedUpgrades', 1);
    reply.refuse(ids.next(), '', no);
  }
}

/** A header's; else that of the offered subprotocol, which a browser can set. */
function credentialOf(req: HttpRequest, offered: readonly string[]): Credential {
  const authorization = req.getHeader('authorization');
  const apiKey = req.getHeader('x-api-key');
  const entry = offered.find((name) => name.startsWith(BEARER_PROTOCOL));
  if (authorization !== '' || apiKey !== '' || entry === undefined) {
    return { authorization, apiKey };
  }
  const text = Buffer.from(entry.slice(BEARER_PROTOCOL.length), 'base64url').toString('latin1');
  return { authorization: `Bearer ${text}`, apiKey: '' };
}

function protocolsOf(req: HttpRequest): string[] {
  const header = req.getHeader('sec-websocket-protocol');
  return header === '' ? [] : header.split(',').map((name) => name.trim());
}

/** undefined: those that are offered are not spoken here. */
function chosenOf(offered: readonly string[]): string | undefined {
  const names = offered.filter((name) => !name.startsWith(BEARER_PROTOCOL));
  if (names.length === 0) return CLIENT_JSON;
  return names.find((name) => name === CLIENT_JSON || name === CLIENT_MSGPACK);
}

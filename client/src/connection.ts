/**
 * One WebSocket to `/v1/stream` and the requests that are open on it.
 *
 *   dialling ──hello──▶ open ──goaway──▶ leaving ──▶ closed
 *      └────────────────▶ closed ◀──lost, silent──┘
 *
 * Invariants:
 *  N1. Nothing is sent before the server's `hello`, and no more requests are open than it allows.
 *  N2. While requests are open, a server that says nothing for its own idle time is lost: it is pinged at half of that.
 */
import { decodeJson, encodeJson } from '@simmer/protocol/client-json';
import {
  BEARER_PROTOCOL,
  CLIENT_JSON,
  CLIENT_MSGPACK,
  type ClientMessage,
  MAX_TEXT_BYTES,
  type ServerMessage,
} from '@simmer/protocol/client-messages';
import { decodeMsgpack, encodeMsgpack } from '@simmer/protocol/client-msgpack';
import { SimmerError } from './errors.ts';
import type { Exchange, Wire } from './exchange.ts';

const NORMAL_CLOSURE = 1000;
const ABNORMAL_CLOSURE = 1006;

export interface ConnectionOwner {
  /** It may be given requests, or more of them. */
  ready(connection: Connection): void;
  /** No new requests are to go there. */
  leaving(connection: Connection): void;
  /** It is to be sent once more: it was refused before anything was done for it. */
  refused(exchange: Exchange): void;
  /** `open`: what had no answer. */
  closed(connection: Connection, open: readonly Exchange[], code: number, reason: string): void;
}

export class Connection implements Wire {
  readonly binary: boolean;
  windowBytes = 0;
  private readonly ws: WebSocket;
  private readonly owner: ConnectionOwner;
  private readonly open = new Map<number, Exchange>();
  private state: 'dialling' | 'open' | 'leaving' | 'closed' = 'dialling';
  private maxRequests = 0;
  private idleTimeoutMs = 0;
  private lastHeardAt = 0;
  private timer: ReturnType<typeof setInterval> | undefined;

  constructor(url: string, binary: boolean, key: string | undefined, owner: ConnectionOwner) {
    this.binary = binary;
    this.owner = owner;
    const protocols = [binary ? CLIENT_MSGPACK : CLIENT_JSON];
    if (key !== undefined) protocols.push(BEARER_PROTOCOL + base64url(key));
    this.ws = new WebSocket(url, protocols);
    this.ws.binaryType = 'arraybuffer';
    this.ws.onmessage = ({ data }) => this.onMessage(data as string | ArrayBuffer);
    this.ws.onclose = ({ code, reason }) => this.onClose(code, reason);
    // What it was, its close tells as far as anything does; but Node has none for a dial that failed.
    this.ws.onerror = () => {
      if (this.state === 'dialling') this.onClose(ABNORMAL_CLOSURE, 'no connection');
    };
  }

  get hasRoom(): boolean {
    return this.state === 'open' && this.open.size < this.maxRequests;
  }

  start(exchange: Exchange): void {
    this.open.set(exchange.first.id, exchange);
    this.watch();
    try {
      exchange.send(this);
    } catch (error) {
      this.drop(exchange.first.id);
      exchange.fail(error);
    }
  }

  /** Its caller has given it up. */
  forget(exchange: Exchange): void {
    if (this.drop(exchange.first.id)) this.owner.ready(this);
  }

  send(message: ClientMessage): void {
    if (this.state === 'closed') return;
    if (this.binary) {
      // The types of browsers want memory that is not shared, which this is.
      this.ws.send(encodeMsgpack(message) as Uint8Array<ArrayBuffer>);
      return;
    }
    const text = encodeJson(message);
    if (text.length > MAX_TEXT_BYTES / 3 && utf8Length(text) > MAX_TEXT_BYTES) {
      const detail = `A text message has room for ${MAX_TEXT_BYTES} bytes; the msgpack spelling takes more.`;
      throw new SimmerError({ code: 'message_too_large', detail });
    }
    this.ws.send(text);
  }

  close(): void {
    if (this.state === 'closed') return;
    this.ws.close(NORMAL_CLOSURE);
    this.onClose(NORMAL_CLOSURE, 'closed by this client');
  }

  private onMessage(data: string | ArrayBuffer): void {
    if (this.state === 'closed') return;
    this.lastHeardAt = Date.now();
    let message: ServerMessage;
    try {
      message = (
        typeof data === 'string' ? decodeJson(data) : decodeMsgpack(new Uint8Array(data))
      ) as ServerMessage;
    } catch (error) {
      this.ws.close();
      this.onClose(0, (error as Error).message);
      return;
    }
    if (message.type === 'hello') {
      this.state = 'open';
      this.maxRequests = message.maxRequests;
      this.windowBytes = message.windowBytes;
      this.idleTimeoutMs = message.idleTimeoutMs;
      this.owner.ready(this);
    } else if (message.type === 'goaway') {
      this.state = 'leaving';
      this.owner.leaving(this);
    } else if ('id' in message) {
      this.onAnswer(message.id, message);
    }
  }

  private onAnswer(id: number, message: ServerMessage): void {
    const exchange = this.open.get(id);
    if (exchange === undefined) return;
    const refused = !exchange.onMessage(message, this.state === 'leaving');
    if (!refused && !exchange.isDone) return;
    this.drop(id);
    if (refused) this.owner.refused(exchange);
    this.owner.ready(this);
  }

  /** False: it was not open. */
  private drop(id: number): boolean {
    const wasOpen = this.open.delete(id);
    if (this.open.size === 0) this.unwatch();
    return wasOpen;
  }

  private onClose(code: number, reason: string): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.unwatch();
    const open = [...this.open.values()];
    this.open.clear();
    this.owner.closed(this, open, code, reason);
  }

  /** N2 */
  private watch(): void {
    if (this.timer !== undefined) return;
    this.lastHeardAt = Date.now();
    this.timer = setInterval(() => {
      if (Date.now() - this.lastHeardAt > this.idleTimeoutMs) {
        this.ws.close();
        this.onClose(0, `the server was silent for ${this.idleTimeoutMs} ms`);
      } else {
        this.send({ type: 'ping' });
      }
    }, this.idleTimeoutMs / 2);
  }

  private unwatch(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }
}

function base64url(text: string): string {
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

function utf8Length(text: string): number {
  return new TextEncoder().encode(text).length;
}

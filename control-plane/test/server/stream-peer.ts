/** A plain client of `/v1/stream` for tests: it sends what the test says, and keeps all that comes. */
import { decodeJson, encodeJson, textOf } from '@simmer/protocol/client-json';
import {
  CLIENT_JSON,
  CLIENT_MSGPACK,
  type ClientMessage,
  type ServerMessage,
} from '@simmer/protocol/client-messages';
import { decodeMsgpack, encodeMsgpack } from '@simmer/protocol/client-msgpack';
import type { Test } from 'tap';
import { eventually } from './simmer.ts';

type Of<T extends ServerMessage['type']> = Extract<ServerMessage, { type: T }>;

export class StreamPeer {
  readonly ws: WebSocket;
  readonly messages: ServerMessage[] = [];
  closed: { readonly code: number; readonly reason: string } | undefined;
  private readonly binary: boolean;

  private constructor(port: number, protocols: string[], binary: boolean) {
    this.binary = binary;
    this.ws = new WebSocket(`ws://127.0.0.1:${port}/v1/stream`, protocols);
    this.ws.binaryType = 'arraybuffer';
    this.ws.onmessage = ({ data }) => {
      this.messages.push(
        typeof data === 'string'
          ? (decodeJson(data) as ServerMessage)
          : (decodeMsgpack(new Uint8Array(data)) as ServerMessage),
      );
    };
    this.ws.onclose = ({ code, reason }) => {
      this.closed = { code, reason };
    };
  }

  /** Open, and greeted; it ends with the test. */
  static async open(
    t: Pick<Test, 'teardown'>,
    port: number,
    spelling: 'json' | 'msgpack' = 'msgpack',
    more: readonly string[] = [],
  ): Promise<StreamPeer> {
    const binary = spelling === 'msgpack';
    const peer = new StreamPeer(port, [...more, binary ? CLIENT_MSGPACK : CLIENT_JSON], binary);
    t.teardown(() => peer.ws.close());
    await eventually('the socket is greeted', () => {
      if (peer.closed) throw new Error(`closed with ${peer.closed.code} ${peer.closed.reason}`);
      return peer.messages.some(({ type }) => type === 'hello');
    });
    return peer;
  }

  send(message: ClientMessage): void {
    this.ws.send(this.binary ? encodeMsgpack(message) : encodeJson(message));
  }

  /** The first of this type, for this id where one is given. */
  async next<T extends ServerMessage['type']>(type: T, id?: number): Promise<Of<T>> {
    return eventually(`a ${type} of ${id ?? 'any'} comes`, () => {
      const found = this.messages.find(
        (m) => m.type === type && (id === undefined || ('id' in m && m.id === id)),
      );
      if (found === undefined && this.closed) throw new Error(`closed with ${this.closed.code}`);
      return found as Of<T> | undefined;
    });
  }

  /** What the request of this id ended with: its parsed result, or the problem. */
  // biome-ignore lint/suspicious/noExplicitAny: tests read what they expect
  async output(id: number): Promise<any> {
    const result = await this.next('result', id);
    const parts: Uint8Array[] = [Buffer.from(result.output)];
    if (result.more) parts.push(await this.rest(id));
    return JSON.parse(Buffer.concat(parts).toString());
  }

  // biome-ignore lint/suspicious/noExplicitAny: tests read what they expect
  async problem(id: number): Promise<any> {
    return JSON.parse(textOf((await this.next('error', id)).problem));
  }

  /** All `data` of this id, which is granted what it needs. */
  async rest(id: number): Promise<Buffer> {
    let granted = 0;
    return eventually(`all data of ${id} come`, () => {
      const pieces = this.messages.filter((m): m is Of<'data'> => m.type === 'data' && m.id === id);
      const bytes = pieces.reduce((sum, piece) => sum + piece.bytes.length, 0);
      if (bytes > granted) this.send({ type: 'credit', id, bytes: bytes - granted });
      granted = bytes;
      return pieces.at(-1)?.more === undefined && pieces.length > 0
        ? Buffer.concat(pieces.map((piece) => piece.bytes))
        : undefined;
    });
  }

  count(type: ServerMessage['type']): number {
    return this.messages.filter((m) => m.type === type).length;
  }
}

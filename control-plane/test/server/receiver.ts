/** A receiver of callbacks: a real HTTP server that remembers what it got, and answers as the test says. */
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';
import { eventually } from './simmer.ts';

export interface Received {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests read what they expect
  readonly json: any;
}

/** `nth`: from 1, of all that came. */
export type Answering = (response: ServerResponse, received: Received, nth: number) => void;

export const ok: Answering = (response) => response.end();
/** Never answers. */
export const hang: Answering = () => {};
export const status =
  (code: number, headers: Readonly<Record<string, string>> = {}): Answering =>
  (response) =>
    response.writeHead(code, headers).end('as the test says');

export class Receiver {
  readonly received: Received[] = [];
  answering: Answering;
  private readonly server: Server;

  private constructor(answering: Answering) {
    this.answering = answering;
    this.server = createServer((request, response) => void this.take(request, response));
  }

  /** Ends with the test. */
  static async start(t: Pick<Test, 'teardown'>, answering: Answering = ok): Promise<Receiver> {
    const receiver = new Receiver(answering);
    const { server } = receiver;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.teardown(() => {
      server.closeAllConnections();
      server.close();
    });
    return receiver;
  }

  /** Ends all connections: what hangs fails. */
  hangUp(): void {
    this.server.closeAllConnections();
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  url(path = '/'): string {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  /** What came for this execution. */
  of(executionId: string): Received[] {
    return this.received.filter(({ headers }) => headers['x-execution-id'] === executionId);
  }

  private async take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts).toString();
    const received: Received = {
      method: request.method ?? '',
      path: request.url ?? '',
      headers: request.headers,
      body,
      get json() {
        return JSON.parse(body);
      },
    };
    this.received.push(received);
    this.answering(response, received, this.received.length);
  }
}

/** The callback of this execution, once it has come; `nth`: from 1. */
export const arrival = (receiver: Receiver, id: string, nth = 1): Promise<Received> =>
  eventually(`callback ${nth} of ${id}`, () => receiver.of(id)[nth - 1]);

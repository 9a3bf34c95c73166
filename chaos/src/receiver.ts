/**
 * A receiver of callbacks that behaves as the path says: `/{manner}/{op}`. It keeps what came, and whether it took it.
 *
 * Invariants:
 *  1. It takes a callback (2xx) on the first request that its manner allows, and all later ones.
 */
import { createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Delivery } from './evidence.ts';
import type { CallbackManner } from './plan.ts';
import { endOf } from './requests.ts';

export class Receiver {
  readonly deliveries: Delivery[] = [];
  private readonly server: Server;
  private readonly times = new Map<string, number>();
  /** By function; what signs its callbacks. */
  private keys: ReadonlyMap<string, string> = new Map();

  private constructor() {
    this.server = createServer((request, response) => {
      // One that is cut off tells nothing.
      this.take(request, response).catch(() => response.destroy());
    });
  }

  static async start(): Promise<Receiver> {
    const receiver = new Receiver();
    await new Promise<void>((resolve) => receiver.server.listen(0, '127.0.0.1', resolve));
    return receiver;
  }

  know(keys: ReadonlyMap<string, string>): void {
    this.keys = keys;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  private async take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts);
    const [, manner = '', op = ''] = (request.url ?? '').split('/');
    const { headers } = request;
    const executionId = String(headers['x-execution-id']);
    const nth = (this.times.get(executionId) ?? 0) + 1;
    this.times.set(executionId, nth);
    const json = jsonOf(body);
    const key = this.keys.get(json?.function) ?? '';
    const hmac = createHmac('sha256', key).update(`${headers['x-simmer-timestamp']}.`).update(body);
    const taken = answer(manner as CallbackManner, nth, response);
    this.deliveries.push({
      ...{ op, executionId, taken, end: endOf(json) },
      isSigned: headers['x-simmer-signature'] === `v1=${hmac.digest('hex')}`,
      isNamed: json?.executionId === executionId && headers['idempotency-key'] === executionId,
    });
  }
}

/** Whether it takes it. */
function answer(manner: CallbackManner, nth: number, response: ServerResponse): boolean {
  const status = (code: number, location = ''): boolean => {
    response.writeHead(code, location === '' ? {} : { location }).end();
    return code === 204;
  };
  switch (manner) {
    case 'takes':
      return status(204);
    case 'fails':
      return status(nth <= 2 ? 500 : 204);
    case 'hangs':
      return nth > 1 && status(204);
    case 'resets':
      if (nth > 1) return status(204);
      response.destroy();
      return false;
    case 'redirects':
      return nth % 2 === 0 ? status(204) : status(307, '/redirects/elsewhere');
    case 'trickles':
      // The status is there, the rest never ends.
      response.writeHead(200).write('so far');
      return true;
    case 'refuses':
      return status(410);
    default:
      return status(503);
  }
}

// biome-ignore lint/suspicious/noExplicitAny: what it holds is what is to be found out
function jsonOf(body: Buffer): any {
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}

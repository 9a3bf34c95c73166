/** A TCP client that sends what it is told, byte for byte, and remembers what it got: for what no HTTP client would send. */
import { connect, type Socket } from 'node:net';
import { eventually } from './simmer.ts';

export class RawSocket {
  readonly socket: Socket;
  received = '';
  /** The other side has said that it sends no more, or has reset the connection. */
  closed = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (data) => {
      this.received += data.toString('latin1');
    });
    socket.on('error', () => {
      this.closed = true;
    });
    socket.on('end', () => {
      this.closed = true;
    });
    socket.on('close', () => {
      this.closed = true;
    });
  }

  static open(port: number, allowHalfOpen = false): Promise<RawSocket> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, noDelay: true, allowHalfOpen });
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new RawSocket(socket));
      });
    });
  }

  write(data: string | Uint8Array): void {
    this.socket.write(data);
  }

  async until(what: string, pattern: RegExp): Promise<string> {
    await eventually(what, () => {
      if (this.closed && !pattern.test(this.received)) {
        throw new Error(`closed before ${what}: ${JSON.stringify(this.received.slice(0, 500))}`);
      }
      return pattern.test(this.received);
    });
    return this.received;
  }

  async untilClosed(): Promise<string> {
    await eventually('the server closes the connection', () => this.closed);
    return this.received;
  }

  /** Hangs up at once, with a reset. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  end(): void {
    this.socket.destroy();
  }
}

/** The head of a request, ready to be followed by a body. */
export function head(
  method: string,
  path: string,
  headers: Readonly<Record<string, string | number>> = {},
): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\nHost: localhost\r\n${lines.join('')}\r\n`;
}

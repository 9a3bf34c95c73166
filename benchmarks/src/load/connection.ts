/** One keep-alive connection of a load generator: at most one request at a time, raw bytes out, parsed answers in. */
import { createConnection, type Socket } from 'node:net';
import { type Answer, ResponseParser } from './response-parser.ts';
import type { LoadSpec } from './spec.ts';

export interface ConnectionEvents {
  /** The request was answered. */
  onAnswer(connection: LoadConnection, answer: Answer): void;
  /** Answered, and its request wholly written: the next one may go. */
  onFree(connection: LoadConnection): void;
  /** It is gone. `reason`: an errno, `closed`, or `bad_response`. `busy`: with a request unanswered. */
  onGone(connection: LoadConnection, reason: string, busy: boolean): void;
}

/**
 * One buffer for all sockets of the process: libuv fills it and calls back before it reads the next socket, and the
 * parser copies what it keeps.
 */
const READ_BUFFER = Buffer.allocUnsafeSlow(262_144);

export class LoadConnection {
  /** When the request under way was due or written; while free, when it became so. By the generator's clock. */
  since = 0;
  busy = false;
  private readonly socket: Socket;
  private gone = false;

  constructor(
    { port, localAddress }: Pick<LoadSpec, 'port' | 'localAddress'>,
    events: ConnectionEvents,
  ) {
    const parser = new ResponseParser((answer) => {
      this.busy = false;
      const { close } = answer;
      events.onAnswer(this, answer);
      if (close) return;
      // A refusal may come while the body is still on its way: the next request would only wait behind it.
      if (this.socket.writableLength > 0) this.socket.once('drain', () => this.free(events));
      else this.free(events);
    });
    const leave = (reason: string) => {
      if (this.gone) return;
      this.gone = true;
      this.socket.destroy();
      events.onGone(this, reason, this.busy);
    };
    this.socket = createConnection({
      // The only host that load is ever sent to.
      host: '127.0.0.1',
      port,
      ...(localAddress !== undefined && { localAddress }),
      noDelay: true,
      onread: {
        buffer: READ_BUFFER,
        callback: (bytes, buffer) => {
          try {
            parser.push((buffer as Buffer).subarray(0, bytes));
          } catch {
            leave('bad_response');
          }
          return true;
        },
      },
    });
    this.socket.on('error', (error: NodeJS.ErrnoException) => leave(error.code ?? error.message));
    this.socket.on('end', () => {
      parser.end();
      leave('closed');
    });
    this.socket.on('close', () => leave('closed'));
  }

  private free(events: ConnectionEvents): void {
    if (!this.gone) events.onFree(this);
  }

  send(request: Buffer, since: number): void {
    this.busy = true;
    this.since = since;
    this.socket.write(request);
  }

  /** Ends it without `onGone`. */
  close(): void {
    this.gone = true;
    this.socket.destroy();
  }
}

/** Calls over kept-alive connections, without a limit of time of their own: one may be held for minutes. */
import { Agent, request } from 'node:http';

export interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: an envelope or a problem document
  readonly body: any;
  /** From the request's start to the end of its answer. */
  readonly ms: number;
}

const KEPT = new Agent({ keepAlive: true, maxFreeSockets: 256 });

/** Rejects where the connection is cut. */
export function post(
  address: string,
  path: string,
  body: unknown,
  options: { headers?: Record<string, string>; signal?: AbortSignal; agent?: Agent } = {},
): Promise<Answer> {
  const { headers, signal, agent = KEPT } = options;
  const from = performance.now();
  return new Promise((resolve, reject) => {
    const outgoing = request(
      new URL(path, address),
      {
        method: 'POST',
        agent,
        headers: { 'content-type': 'application/json', ...headers },
        ...(signal === undefined ? {} : { signal }),
      },
      (incoming) => {
        let text = '';
        incoming.setEncoding('utf8');
        incoming.on('data', (piece: string) => {
          text += piece;
        });
        incoming.on('error', reject);
        incoming.on('end', () => {
          const ms = performance.now() - from;
          try {
            resolve({ status: incoming.statusCode ?? 0, body: JSON.parse(text || 'null'), ms });
          } catch (error) {
            reject(error);
          }
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(JSON.stringify(body));
  });
}

/** Closes what idles, so that the process can end. */
export function closeConnections(): void {
  KEPT.destroy();
}

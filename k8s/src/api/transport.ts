/**
 * One request to the API server and its answer, over connections that are kept.
 *
 * Of client-node only the configuration is used here (files, tokens, exec plugins, certificates): its own client makes a
 * dispatcher, and so a TCP and a TLS handshake, for each request, which a launch on a miss would wait for.
 *
 * Invariants:
 *  1. A request ends within its timeout, whatever the API server or the network does.
 *  2. What may have reached the API server is never sent twice by itself, unless reading it twice does no harm.
 */
import http from 'node:http';
import https from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';

/** A Secret's or a kubelet's answer is there in milliseconds; a list of ten thousand objects in seconds. */
export const REQUEST_TIMEOUT_MS = 10_000;
/** Credentials are asked for again after this; client-node itself keeps a token file's for 60 s. */
const CREDENTIALS_MS = 30_000;
/** At once, to one API server; more wait their turn. */
const MAX_CONNECTIONS = 64;
/** The API server closes a connection that idles for 90 s: be ahead of it. */
const IDLE_CONNECTION_MS = 60_000;
/** The API server bounds a request's body at 3 MiB; answers are lists. One beyond this is no answer to a request of ours. */
const MAX_ANSWER_BYTES = 512 * 1_048_576;

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

export interface Sent {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly contentType?: string;
  readonly body?: string;
  readonly timeoutMs: number;
}

interface Connection {
  readonly headers: http.OutgoingHttpHeaders;
  readonly agent: http.Agent;
  readonly fresh: number;
}

export class Transport {
  private readonly config: KubeConfig;
  private connection: Connection | undefined;
  private agent: { readonly key: string; readonly agent: http.Agent } | undefined;

  constructor(config: KubeConfig) {
    this.config = config;
  }

  /** @throws {Error} where no answer came. An answer of any status is an answer. */
  async send(sent: Sent): Promise<Answer> {
    const deadline = performance.now() + sent.timeoutMs;
    const first = await this.attempt(sent, deadline);
    if (first instanceof Error) {
      // A kept connection that the API server had closed meanwhile: nothing is wrong with either side.
      if (!(sent.method === 'GET' && isStaleConnection(first))) throw first; // 2
    } else if (first.status !== 401) {
      return first;
    }
    // 401: a token was rotated before its time. It was refused, so it is safe to send again.
    if (!(first instanceof Error)) this.connection = undefined;
    const second = await this.attempt(sent, deadline);
    if (second instanceof Error) throw second;
    return second;
  }

  /** Closes the connections that idle. */
  close(): void {
    this.agent?.agent.destroy();
    this.agent = undefined;
    this.connection = undefined;
  }

  private async attempt(sent: Sent, deadline: number): Promise<Answer | Error> {
    try {
      return await this.exchange(sent, await this.connect(), deadline - performance.now());
    } catch (error) {
      // The certificates may be others by now.
      this.connection = undefined;
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  private async connect(): Promise<Connection> {
    const now = performance.now();
    if (this.connection && now - this.connection.fresh < CREDENTIALS_MS) return this.connection;
    const options: https.RequestOptions = {};
    await this.config.applyToHTTPSOptions(options);
    const headers = { ...(options.headers as http.OutgoingHttpHeaders | undefined) };
    if (options.auth) headers['authorization'] = `Basic ${btoa(options.auth)}`;
    this.connection = { headers, agent: this.agentFor(options), fresh: now };
    return this.connection;
  }

  private agentFor(options: https.RequestOptions): http.Agent {
    const cluster = this.config.getCurrentCluster();
    // Through a proxy as client-node does it.
    if (cluster?.proxyUrl && options.agent instanceof http.Agent) return options.agent;
    const keep = {
      keepAlive: true,
      maxSockets: MAX_CONNECTIONS,
      timeout: IDLE_CONNECTION_MS,
      scheduling: 'lifo' as const,
    };
    const secure: https.AgentOptions = {};
    for (const name of ['ca', 'cert', 'key', 'pfx', 'passphrase', 'servername'] as const) {
      if (options[name] !== undefined) Object.assign(secure, { [name]: options[name] });
    }
    if (options.rejectUnauthorized !== undefined) {
      secure.rejectUnauthorized = options.rejectUnauthorized;
    }
    const key = Object.entries(secure)
      .map(
        ([name, value]) => `${name} ${Buffer.isBuffer(value) ? value.toString('base64') : value}`,
      )
      .join('\n');
    if (this.agent?.key === key) return this.agent.agent;
    // Rotated: what runs on the old one ends there, and its idle connections by their timeout.
    const plain = this.url('/').protocol === 'http:';
    const agent = plain ? new http.Agent(keep) : new https.Agent({ ...keep, ...secure });
    this.agent = { key, agent };
    return agent;
  }

  private url(path: string): URL {
    const cluster = this.config.getCurrentCluster();
    if (!cluster) throw new Error('the configuration names no cluster');
    // The server's address may hold a path of its own (a gateway): a plain join keeps it.
    return new URL(cluster.server.replace(/\/$/, '') + path);
  }

  private exchange(sent: Sent, connection: Connection, timeoutMs: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const url = this.url(sent.path);
      const headers: http.OutgoingHttpHeaders = {
        accept: 'application/json',
        ...connection.headers,
      };
      if (sent.body !== undefined) {
        headers['content-type'] = sent.contentType ?? 'application/json';
        headers['content-length'] = Buffer.byteLength(sent.body);
      }
      const { request } = url.protocol === 'http:' ? http : https;
      const sending = request(url, { method: sent.method, headers, agent: connection.agent });
      const timer = setTimeout(
        () => sending.destroy(new Error(`no answer within ${sent.timeoutMs} ms`)),
        Math.max(0, timeoutMs),
      ); // 1
      sending.on('close', () => clearTimeout(timer));
      sending.on('error', (error: NodeJS.ErrnoException) => {
        reject(Object.assign(error, { reused: sending.reusedSocket }));
      });
      sending.on('response', (answer) => {
        const pieces: Buffer[] = [];
        let bytes = 0;
        answer.on('data', (piece: Buffer) => {
          bytes += piece.length;
          if (bytes > MAX_ANSWER_BYTES) {
            sending.destroy(new Error(`an answer of over ${MAX_ANSWER_BYTES} bytes`));
          } else {
            pieces.push(piece);
          }
        });
        answer.on('error', reject);
        answer.on('end', () => {
          resolve({
            status: answer.statusCode ?? 0,
            headers: answer.headers,
            text: Buffer.concat(pieces).toString('utf8'),
          });
        });
      });
      sending.end(sent.body);
    });
  }
}

function isStaleConnection(error: Error): boolean {
  const { code, reused } = error as NodeJS.ErrnoException & { reused?: boolean };
  return reused === true && (code === 'ECONNRESET' || code === 'EPIPE');
}

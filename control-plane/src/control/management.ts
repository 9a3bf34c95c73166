/** The management port: health, readiness and metrics, for orchestrators and Prometheus. Not for clients. */
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline, Readable } from 'node:stream';

/** The scheduler beats several times a second: silent for this long, its event loop is blocked. */
export const STALLED_AFTER_MS = 2_000;

/** What the server tells of. */
export interface ManagementSource {
  /** Milliseconds since the scheduler's last beat; Infinity before its first. */
  sinceSchedulerBeat(): number;
  readiness(): Readiness;
  /** The page, in pieces, and its content type. */
  metrics(): { readonly contentType: string; readonly body: AsyncIterable<string> };
  /** Whether who sent these headers may read what is no probe. */
  mayRead(headers: IncomingHttpHeaders): Promise<'yes' | 'unknown' | 'forbidden'>;
}

export type Readiness =
  | { readonly state: 'ready' }
  | { readonly state: 'starting'; readonly pools: readonly string[] }
  | { readonly state: 'draining' };

interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string | AsyncIterable<string>;
}

export class ManagementServer {
  private readonly source: ManagementSource;
  private readonly server: Server;

  constructor(source: ManagementSource) {
    this.source = source;
    this.server = createServer((request, response) => void this.handle(request, response));
  }

  /** Resolves with the port. @throws where it cannot be bound. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(port, host, () => {
        this.server.off('error', reject);
        resolve((this.server.address() as AddressInfo).port);
      });
    });
  }

  async close(): Promise<void> {
    if (!this.server.listening) return;
    const closed = new Promise((resolve) => {
      this.server.close(resolve);
    });
    this.server.closeAllConnections();
    await closed;
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { status, contentType, body } = await this.answer(request);
    response.writeHead(status, {
      'content-type': contentType,
      'cache-control': 'no-store',
      ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
      ...(status === 401 ? { 'www-authenticate': 'Bearer realm="simmer"' } : {}),
    });
    if (request.method === 'HEAD') response.end();
    else if (typeof body === 'string') response.end(body);
    // An error cuts the answer short: a scraper must not take half a page for a whole one.
    else pipeline(Readable.from(body), response, () => {});
  }

  private async answer(request: IncomingMessage): Promise<Answer> {
    const [path] = (request.url ?? '').split('?', 1);
    const route = ROUTES.get(path as string);
    if (!route) return json(404, { error: `no such route: ${[...ROUTES.keys()].join(', ')}` });
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return json(405, { error: 'only GET and HEAD' });
    }
    if (!PROBES.has(path as string)) {
      const may = await this.source.mayRead(request.headers);
      if (may === 'unknown') return json(401, { error: 'credentials are needed' });
      if (may === 'forbidden') return json(403, { error: 'the scope read is needed' });
    }
    return route(this.source);
  }
}

/** Orchestrators ask them, who have no credentials; they tell nothing of functions but the names of pools that are not ready. */
const PROBES: ReadonlySet<string> = new Set(['/healthz', '/readyz']);

const ROUTES = new Map<string, (source: ManagementSource) => Answer>([
  ['/healthz', health],
  ['/readyz', readiness],
  ['/metrics', metrics],
  ['/actuator/prometheus', metrics],
]);

function health(source: ManagementSource): Answer {
  const age = source.sinceSchedulerBeat();
  if (age <= STALLED_AFTER_MS) return json(200, { status: 'ok' });
  const reason = Number.isFinite(age)
    ? `the scheduler thread has been silent for ${Math.round(age)} ms`
    : 'the scheduler thread has not started';
  return json(503, { status: 'failing', reason });
}

function readiness(source: ManagementSource): Answer {
  const readiness = source.readiness();
  switch (readiness.state) {
    case 'ready':
      return json(200, { status: 'ready' });
    case 'draining':
      return json(503, { status: 'draining' });
    case 'starting':
      return json(503, { status: 'starting', pools: readiness.pools });
  }
}

function metrics(source: ManagementSource): Answer {
  return { status: 200, ...source.metrics() };
}

function json(status: number, value: unknown): Answer {
  return { status, contentType: 'application/json', body: `${JSON.stringify(value)}\n` };
}

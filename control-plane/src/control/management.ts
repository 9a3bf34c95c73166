/** The management port: health, readiness and metrics, for orchestrators and Prometheus. Not for clients. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** The scheduler beats several times a second: silent for this long, its event loop is blocked. */
export const STALLED_AFTER_MS = 2_000;

/** What the server tells of. */
export interface ManagementSource {
  /** Milliseconds since the scheduler's last beat; Infinity before its first. */
  sinceSchedulerBeat(): number;
  readiness(): Readiness;
  /** The page and its content type. */
  metrics(): Promise<{ readonly contentType: string; readonly body: string }>;
}

export type Readiness =
  | { readonly state: 'ready' }
  | { readonly state: 'starting'; readonly pools: readonly string[] }
  | { readonly state: 'draining' };

interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
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
      'content-length': Buffer.byteLength(body),
      'cache-control': 'no-store',
      ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
    });
    response.end(request.method === 'HEAD' ? undefined : body);
  }

  private async answer(request: IncomingMessage): Promise<Answer> {
    const [path] = (request.url ?? '').split('?', 1);
    const route = ROUTES.get(path as string);
    if (!route) return json(404, { error: `no such route: ${[...ROUTES.keys()].join(', ')}` });
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return json(405, { error: 'only GET and HEAD' });
    }
    try {
      return await route(this.source);
    } catch (error) {
      return json(500, { error: (error as Error).message });
    }
  }
}

const ROUTES = new Map<string, (source: ManagementSource) => Answer | Promise<Answer>>([
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

async function metrics(source: ManagementSource): Promise<Answer> {
  return { status: 200, ...(await source.metrics()) };
}

function json(status: number, value: unknown): Answer {
  return { status, contentType: 'application/json', body: `${JSON.stringify(value)}\n` };
}

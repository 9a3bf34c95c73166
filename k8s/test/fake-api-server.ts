/** An API server of ConfigMaps that a test scripts: what lists say, what watches send, what is refused. Plain HTTP on 127.0.0.1. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { KubeConfig } from '@kubernetes/client-node';
import type { Test } from 'tap';
import { Api, type KubeObject } from '../src/api/api.ts';

export interface Watcher {
  /** The query's resourceVersion. */
  readonly from: string | null;
  readonly query: URLSearchParams;
  send(type: string, object: object): void;
  raw(text: string): void;
  end(): void;
  /** As a network that breaks. */
  reset(): void;
}

export class FakeApiServer {
  /** What lists answer. */
  items: KubeObject[] = [];
  resourceVersion = '1';
  /** Instead of the next answers: status, and what the body says. */
  readonly refusals: { readonly on: 'list' | 'watch'; readonly status: number; message: string }[] =
    [];
  lists = 0;
  readonly watchers: Watcher[] = [];
  readonly requests: { readonly method: string; readonly url: string; readonly body: string }[] =
    [];
  /** Answers what is neither a list nor a watch. */
  other: (request: IncomingMessage, response: ServerResponse) => void = (_, response) => {
    response.writeHead(404).end('{}');
  };
  private readonly server = createServer((request, response) => this.answer(request, response));
  private port = 0;

  static async start(t: Test): Promise<FakeApiServer> {
    const fake = new FakeApiServer();
    await new Promise<void>((resolve) => fake.server.listen(0, '127.0.0.1', resolve));
    fake.port = (fake.server.address() as AddressInfo).port;
    t.teardown(async () => {
      fake.server.closeAllConnections();
      await new Promise((resolve) => fake.server.close(resolve));
    });
    return fake;
  }

  api(t: Test, timeoutMs?: number): Api {
    const config = new KubeConfig();
    config.loadFromClusterAndUser(
      // client-node takes plain HTTP only where TLS is not to be checked.
      { name: 'fake', server: `http://127.0.0.1:${this.port}`, skipTLSVerify: true },
      { name: 'tester', token: 'secret' },
    );
    const api = new Api(config, timeoutMs);
    t.teardown(() => api.close());
    return api;
  }

  closeConnections(): void {
    this.server.closeAllConnections();
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '', 'http://fake');
    const watch = url.searchParams.get('watch') === 'true';
    const list = !watch && request.method === 'GET' && url.pathname.endsWith('/configmaps');
    if (!watch && !list) {
      this.other(request, response);
      return;
    }
    const on = watch ? 'watch' : 'list';
    if (list) this.lists += 1;
    const at = this.refusals.findIndex((refusal) => refusal.on === on);
    const refusal = at === -1 ? undefined : this.refusals.splice(at, 1)[0];
    if (refusal) {
      const { status, message } = refusal;
      response.writeHead(status).end(JSON.stringify({ kind: 'Status', message }));
    } else if (list) {
      const metadata = { resourceVersion: this.resourceVersion };
      response.end(JSON.stringify({ kind: 'List', metadata, items: this.items }));
    } else {
      response.writeHead(200).flushHeaders();
      this.watchers.push({
        from: url.searchParams.get('resourceVersion'),
        query: url.searchParams,
        send: (type, object) => response.write(`${JSON.stringify({ type, object })}\n`),
        raw: (text) => response.write(text),
        end: () => response.end(),
        reset: () => response.socket?.resetAndDestroy(),
      });
    }
  }
}

export function item(name: string, resourceVersion: string, uid = `uid-${name}`): KubeObject {
  return { metadata: { name, namespace: 'n', uid, resourceVersion } };
}

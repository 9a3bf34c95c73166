/** A way to the API server that a test can cut: a TCP relay, and an Api that goes through it. */

import type { AddressInfo } from 'node:net';
import { connect, createServer, type Socket } from 'node:net';
import type { Test } from 'tap';
import { Api } from '../../src/api/api.ts';

export interface Severable {
  readonly api: Api;
  /** Resets what is open, refuses what comes. */
  cut(): void;
  /** Takes connections and lets nothing through either way: as a firewall that drops. */
  silence(): void;
  mend(): void;
  /** Connections that are open. */
  readonly open: number;
}

export async function severableApi(t: Test, timeoutMs?: number): Promise<Severable> {
  const direct = Api.load();
  direct.close();
  const cluster = direct.config.getCurrentCluster();
  const server = new URL(cluster?.server ?? '');
  let mode: 'open' | 'cut' | 'silent' = 'open';
  const sockets = new Set<Socket>();
  const relay = createServer((incoming) => {
    if (mode === 'cut') {
      incoming.resetAndDestroy();
      return;
    }
    const outgoing = connect(Number(server.port), server.hostname);
    for (const [from, to] of [
      [incoming, outgoing],
      [outgoing, incoming],
    ] as const) {
      sockets.add(from);
      from.on('data', (data) => {
        if (mode === 'open') to.write(data);
      });
      from.on('error', () => to.destroy());
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => relay.listen(0, server.hostname, resolve));
  const { port } = relay.address() as AddressInfo;
  // The same host: its certificate stays valid.
  Object.assign(cluster ?? {}, { server: `https://${server.hostname}:${port}` });
  const api = new Api(direct.config, timeoutMs);
  const destroy = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  t.teardown(async () => {
    api.close();
    destroy();
    await new Promise((resolve) => relay.close(resolve));
  });
  return {
    api,
    cut() {
      mode = 'cut';
      destroy();
    },
    silence() {
      mode = 'silent';
    },
    mend() {
      // What was swallowed is lost: those connections are of no use any more.
      if (mode === 'silent') destroy();
      mode = 'open';
    },
    get open() {
      return sockets.size / 2;
    },
  };
}

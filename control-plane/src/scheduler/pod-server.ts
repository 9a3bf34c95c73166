/** The pod port (8082): the WebSocket endpoint that pods dial, apart from clients. */
import { MAX_FRAME_BYTES, SUBPROTOCOL } from '@simmer/protocol/limits';
import { PodSocket, type PodSocketSettings } from './pod-socket.ts';
import type { Scheduler } from './scheduler.ts';
import type { TurnBatch } from './turn-batch.ts';
import { listen, type Uws, type us_listen_socket } from './uws.ts';

interface SocketData {
  socket: PodSocket | null;
}

export interface PodServerSettings extends PodSocketSettings {
  readonly host: string;
  readonly port: number;
  /** Paths of PEM files: a certificate that bears POD_TLS_NAME, and its key. Absent: no TLS. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
}

export async function servePods(
  uws: Uws,
  scheduler: Scheduler,
  batch: TurnBatch,
  settings: PodServerSettings,
): Promise<{ socket: us_listen_socket; port: number }> {
  const { tls } = settings;
  const app =
    tls === undefined
      ? uws.App()
      : uws.SSLApp({ cert_file_name: tls.certFile, key_file_name: tls.keyFile });
  app.ws<SocketData>('/*', {
    compression: uws.DISABLED,
    maxPayloadLength: MAX_FRAME_BYTES,
    // Off: see P2 of pod-socket.ts. Our own heartbeats find a dead peer, so uWebSockets.js is not to.
    maxBackpressure: 0,
    idleTimeout: 0,
    sendPingsAutomatically: false,
    upgrade(res, req, context) {
      const protocols = req.getHeader('sec-websocket-protocol').split(',');
      if (!protocols.some((p) => p.trim() === SUBPROTOCOL)) {
        res.writeStatus('400 Bad Request').end(`the subprotocol ${SUBPROTOCOL} is required`);
        return;
      }
      res.upgrade<SocketData>(
        { socket: null },
        req.getHeader('sec-websocket-key'),
        SUBPROTOCOL,
        req.getHeader('sec-websocket-extensions'),
        context,
      );
    },
    open(ws) {
      ws.getUserData().socket = new PodSocket(ws, scheduler, batch, settings);
    },
    message(ws, message, isBinary) {
      ws.getUserData().socket?.onMessage(message, isBinary);
    },
    drain(ws) {
      ws.getUserData().socket?.onDrain();
    },
    close(ws) {
      ws.getUserData().socket?.onClose();
    },
  });
  app.any('/*', (res) => {
    res.writeStatus('426 Upgrade Required').end('pods connect here by WebSocket');
  });
  return listen(uws, app, settings.host, settings.port);
}

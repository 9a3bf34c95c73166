/**
 * The one module that loads uWebSockets.js. Its HTTP parser reads the longest header block it accepts from the
 * environment when its binary is loaded, so the module is imported only after that is set, and on the main thread:
 * in a worker it aborts the whole process when that thread ends.
 */
import type * as UWS from 'uWebSockets.js';

export type {
  HttpRequest,
  HttpResponse,
  us_listen_socket,
  us_socket_context_t,
  WebSocket,
} from 'uWebSockets.js';

/** With what its type definitions leave out: an app can hand the connections that it accepts to others of its kind. */
export interface TemplatedApp extends UWS.TemplatedApp {
  getDescriptor(): unknown;
  addChildAppDescriptor(descriptor: unknown): void;
  removeChildAppDescriptor(descriptor: unknown): void;
}

export type Uws = Omit<typeof UWS, 'App' | 'SSLApp'> & {
  App(options?: UWS.AppOptions): TemplatedApp;
  SSLApp(options: UWS.AppOptions): TemplatedApp;
};

export async function loadUws(maxHeaderBytes: number): Promise<Uws> {
  process.env['UWS_HTTP_MAX_HEADERS_SIZE'] = String(maxHeaderBytes);
  return (await import('uWebSockets.js')).default as unknown as Uws;
}

/** Binds `host:port` (0: any free port) and resolves with the listening socket. Rejects when the port is taken. */
export function listen(
  uws: Uws,
  app: TemplatedApp,
  host: string,
  port: number,
): Promise<{ socket: UWS.us_listen_socket; port: number }> {
  return new Promise((resolve, reject) => {
    app.listen(host, port, (socket) => {
      if (socket === false) reject(new Error(`cannot listen on ${host}:${port}`));
      else resolve({ socket, port: uws.us_socket_local_port(socket as unknown as UWS.us_socket) });
    });
  });
}

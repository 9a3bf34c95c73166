/**
 * The clients' port, plain or with TLS. uWebSockets.js cannot give an app another certificate; but an app that listens can hand
 * what it accepts to another (`addChildAppDescriptor`, which it has for several threads). So with TLS one app only accepts,
 * and behind it stands one for each certificate: a new one takes the place of the one before for new connections, and those
 * that are open stay where they are. No connection is refused or cut by the change.
 *
 * An app that was replaced is never freed: it has connections, and costs some kilobytes a change.
 */
import { listen, type TemplatedApp, type Uws, type us_listen_socket } from './uws.ts';

export interface TlsFiles {
  /** Paths of PEM files. */
  readonly certFile: string;
  readonly keyFile: string;
}

export class ClientPort {
  private readonly uws: Uws;
  private readonly serve: (app: TemplatedApp) => void;
  private acceptor: TemplatedApp | null = null;
  private current: TemplatedApp | null = null;

  /** `serve` adds its routes to an app. */
  constructor(uws: Uws, serve: (app: TemplatedApp) => void) {
    this.uws = uws;
    this.serve = serve;
  }

  async listen(
    host: string,
    port: number,
    tls: TlsFiles | null,
  ): Promise<{ socket: us_listen_socket; port: number }> {
    const app = tls === null ? this.uws.App() : this.appWith(tls);
    if (tls === null) this.serve(app);
    else {
      this.acceptor = app;
      this.use(tls);
    }
    return listen(this.uws, app, host, port);
  }

  /** From now on new connections are shown this certificate. @throws where its files are not good; nothing has changed then. */
  use(tls: TlsFiles): void {
    const { acceptor, current } = this;
    if (acceptor === null) return;
    const next = this.appWith(tls);
    this.serve(next);
    acceptor.addChildAppDescriptor(next.getDescriptor());
    if (current !== null) acceptor.removeChildAppDescriptor(current.getDescriptor());
    this.current = next;
  }

  private appWith({ certFile, keyFile }: TlsFiles): TemplatedApp {
    return this.uws.SSLApp({ cert_file_name: certFile, key_file_name: keyFile });
  }
}

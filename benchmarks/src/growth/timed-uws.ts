/**
 * uWebSockets.js with a watch on the scheduler: its own time is what passes in its handlers and at the end of its turns,
 * less what passes in the calls that read and write sockets. Real sockets and a kernel between invocations: caches are
 * as cold as a server's are.
 */
import type { HttpRequest, HttpResponse, Uws } from '@simmer/control-plane/dist/scheduler/uws.js';

type Handler = (...args: never[]) => void;

/** Counts the scheduler's own milliseconds, and the requests they were spent on. */
export class Watch {
  ownMs = 0;
  requests = 0;
  private since = 0;

  /** `run`, whose time counts. */
  own<T>(run: () => T): T {
    this.since = performance.now();
    const result = run();
    this.ownMs += performance.now() - this.since;
    return result;
  }

  /** Within `own`: `run`, whose time does not count. */
  except<T>(run: () => T): T {
    this.ownMs += performance.now() - this.since;
    const result = run();
    this.since = performance.now();
    return result;
  }

  /** Within `except`: `run`, whose time counts after all. */
  butOwn(run: () => void): void {
    this.since = performance.now();
    run();
    this.ownMs += performance.now() - this.since;
  }
}

/** The library with its apps' handlers watched. The scheduler's turns end in immediates: those are watched too. */
export function timedUws(uws: Uws, watch: Watch): Uws {
  const immediate = globalThis.setImmediate;
  globalThis.setImmediate = ((run: () => void) => immediate(() => watch.own(run))) as never;

  function watchedResponse(res: HttpResponse): void {
    const { cork } = res;
    res.cork = (write) => watch.except(() => cork.call(res, () => watch.butOwn(write)));
  }
  /** Prototypes of sockets: each endpoint may have its own. */
  const watched = new Set<object>();
  /** Of all sockets at once, on their prototype: a function each would be memory that is touched for each pod, and counted. */
  function watchSends(socket: object): void {
    const sockets = Object.getPrototypeOf(socket) as { send: Handler };
    if (watched.has(sockets)) return;
    watched.add(sockets);
    const { send } = sockets;
    sockets.send = function (this: object, ...args: never[]) {
      return watch.except(() => send.apply(this, args));
    };
  }
  return {
    ...uws,
    DISABLED: uws.DISABLED,
    App: () => {
      const app = uws.App();
      const { post, ws } = app;
      app.post = (pattern, handler) =>
        post.call(app, pattern, (res: HttpResponse, req: HttpRequest) => {
          watch.requests++;
          watchedResponse(res);
          const { onData } = res;
          res.onData = (take) =>
            onData.call(res, (chunk: ArrayBuffer, last: boolean) =>
              watch.own(() => take(chunk, last)),
            );
          watch.own(() => handler(res, req));
        });
      app.ws = (pattern, behaviour) => {
        const { open, message } = behaviour;
        return ws.call(app, pattern, {
          ...behaviour,
          open: (socket: object) => {
            watchSends(socket);
            open?.(socket as never);
          },
          message: (socket: never, data: ArrayBuffer, binary: boolean) =>
            watch.own(() => message?.(socket, data, binary)),
        } as never) as typeof app;
      };
      return app;
    },
  };
}

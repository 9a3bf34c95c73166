/**
 * (c) HTTP push: the same ingress on uWebSockets.js, but each pod is a Node HTTP server that the body is POSTed to
 * through an undici pool, as platforms do whose functions are plain web servers. Entry of its own process.
 */

import { App, type HttpResponse, us_socket_local_port } from 'uWebSockets.js';
import { fileURLToPath } from 'node:url';
import { Pool } from 'undici';
import { announce, readyLine, start } from '../child.ts';

/** Connections to one pod; 128 and 512 were slower at every load. */
const CONNECTIONS_PER_POD = 64;

const [handlerModule = '', podCount = '1'] = process.argv.slice(2);
const podEntry = fileURLToPath(new URL('./node-http.js', import.meta.url));
const pods: { pool: Pool; inFlight: number }[] = [];
for (let i = 0; i < Number(podCount); i++) {
  const child = await start(process.execPath, [podEntry, handlerModule]);
  const { port } = await readyLine<{ port: number }>(child);
  const pool = new Pool(`http://127.0.0.1:${port}`, {
    connections: CONNECTIONS_PER_POD,
    pipelining: 1,
    keepAliveTimeout: 600_000,
    keepAliveMaxTimeout: 600_000,
  });
  pods.push({ pool, inFlight: 0 });
}

type Answer = [res: HttpResponse, state: { gone: boolean }, status: string, body: Buffer];
const answers: Answer[] = [];

function flush(): void {
  for (const [res, state, status, body] of answers) {
    if (state.gone) continue;
    res.cork(() => {
      res.writeStatus(status).writeHeader('content-type', 'application/json').end(body);
    });
  }
  answers.length = 0;
}

/** `dispatch` is the lowest of undici's calls, and measured up to a fifth faster than `request` here. */
function forward(res: HttpResponse, state: { gone: boolean }, body: Buffer): void {
  let pod = pods[0] as (typeof pods)[number];
  for (const other of pods) if (other.inFlight < pod.inFlight) pod = other;
  pod.inFlight++;
  const finish = (status: string, answer: Buffer) => {
    pod.inFlight--;
    if (answers.push([res, state, status, answer]) === 1) setImmediate(flush);
  };
  const pieces: Buffer[] = [];
  pod.pool.dispatch(
    { method: 'POST', path: '/', headers: { 'content-type': 'application/json' }, body },
    {
      onConnect: () => {},
      onHeaders: () => true,
      onData: (piece) => pieces.push(piece) > 0,
      onComplete: () => {
        finish('200 OK', pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces));
      },
      onError: (error) => finish('502 Bad Gateway', Buffer.from(String(error))),
    },
  );
}

App()
  .post('/*', (res) => {
    const state = { gone: false };
    const pieces: Buffer[] = [];
    res.onAborted(() => {
      state.gone = true;
    });
    res.onData((chunk, last) => {
      pieces.push(Buffer.from(new Uint8Array(chunk))); // copied: the chunk dies with this call
      if (last)
        forward(res, state, pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces));
    });
  })
  .listen('127.0.0.1', 0, (socket) => {
    announce({ port: us_socket_local_port(socket as Exclude<typeof socket, false>) });
  });

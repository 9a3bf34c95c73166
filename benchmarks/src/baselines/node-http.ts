/**
 * A pod as it would be without Simmer: Node's `http` server around the handler. Stands behind nginx (a) and takes the
 * pushes of (c). Entry of its own process: `node node-http.js <handler module>`.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { announce } from '../child.ts';
import { type Handler, runHandler } from './target.ts';

const { default: handler } = (await import(process.argv[2] as string)) as { default: Handler };

const server = createServer({ keepAliveTimeout: 600_000, noDelay: true }, (request, response) => {
  const pieces: Buffer[] = [];
  request.on('data', (piece: Buffer) => pieces.push(piece));
  request.on('end', async () => {
    const body = pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
    const text = await runHandler(handler, body);
    response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
    });
    response.end(text);
  });
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
  announce({ port: (server.address() as AddressInfo).port });
});

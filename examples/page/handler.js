/**
 * page: a page whose buttons call functions over one WebSocket.
 *
 *   http://localhost:8080/fn/page, in a browser
 *
 * Shows: the client for browsers (client/README.md; `make build` puts it here as client.js), and a `fetch` handler that serves files.
 */
import { readFile } from 'node:fs/promises';

const FILES = new Map([
  ['/', ['page.html', 'text/html; charset=utf-8']],
  ['/page.js', ['page.js', 'text/javascript; charset=utf-8']],
  ['/client.js', ['client.js', 'text/javascript; charset=utf-8']],
]);

const HEADERS = {
  'cache-control': 'no-cache',
  'content-security-policy':
    "default-src 'self'; style-src 'unsafe-inline'; connect-src 'self' ws: wss:",
};

export const fetch = async (request) => {
  const file = FILES.get(new URL(request.url).pathname);
  if (file === undefined) return new Response('There is nothing here.\n', { status: 404 });
  const [name, type] = file;
  const text = await readFile(new URL(name, import.meta.url));
  return new Response(text, { headers: { ...HEADERS, 'content-type': type } });
};

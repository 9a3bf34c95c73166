/**
 * stream: counts, one server-sent event at a time, for as long as somebody listens.
 *
 *   curl -N 'localhost:8080/fn/stream?count=5&intervalMs=200'
 *
 * Shows: a response that is sent while it is made, and how to stop when the client has gone away or time is up
 * (`request.signal`, or the stream's own `cancel`).
 */
import { setTimeout as delay } from 'node:timers/promises';

const MAX_COUNT = 100_000;
const MAX_INTERVAL_MS = 10_000;

const encoder = new TextEncoder();

function wholeNumber(query, name, fallback, max) {
  const value = Number(query.get(name) ?? fallback);
  return Number.isInteger(value) && value >= 0 && value <= max ? value : undefined;
}

async function* events(count, intervalMs, signal) {
  for (let i = 1; i <= count; i++) {
    if (i > 1 && intervalMs > 0) await delay(intervalMs, undefined, { signal });
    yield encoder.encode(`id: ${i}\ndata: ${JSON.stringify({ count: i, of: count })}\n\n`);
  }
}

export const fetch = async (request) => {
  const query = new URL(request.url).searchParams;
  const count = wholeNumber(query, 'count', 10, MAX_COUNT);
  const intervalMs = wholeNumber(query, 'intervalMs', 100, MAX_INTERVAL_MS);
  if (count === undefined || intervalMs === undefined) {
    return Response.json({ error: 'count and intervalMs must be whole numbers' }, { status: 400 });
  }
  return new Response(ReadableStream.from(events(count, intervalMs, request.signal)), {
    headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store' },
  });
};

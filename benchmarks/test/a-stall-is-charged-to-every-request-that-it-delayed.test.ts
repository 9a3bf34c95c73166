import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { closedLoop } from '../src/load/closed.ts';
import { openLoop } from '../src/load/open.ts';
import type { LoadSpec } from '../src/load/spec.ts';

const RATE_PER_S = 500;
const STALL_AT_REQUEST = 100;
const STALL_MS = 400;
/** Requests that fall due while nothing is answered. */
const DELAYED = (RATE_PER_S * STALL_MS) / 1000;

/** Answers at once, but for one stall in which every request, old or new, is kept waiting. */
async function stallingServer(): Promise<{ server: Server; port: number }> {
  let seen = 0;
  let held: (() => void)[] | undefined;
  const server = createServer((request, response) => {
    request.resume();
    const answer = () => response.end('{}');
    if (held !== undefined) {
      held.push(answer);
      return;
    }
    if (++seen !== STALL_AT_REQUEST) {
      answer();
      return;
    }
    held = [answer];
    setTimeout(() => {
      const waiting = held ?? [];
      held = undefined;
      for (const go of waiting) go();
    }, STALL_MS);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port };
}

function spec(port: number, mode: LoadSpec['mode'], more: Partial<LoadSpec> = {}): LoadSpec {
  return {
    port,
    method: 'POST',
    paths: ['/'],
    bodyBytes: 256,
    warmupMs: 0,
    durationMs: 1_200,
    mode,
    ...more,
  };
}

t.test('the open loop sends on, and sees the stall; the closed loop hardly does', async (t) => {
  const one = await stallingServer();
  const open = await openLoop(
    spec(one.port, { loop: 'open', ratePerS: RATE_PER_S, maxConnections: 4 }),
    { loop: 'open', ratePerS: RATE_PER_S, maxConnections: 4 },
  );
  one.server.close();
  const due = Math.ceil(RATE_PER_S * 1.2);
  t.equal(open.sent, due, 'as many as the schedule says, late or not');
  t.equal(open.answered, due);
  t.equal(open.unfinished, 0);
  t.equal(open.all.count, due);
  // A sixth of all requests fell due in the stall and waited for half of it in the mean, though only four connections
  // were ever under way.
  t.ok(open.all.p90Ms > STALL_MS / 4, `p90 ${open.all.p90Ms} shows the stall`);
  t.ok(open.all.meanMs * due > (DELAYED * STALL_MS) / 4, 'the sum of waits is that of the delayed');

  const two = await stallingServer();
  const closed = await closedLoop(spec(two.port, { loop: 'closed', connections: 4 }), {
    loop: 'closed',
    connections: 4,
  });
  two.server.close();
  t.ok(closed.all.maxMs >= STALL_MS * 0.9);
  const fraction = 1 - 5 / closed.all.count;
  t.ok(
    closed.all.count > 100 && fraction > 0.9,
    'the closed loop saw at most five of its many requests stall',
  );
  t.ok(closed.all.p90Ms < STALL_MS / 4, `its p90 ${closed.all.p90Ms} hides it`);
});

t.test('what is never answered is accounted for', async (t) => {
  const server = createServer((request) => request.resume());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const mode = { loop: 'open', ratePerS: 200, maxConnections: 3 } as const;
  const result = await openLoop(spec(port, mode, { durationMs: 300, drainMs: 50 }), mode);
  server.closeAllConnections();
  server.close();
  t.equal(result.sent, 3, 'one on each connection');
  t.equal(result.answered, 0);
  t.equal(result.unfinished, 60, 'all that fell due');
  t.equal(result.all.count, 60, 'with the time that each has waited');
  t.ok(result.all.maxMs >= 300);
});

t.test('requests whose connection is cut are errors, and the load goes on', async (t) => {
  let seen = 0;
  const server = createServer((request, response) => {
    request.resume();
    if (++seen % 10 === 0) request.socket.destroy();
    else response.end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  for (const mode of [
    { loop: 'open', ratePerS: 500, maxConnections: 8 },
    { loop: 'closed', connections: 2 },
  ] as const) {
    const s = spec(port, mode, { maxRequests: 100, durationMs: 5_000 });
    const result = await (mode.loop === 'open' ? openLoop(s, mode) : closedLoop(s, mode));
    const errors = Object.values(result.errors).reduce((a, b) => a + b, 0);
    t.equal(result.sent, 100);
    t.equal(errors, 10);
    t.equal(result.answered, 90);
    t.equal(result.byStatus['200'], 90);
    t.equal(result.unfinished, 0);
  }
  server.close();
});

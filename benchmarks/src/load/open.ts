/**
 * The open loop: one request every 1/rate seconds, whatever the answers do. A server that stalls is asked all the
 * same, and each request's latency counts from when it was due, so a stall is charged to every request that it kept
 * waiting, not only to the few that a closed loop would have had under way (coordinated omission).
 *
 * Invariants:
 *  O1. Request i is due at start + i / rate, or at its given time. None is skipped: what cannot be sent when it is due is sent later, in order.
 *  O2. Latency runs from due to answered. The clock that wakes us has a resolution of TICK_MS, so that a latency may be
 *      overstated by as much, never understated.
 *  O3. Whatever is unsent or unanswered at the end is reported and counted with the time it has waited.
 */
import { LoadConnection } from './connection.ts';
import { type LoadResult, Recorder } from './recorder.ts';
import {
  DEFAULT_DRAIN_MS,
  DEFAULT_MAX_REQUESTS,
  type LoadSpec,
  type OpenLoop,
  requestsOf,
  zipf,
} from './spec.ts';

const TICK_MS = 1;
/** Connections opened in one tick: a burst of thousands of SYNs would measure the listen backlog instead. */
const MAX_OPENS_PER_TICK = 64;
/** A connection that idled this long is not used again: servers close theirs after ten seconds or so, and a request may cross with that. */
const MAX_IDLE_MS = 4_000;

export function openLoop(spec: LoadSpec, mode: OpenLoop): Promise<LoadResult> {
  const requests = requestsOf(spec);
  const draw = zipf(requests.length, spec.pathZipf ?? 0);
  const intervalMs = 1000 / mode.ratePerS;
  const { atMs } = mode;
  const total = Math.min(
    atMs?.length ?? Math.ceil((spec.warmupMs + spec.durationMs) / intervalMs),
    spec.maxRequests ?? DEFAULT_MAX_REQUESTS,
  );
  const start = performance.now();
  const end = start + spec.warmupMs + spec.durationMs;
  const recorder = new Recorder(start, start + spec.warmupMs, end, atMs !== undefined);
  const due = (i: number) => start + (atMs === undefined ? i * intervalMs : (atMs[i] as number));

  // Requests are sent in the order they are due, so "unsent" is all from `sent` on.
  let sent = 0;
  let failed = 0;
  let over = false;
  const connections = new Set<LoadConnection>();
  // Most recently used first: few connections carry a light load, as a real client's pool would.
  const free: LoadConnection[] = [];
  // Free, but dropped by the server meanwhile.
  const dead = new WeakSet<LoadConnection>();

  return new Promise((resolve) => {
    const finish = () => {
      if (over) return;
      over = true;
      clearInterval(ticker);
      clearTimeout(giveUp);
      const now = performance.now();
      for (const c of connections) {
        if (c.busy) recorder.unanswered(c.since, now);
        c.close();
      }
      for (let i = sent; i < total; i++) recorder.unanswered(due(i), now); // O3
      recorder.sent = sent;
      resolve(recorder.result(total - recorder.answered - failed));
    };
    const settled = () => {
      if (recorder.answered + failed === total) finish();
    };
    const open = (): LoadConnection => {
      const connection = new LoadConnection(spec, {
        onAnswer(c, answer) {
          recorder.answer(answer, c.since, performance.now());
          settled();
        },
        onFree(c) {
          if (over) return;
          c.since = performance.now();
          free.push(c);
          // A request that waits for a connection goes at once, not at the next tick.
          pump(0);
        },
        onGone(c, reason, wasBusy) {
          connections.delete(c);
          dead.add(c);
          if (!wasBusy || over) return;
          failed++;
          recorder.error(reason);
          recorder.unanswered(c.since, performance.now());
          settled();
        },
      });
      connections.add(connection);
      return connection;
    };
    const usable = (now: number): LoadConnection | undefined => {
      for (let c = free.pop(); c !== undefined; c = free.pop()) {
        if (dead.has(c)) continue;
        if (now - c.since < MAX_IDLE_MS) return c;
        connections.delete(c);
        c.close();
      }
      return undefined;
    };
    const pump = (mayOpen: number) => {
      const now = performance.now();
      let opens = mayOpen;
      while (sent < total && due(sent) <= now) {
        let connection = usable(now);
        if (connection === undefined) {
          if (opens === 0 || connections.size >= mode.maxConnections) return; // O1: it waits
          opens--;
          connection = open();
        }
        recorder.late(now - due(sent), due(sent));
        connection.send(requests[draw()] as Buffer, due(sent)); // O2
        sent++;
      }
    };
    const ticker = setInterval(() => pump(MAX_OPENS_PER_TICK), TICK_MS);
    const giveUp = setTimeout(finish, end - start + (spec.drainMs ?? DEFAULT_DRAIN_MS));
  });
}

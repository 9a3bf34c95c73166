/**
 * The closed loop: N connections, each of which sends its next request when its last is answered. Measures how much a
 * server can do; its latencies are those of a server that is never asked for more than N things at once.
 */
import { LoadConnection } from './connection.ts';
import { type LoadResult, Recorder } from './recorder.ts';
import {
  type ClosedLoop,
  DEFAULT_DRAIN_MS,
  DEFAULT_MAX_REQUESTS,
  type LoadSpec,
  requestsOf,
  zipf,
} from './spec.ts';

/** A connection that was refused or lost is opened again after this long, so that a dead server is not hammered. */
const REOPEN_MS = 20;

export function closedLoop(spec: LoadSpec, mode: ClosedLoop): Promise<LoadResult> {
  const requests = requestsOf(spec);
  const draw = zipf(requests.length, spec.pathZipf ?? 0);
  const maxRequests = spec.maxRequests ?? DEFAULT_MAX_REQUESTS;
  const start = performance.now();
  const end = start + spec.warmupMs + spec.durationMs;
  const recorder = new Recorder(start, start + spec.warmupMs, end);
  const connections = new Set<LoadConnection>();
  const timers = new Set<NodeJS.Timeout>();
  let busy = 0;
  let over = false;

  return new Promise((resolve) => {
    const finish = () => {
      if (over) return;
      over = true;
      clearTimeout(lastCall);
      clearTimeout(giveUp);
      for (const timer of timers) clearTimeout(timer);
      const now = performance.now();
      for (const c of connections) {
        if (c.busy) recorder.unanswered(c.since, now);
        c.close();
      }
      resolve(recorder.result(busy));
    };
    const next = (connection: LoadConnection, now: number) => {
      if (now >= end || recorder.sent >= maxRequests) {
        if (busy === 0) finish();
        return;
      }
      busy++;
      recorder.sent++;
      connection.send(requests[draw()] as Buffer, now);
    };
    const open = (idle = false) => {
      const connection = new LoadConnection(spec, {
        onAnswer(c, answer) {
          const now = performance.now();
          busy--;
          recorder.answer(answer, c.since, now);
          if (answer.close && busy === 0 && now >= end) finish();
        },
        onFree(c) {
          next(c, performance.now());
        },
        onGone(c, reason, wasBusy) {
          connections.delete(c);
          if (wasBusy) {
            busy--;
            recorder.error(reason);
          }
          const now = performance.now();
          if (over) return;
          if (now >= end || recorder.sent >= maxRequests) {
            if (busy === 0) finish();
            return;
          }
          const timer = setTimeout(() => {
            timers.delete(timer);
            open(idle);
          }, REOPEN_MS);
          timers.add(timer);
        },
      });
      connections.add(connection);
      if (!idle) next(connection, performance.now());
    };
    // Where every connection happens to be waiting to be reopened, nobody else would notice the end.
    const lastCall = setTimeout(() => {
      if (busy === 0) finish();
    }, end - start);
    const giveUp = setTimeout(finish, end - start + (spec.drainMs ?? DEFAULT_DRAIN_MS));
    for (let i = 0; i < (mode.idleConnections ?? 0); i++) open(true);
    for (let i = 0; i < mode.connections; i++) open();
  });
}

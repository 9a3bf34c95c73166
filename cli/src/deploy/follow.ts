/** Follows what a function's calls print: asks for those that have ended since it last asked. */
import { setTimeout as pause } from 'node:timers/promises';
import { clean, duration } from '../output.ts';
import type { Server } from '../server.ts';

/** Soon enough for who has just called, and two requests a second. */
const POLL_MS = 500;
/** More in that time are not read anyway. */
const PAGE = 100;

interface Listed {
  readonly executionId: string;
  readonly status: string;
  readonly createdAt: string;
  readonly endedAt?: string;
  readonly error?: { readonly code: string; readonly detail: string };
}

interface Line {
  readonly at: string;
  readonly level: string;
  readonly text: string;
}

/** Until `signal`. A server that does not answer for a while is asked again. */
export async function follow(
  server: Server,
  name: string,
  print: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  /** Those that are told, or were there before. */
  let told: ReadonlySet<string> | undefined;
  while (!signal.aborted) {
    try {
      const query = { function: name, limit: String(PAGE) };
      const { executions } = (await server.call('/v1/executions', { query, signal })) as {
        executions: readonly Listed[];
      };
      const ended = executions.filter(({ endedAt }) => endedAt !== undefined);
      const known = told;
      told = new Set(ended.map(({ executionId }) => executionId));
      const fresh = known ? ended.filter(({ executionId }) => !known.has(executionId)) : [];
      for (const one of fresh.reverse()) print(await textOf(server, one, signal));
    } catch {
      // It is told by the next deployment, if it stays so.
    }
    await pause(POLL_MS, undefined, { signal }).catch(() => {});
  }
}

async function textOf(server: Server, one: Listed, signal: AbortSignal): Promise<string> {
  const { executionId, status, createdAt, endedAt = createdAt, error } = one;
  const path = `/v1/executions/${encodeURIComponent(executionId)}/logs`;
  const { lines } = (await server.call(path, { signal })) as { lines: readonly Line[] };
  const why = error === undefined ? '' : `: ${error.code}: ${error.detail}`;
  const took = duration(createdAt, endedAt);
  const head = `${time(endedAt)} ${executionId} ${status} in ${took}${why}`;
  const body = lines.map(({ at, level, text }) => `${time(at)}   ${level.padEnd(5)} ${text}`);
  return [head, ...body].map((line) => `${clean(line)}\n`).join('');
}

/** Of an ISO 8601 time, that of the day. */
const time = (at: string): string => at.slice(11, 19);

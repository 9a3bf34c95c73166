/** Calls of functions that have never been called: one each, timed from when it was due. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'undici';
import { invokePath } from '../baselines/simmer.ts';

export interface FirstCall {
  readonly name: string;
  readonly status: number;
  /** From when the call was due to its answer, milliseconds. */
  readonly ms: number;
  /** When the handler's code was loaded, as its pod tells: epoch milliseconds. NaN where it failed. */
  readonly loadedAt: number;
}

/** Between two calls that are made at once: the order in which they ask is theirs. */
const IN_ORDER_MS = 1;

/** A pod is ready and taken by then. */
const HOLD_AHEAD_MS = 700;
const HOLD_MS = 1_500;

/** One call each, `perSecond`, whatever becomes of those before: open loop. `held`: while another call of it runs already. */
export async function callsAtRate(
  port: number,
  names: readonly string[],
  perSecond: number,
  held: boolean,
): Promise<FirstCall[]> {
  const due = (i: number) => (i * 1_000) / perSecond;
  if (!held) return callAt(port, names, due);
  const holders = callAt(port, names, due, HOLD_MS);
  await sleep(HOLD_AHEAD_MS);
  const calls = await callAt(port, names, due);
  await holders;
  return calls;
}

/** All at once, in this order. */
export async function callInOrder(port: number, names: readonly string[]): Promise<FirstCall[]> {
  return callAt(port, names, (i) => i * IN_ORDER_MS);
}

async function callAt(
  port: number,
  names: readonly string[],
  dueMs: (index: number) => number,
  holdMs = 0,
): Promise<FirstCall[]> {
  const pool = new Pool(`http://127.0.0.1:${port}`, {
    connections: names.length,
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  try {
    const begin = performance.now();
    return await Promise.all(
      names.map(async (name, i) => {
        const due = begin + dueMs(i);
        await sleep(Math.max(0, due - performance.now()));
        const { statusCode, body } = await pool.request({
          path: invokePath(name),
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ input: { holdMs } }),
        });
        const answer = (await body.json()) as { output?: { loadedAt: number } };
        const ms = performance.now() - due;
        return { name, status: statusCode, ms, loadedAt: answer.output?.loadedAt ?? Number.NaN };
      }),
    );
  } finally {
    await pool.close();
  }
}

/**
 * How far the order in which they were served is from that in which they asked: the most places by which one came before
 * another that had asked earlier.
 */
export function orderOf(calls: readonly FirstCall[]): number {
  const served = calls.map(({ loadedAt }, asked) => ({ loadedAt, asked }));
  served.sort((a, b) => a.loadedAt - b.loadedAt);
  let most = 0;
  served.forEach(({ asked }, place) => {
    most = Math.max(most, asked - place);
  });
  return most;
}

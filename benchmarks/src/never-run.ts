/** Functions that have never been called, each with code of its own, and their first calls, timed from when each was due. */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'undici';
import { type Finding, fact } from './results.ts';
import { quantile } from './stats.ts';

const BUNDLE_BYTES = 51_200;
const VARIABLES = 20;
export const NEW_PER_SECOND = 2;
/** Of the first result on a pool of POOL_PODS. */
const WANTED_MS = { p50: 15, p99: 40 } as const;
export const POOL_PODS = 10;
export const FUNCTIONS = 100;
/** Of each kind that stands beside. */
export const FUNCTIONS_BESIDE = 30;

/** Of a function's spec: BUNDLE_BYTES of code that no other has, and VARIABLES. Its answer says when the code was loaded. */
export function ownCode(name: string) {
  return {
    source: { inline: codeOf(name) },
    env: Array.from({ length: VARIABLES }, (_, i) => ({
      name: `VARIABLE_${i}`,
      value: `${name} ${i}`,
    })),
  };
}

function codeOf(name: string): string {
  let code = `const loadedAt = performance.timeOrigin + performance.now();
export default async ({ holdMs = 0 }) => {
  if (holdMs > 0) await new Promise((resolve) => setTimeout(resolve, holdMs));
  return { loadedAt, name: process.env.VARIABLE_1, size: Object.keys(tables).length };
};
const tables = {};
`;
  for (let i = 0; code.length < BUNDLE_BYTES; i++) {
    const digest = createHash('sha256').update(`${name} ${i}`).digest('hex');
    code += `tables.f${i} = (x) => (x > ${i} ? '${digest}' : x + ${i});\n`;
  }
  return code.slice(0, code.lastIndexOf('\n', BUNDLE_BYTES) + 1);
}

export interface FirstCall {
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
  paths: readonly string[],
  perSecond: number,
  held: boolean,
): Promise<FirstCall[]> {
  const due = (i: number) => (i * 1_000) / perSecond;
  if (!held) return callAt(port, paths, due);
  const holders = callAt(port, paths, due, HOLD_MS);
  await sleep(HOLD_AHEAD_MS);
  const calls = await callAt(port, paths, due);
  await holders;
  return calls;
}

/** All at once, in this order. */
export async function callInOrder(port: number, paths: readonly string[]): Promise<FirstCall[]> {
  return callAt(port, paths, (i) => i * IN_ORDER_MS);
}

async function callAt(
  port: number,
  paths: readonly string[],
  dueMs: (index: number) => number,
  holdMs = 0,
): Promise<FirstCall[]> {
  const pool = new Pool(`http://127.0.0.1:${port}`, {
    connections: paths.length,
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  try {
    const begin = performance.now();
    return await Promise.all(
      paths.map(async (path, i) => {
        const due = begin + dueMs(i);
        await sleep(Math.max(0, due - performance.now()));
        const { statusCode, body } = await pool.request({
          path,
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ input: { holdMs } }),
        });
        const answer = (await body.json()) as { output?: { loadedAt: number } };
        const ms = performance.now() - due;
        return { status: statusCode, ms, loadedAt: answer.output?.loadedAt ?? Number.NaN };
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

/** How long the first results took. `placement`: how they are to be placed; `placed`: how many were. */
export function firstResults(
  label: string,
  placement: string,
  calls: readonly FirstCall[],
  placed: number,
): Finding[] {
  const ms = calls.map((call) => call.ms);
  const failed = calls.filter(({ status }) => status !== 200).length;
  const note = `${calls.length} functions, ${NEW_PER_SECOND} a second, ${placed} placed so, ${failed} failed`;
  return (['p50', 'p99'] as const).map((name) =>
    fact(
      'never-run functions',
      `${label}, first result, ${name}`,
      'ms',
      quantile(ms, name === 'p50' ? 0.5 : 0.99),
      {
        ...(placement === 'generic' && { limit: { op: '<=', value: WANTED_MS[name] } }),
        note,
      },
    ),
  );
}

/** Of a GET of the base path, as JSON. @throws when it is no success. */
export type Get = <T>(path: string) => Promise<T>;

export function getFrom(address: string): Get {
  return async <T>(path: string): Promise<T> => {
    const response = await fetch(`${address}${path}`);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  };
}

export async function hasPods(get: Get, pool: string, pods: number): Promise<boolean> {
  const { ready } = await get<{ ready: number }>(`/v1/pools/${pool}?kind=WarmPool`);
  return ready >= pods;
}

/** Attempts of these functions that were placed so. */
export async function placements(
  get: Get,
  names: readonly string[],
  kind: string,
): Promise<number> {
  let sum = 0;
  for (const name of names) {
    const pool = await get<{ placements: Record<string, number> }>(`/v1/pools/${name}`);
    sum += pool.placements[kind] ?? 0;
  }
  return sum;
}

/** What each scenario on the cluster is given. */
import { setTimeout as delay } from 'node:timers/promises';
import { fn } from '../../../k8s/e2e/support/call.ts';
import type { Installation } from '../../../k8s/e2e/support/installation.ts';
import { type Api, type KubeObject, PODS } from '../../../k8s/src/api/api.ts';
import type { Finding } from '../results.ts';
import { quantile } from '../stats.ts';
import { type Answer, post } from './http.ts';

export interface ClusterContext {
  readonly api: Api;
  /** One control plane with default settings, which the scenarios share. */
  simmer(): Promise<Installation>;
  /** Rounds of what is measured most exactly; other scenarios take a part of it. */
  readonly rounds: number;
  readonly quick: boolean;
  log(text: string): void;
}

export interface ClusterScenario {
  /** As `--only` names it. */
  readonly name: string;
  run(context: ClusterContext): Promise<Finding[]>;
}

const POLL_MS = 100;
/** A safety net. */
const WAIT_MS = 120_000;

/**
 * Runs `input.ms` and tells for how long it did: what is left of the call's time is Simmer's and the cluster's. And when
 * its process started, by the clock of its node.
 */
export const SLEEPS = `
import { setTimeout } from 'node:timers/promises';
export default async ({ ms }) => {
  const from = performance.now();
  if (ms > 0) await setTimeout(ms);
  return { ranMs: performance.now() - from, startedAt: performance.timeOrigin };
};
`;

export const ECHO = 'export default async (input) => input;\n';

export { fn };

export function call(
  simmer: Pick<Installation, 'address' | 'name'>,
  name: string,
  input: unknown,
  options: Parameters<typeof post>[3] = {},
): Promise<Answer> {
  return post(simmer.address, invokePath(simmer, name), { input }, options);
}

export const invokePath = (simmer: Pick<Installation, 'name'>, name: string): string =>
  `/v1/functions/${simmer.name(name)}:invoke`;

let addresses = 0;
/**
 * Of loopback, and nobody else's. A call that is refused because nobody is there yet, or any more, leaves an entry in conntrack that leads
 * nowhere, for two minutes: it would refuse the next call of the same address and port, whatever serves by then.
 */
export function ownAddress(): string {
  addresses++;
  return `127.0.1.${addresses}`;
}

/** @throws when it is no success. */
export function must(answer: Answer): Answer {
  if (answer.status !== 200) throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`);
  return answer;
}

export interface PodsOfPool {
  readonly state: string;
}

/** A function's pods as the control plane knows them now; the object's status follows later. */
export async function poolPods(
  simmer: Pick<Installation, 'address' | 'name'>,
  name: string,
): Promise<readonly PodsOfPool[]> {
  const response = await fetch(`${simmer.address}/v1/pools/${simmer.name(name)}`);
  return ((await response.json()) as { pods?: PodsOfPool[] }).pods ?? [];
}

export async function eventually<T>(
  what: string,
  ask: () => Promise<T | undefined | false>,
  everyMs = POLL_MS,
  limitMs = WAIT_MS,
): Promise<T> {
  const end = performance.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > end) throw new Error(`${what}: not within ${limitMs} ms`);
    await delay(everyMs);
  }
}

/** Waits until no more than `count` pods of the namespace run, so that what ends does not disturb what is measured next. */
export function settled(api: Api, namespace: string, count: number): Promise<true> {
  return eventually(`at most ${count} pods in ${namespace}`, async () => {
    const { items } = await api.list<KubeObject & { status?: { phase?: string } }>(PODS, namespace);
    const alive = items.filter(
      ({ status, metadata }) =>
        metadata.deletionTimestamp !== undefined ||
        (status?.phase !== 'Succeeded' && status?.phase !== 'Failed'),
    );
    return alive.length <= count;
  });
}

export const middle = (list: readonly number[]): number => quantile(list, 0.5);

/** `p50 321, p99 402 ms, 50 rounds`. */
export function range(list: readonly number[]): string {
  const at = (fraction: number) => quantile(list, fraction).toFixed(0);
  return `quartiles ${at(0.25)} to ${at(0.75)} ms, p99 ${at(0.99)} ms, ${list.length} rounds`;
}

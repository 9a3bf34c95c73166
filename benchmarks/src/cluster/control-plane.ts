/** The control plane is killed, and updated, under load: how long nothing is answered, and how many calls fail. */
import { Agent } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Installation } from '../../../k8s/e2e/support/installation.ts';
import { apply, kubectl, list } from '../../../k8s/e2e/support/kubectl.ts';
import { type Finding, fact } from '../results.ts';
import {
  type ClusterScenario,
  call,
  eventually,
  fn,
  middle,
  ownAddress,
  poolPods,
  SLEEPS,
} from './context.ts';

const CALLERS = 8;
const CALL_MS = 20;
const ROUNDS = 3;
const QUICK_ROUNDS = 1;
/** Answered before and after what is done. */
const CALLS_AROUND = 100;
const NAME = 'bench-steady';
const PODS = 2;
const CALL_TIMEOUT_MS = 30_000;

interface Disturbed {
  readonly calls: number;
  readonly failed: Readonly<Record<string, number>>;
  /** Longest time between two successes. */
  readonly silentMs: number;
}

/** Restart and upgrade. */
export const controlPlane: ClusterScenario = {
  name: 'control-plane',
  async run(context) {
    const simmer = await context.simmer();
    const { system, tenant } = simmer;
    const rounds = context.quick ? QUICK_ROUNDS : ROUNDS;
    const rollout = () =>
      kubectl('rollout', 'status', '-n', system, 'deployment/simmer', '--timeout=120s');
    const scale = async (replicas: number) => {
      await kubectl('scale', '-n', system, 'deployment/simmer', `--replicas=${replicas}`);
      await rollout();
      await eventually(`${replicas} control planes`, async () => {
        const pods = await list(system, 'pods', 'app.kubernetes.io/name=simmer');
        return pods.length === replicas || undefined;
      });
    };
    const kill = async () => {
      const [pod] = await list(system, 'pods', 'simmer.dev/leader=true');
      if (pod === undefined) throw new Error('no control plane leads');
      const { name } = pod.metadata;
      await kubectl('delete', 'pod', '-n', system, name, '--grace-period=0', '--force');
      await rollout();
    };
    const restart = async () => {
      await kubectl('rollout', 'restart', '-n', system, 'deployment/simmer');
      await rollout();
    };
    await apply(
      tenant,
      fn(NAME, {
        source: { inline: SLEEPS },
        concurrency: 20,
        minReplicas: PODS,
        maxReplicas: PODS,
        overflow: 0,
      }),
    );
    const findings: Finding[] = [];
    try {
      await eventually('its pods are ready', async () => {
        const pods = await poolPods(simmer, NAME).catch(() => []);
        return pods.length === PODS && pods.every(({ state }) => state === 'idle');
      });
      for (const [what, replicas, disturb, failures] of [
        ['one control plane is killed', 1, kill, undefined],
        ['the leader of two is killed', 2, kill, undefined],
        ['rolling update of two', 2, restart, 0],
      ] as const) {
        await scale(replicas);
        const before = await uids(tenant);
        const found: Disturbed[] = [];
        for (let round = 0; round < rounds; round++) {
          found.push(await under(simmer, disturb));
          context.log(`${what}: ${JSON.stringify(found.at(-1))}`);
        }
        const kept = (await uids(tenant)).filter((uid) => before.includes(uid)).length;
        findings.push(...judge(what, found, failures));
        findings.push(
          fact(what, 'pods that were replaced', '', PODS - kept, { limit: { op: '<=', value: 0 } }),
        );
      }
      return findings;
    } finally {
      await scale(1);
      await kubectl('delete', 'functions.simmer.dev', NAME, '-n', tenant);
    }
  },
};

const uids = async (tenant: string): Promise<readonly string[]> =>
  (await list(tenant, 'pods', `simmer.dev/function=${NAME}`)).map(({ metadata }) => metadata.uid);

/** Calls without a pause, before, while and after `disturb` is done. */
async function under(simmer: Installation, disturb: () => Promise<void>): Promise<Disturbed> {
  const failed: Record<string, number> = {};
  let calls = 0;
  let successes = 0;
  let last = performance.now();
  let silentMs = 0;
  let stopped = false;
  const fail = (why: string) => {
    failed[why] = (failed[why] ?? 0) + 1;
  };
  const agent = new Agent({ keepAlive: true, localAddress: ownAddress() });
  const caller = async () => {
    while (!stopped) {
      calls++;
      try {
        const signal = AbortSignal.timeout(CALL_TIMEOUT_MS);
        const { status, body } = await call(simmer, NAME, { ms: CALL_MS }, { agent, signal });
        if (status === 200) {
          const now = performance.now();
          silentMs = Math.max(silentMs, now - last);
          last = now;
          successes++;
          continue;
        }
        fail(`${status} ${body?.code ?? ''}`.trim());
      } catch (error) {
        fail((error as NodeJS.ErrnoException).code ?? (error as Error).name);
      }
      await delay(CALL_MS);
    }
  };
  const callers = Array.from({ length: CALLERS }, caller);
  const more = async () => {
    const then = successes + CALLS_AROUND;
    await eventually('calls succeed', async () => successes > then || undefined);
  };
  try {
    await more();
    silentMs = 0;
    await disturb();
    await more();
  } finally {
    stopped = true;
    await Promise.all(callers);
    agent.destroy();
  }
  return { calls, failed, silentMs };
}

function judge(what: string, found: readonly Disturbed[], allowed: number | undefined): Finding[] {
  const counts = found.map(({ failed }) => Object.values(failed).reduce((a, b) => a + b, 0));
  const kinds: Record<string, number> = {};
  for (const { failed } of found) {
    for (const [why, n] of Object.entries(failed)) kinds[why] = (kinds[why] ?? 0) + n;
  }
  const silent = found.map(({ silentMs }) => silentMs);
  const calls = found.reduce((sum, one) => sum + one.calls, 0);
  return [
    fact(what, 'longest time without an answer', 'ms', middle(silent), {
      note: `of each of ${found.length} rounds: ${silent.map((ms) => ms.toFixed(0)).join(', ')} ms`,
    }),
    fact(
      what,
      'failed calls, all rounds',
      '',
      counts.reduce((a, b) => a + b, 0),
      {
        ...(allowed === undefined ? {} : { limit: { op: '<=' as const, value: allowed } }),
        note: `of ${calls}, ${CALLERS} callers that try again every ${CALL_MS} ms; ${JSON.stringify(kinds)}`,
      },
    ),
  ];
}

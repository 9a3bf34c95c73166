/** A pool that grows from one pod to ten, beside a Deployment of the same image that does. */
import { apply, kubectl } from '../../../k8s/e2e/support/kubectl.ts';
import { FUNCTIONS } from '../../../k8s/src/api/api.ts';
import { fact } from '../results.ts';
import { ratios, spread } from '../stats.ts';
import {
  type ClusterScenario,
  eventually,
  fn,
  middle,
  poolPods,
  range,
  SLEEPS,
  settled,
} from './context.ts';
import { startListener } from './listener.ts';

const FROM = 1;
const TO = 10;
const ROUNDS = 3;
const QUICK_ROUNDS = 1;
const POLL_MS = 10;
const NAME = 'bench-growth';
const DEPLOYMENTS = { group: 'apps', version: 'v1', plural: 'deployments', kind: 'Deployment' };

/** 1 to 10. */
export const growth: ClusterScenario = {
  name: 'growth',
  async run(context) {
    const { api } = context;
    const simmer = await context.simmer();
    const { tenant } = simmer;
    const listener = await startListener(simmer);
    const rounds = context.quick ? QUICK_ROUNDS : ROUNDS;
    const ours: number[] = [];
    const theirs: number[] = [];
    await apply(
      tenant,
      fn(NAME, {
        source: { inline: SLEEPS },
        minReplicas: FROM,
        maxReplicas: TO,
        keepAliveMs: 0,
      }),
    );
    const ready = async (count: number) =>
      (await poolPods(simmer, NAME)).filter(({ state }) => state === 'idle').length === count;
    const is = (count: number) =>
      eventually(
        `${count} pods of ${NAME}`,
        async () => (await ready(count)) || undefined,
        POLL_MS,
      );
    try {
      await is(FROM);
      for (let round = 0; round < rounds; round++) {
        await settled(api, tenant, 2);
        let from = performance.now();
        await api.patch(FUNCTIONS, tenant, NAME, { spec: { minReplicas: TO } });
        await is(TO);
        ours.push(performance.now() - from);
        await api.patch(FUNCTIONS, tenant, NAME, { spec: { minReplicas: FROM } });
        await is(FROM);
        await settled(api, tenant, 2);

        const id = `growth-${round}`;
        const first = listener.came(id);
        await apply(tenant, deployment(listener.container(id, true)));
        await first;
        const others = listener.came(id, TO - FROM);
        from = performance.now();
        await api.patch(DEPLOYMENTS, tenant, NAME, { spec: { replicas: TO } });
        await others;
        theirs.push(performance.now() - from);
        await kubectl('delete', 'deployment', NAME, '-n', tenant);
        await settled(api, tenant, 2);
        context.log(
          `growth: ${ours.at(-1)?.toFixed(0)}, Deployment ${theirs.at(-1)?.toFixed(0)} ms`,
        );
      }
    } finally {
      await kubectl('delete', 'functions.simmer.dev', NAME, '-n', tenant);
      await kubectl('delete', 'deployment', NAME, '-n', tenant, '--ignore-not-found');
    }
    const scenario = `growth, ${FROM} to ${TO} pods`;
    const ratio = spread(ratios(ours, theirs));
    return [
      fact(scenario, 'until all are ready', 'ms', middle(ours), { note: range(ours) }),
      fact(scenario, 'a Deployment, until all have connected', 'ms', middle(theirs), {
        note: `${range(theirs)}; Simmer ${ratio.median.toFixed(2)} of it [${ratio.q1.toFixed(2)}–${ratio.q3.toFixed(2)}]`,
      }),
    ];
  },
};

function deployment(container: object): object {
  const labels = { app: NAME };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: NAME },
    spec: {
      replicas: FROM,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          terminationGracePeriodSeconds: 1,
          containers: [container],
        },
      },
    },
  };
}

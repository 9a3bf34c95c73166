/** A rolling update, and a leader that is killed, both under load. */
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { fn, invoke, WAITS } from './support/call.ts';
import { type Installation, install } from './support/installation.ts';
import { apply, get, kubectl, list, podsOf, until } from './support/kubectl.ts';

const CALLERS = 8;
/** What each call runs for. */
const CALL_MS = 20;

let simmer: Installation;
t.before(async () => {
  simmer = await install({ replicas: 2 });
  await apply(
    simmer.tenant,
    fn('waits', { minReplicas: 2, maxReplicas: 2, concurrency: 20, source: { inline: WAITS } }),
  );
  await until('its pods are ready', async () => {
    const { status } = await get(simmer.tenant, 'functions.simmer.dev', 'waits');
    return status?.readyReplicas === 2;
  });
});
t.teardown(() => simmer?.remove());

/** Calls without a pause until it is told to stop; every call's end, as its status or the connection's error. */
function load() {
  const ends: (number | string)[] = [];
  let stopped = false;
  const caller = async () => {
    while (!stopped) {
      try {
        const { status } = await invoke(simmer, 'waits', { ms: CALL_MS });
        ends.push(status);
      } catch (error) {
        const { name, message, cause } = error as Error & { cause?: Error };
        ends.push(`${name}: ${message}: ${cause?.message ?? ''}`);
        await delay(CALL_MS);
      }
    }
  };
  const callers = Array.from({ length: CALLERS }, caller);
  return {
    ends,
    count: (status: number) => ends.filter((end) => end === status).length,
    stop: async () => {
      stopped = true;
      await Promise.all(callers);
    },
  };
}

const uidsOf = async () =>
  (await podsOf(simmer.tenant, 'waits')).map((pod) => pod.metadata.uid).sort();

const leader = async () => {
  const [pod] = await list(simmer.system, 'pods', 'simmer.dev/leader=true');
  return pod?.metadata.name;
};

t.test('a rolling update under load fails no call and restarts no pod', async (t) => {
  const before = await uidsOf();
  const first = await leader();
  const calls = load();
  await until('calls are answered', async () => calls.count(200) > 50);
  await kubectl('rollout', 'restart', '-n', simmer.system, 'deployment/simmer');
  await kubectl('rollout', 'status', '-n', simmer.system, 'deployment/simmer', '--timeout=170s');
  await until('the former pods are gone', async () => {
    const pods = await list(simmer.system, 'pods', 'app.kubernetes.io/name=simmer');
    return pods.length === 2;
  });
  const then = calls.ends.length;
  await until('calls go on', async () => calls.ends.length > then + 50);
  await calls.stop();
  t.not(await leader(), first);
  t.strictSame(
    calls.ends.filter((end) => end !== 200),
    [],
    `all of ${calls.ends.length} calls succeed`,
  );
  t.strictSame(await uidsOf(), before);
});

t.test(
  'a leader that is killed resets its callers; the next one takes its pods over',
  async (t) => {
    const before = await uidsOf();
    const first = (await leader()) as string;
    const calls = load();
    await until('calls are answered', async () => calls.count(200) > 50);
    await kubectl('delete', 'pod', '-n', simmer.system, first, '--grace-period=0', '--force');
    await until('another leads', async () => {
      const now = await leader();
      return now !== undefined && now !== first;
    });
    const then = calls.count(200);
    await until('calls are answered again', async () => calls.count(200) > then + 50);
    await calls.stop();
    t.strictSame(
      calls.ends.filter((end) => typeof end === 'string' && end.startsWith('TimeoutError')),
      [],
      'none hangs',
    );
    t.strictSame(await uidsOf(), before, 'no pod was restarted');
  },
);

import t from 'tap';
import { type ClusterVitals, type Counted, Metrics } from '../../src/control/metrics.ts';
import {
  allocateCounters,
  FunctionCounters,
  HISTOGRAM,
  ProcessCounters,
} from '../../src/shared/counters.ts';
import { parsePrometheus } from './prometheus-text.ts';

function setUp(functions: Counted[], blocks = 10, vitals?: ClusterVitals) {
  const memory = allocateCounters(blocks);
  const metrics = new Metrics({
    memory,
    version: '1.2.3',
    functions: () => functions,
    now: () => 5_000,
    ...(vitals && { cluster: () => vitals }),
  });
  const read = async () => {
    let page = '';
    for await (const piece of metrics.page()) page += piece;
    const families = parsePrometheus(page);
    const value = (name: string, labels: Record<string, string>) =>
      families
        .get(name.replace(/_(bucket|sum|count)$/, '')) // of a histogram
        ?.samples.concat(families.get(name)?.samples ?? [])
        .find((s) => s.name === name && JSON.stringify(s.labels) === JSON.stringify(labels))?.value;
    return { families, value };
  };
  return { memory, metrics, read };
}

t.test('what the scheduler counts is on the page, by function', async (t) => {
  const { memory, read } = setUp([
    { key: 'default/a', slot: 1 },
    { key: 'team/b', slot: 2 },
  ]);
  const a = new FunctionCounters(memory, 1);
  a.addGauge('queued', 3);
  a.addGauge('heldBytes', 4_096);
  a.addGauge('running', 2);
  a.addGauge('lingering', 1);
  a.addGauge('podsBusy', 1);
  a.count('accepted');
  a.count('accepted');
  a.count('succeeded');
  a.count('failed');
  a.count('podsLost');
  a.countError('queue_full');
  a.countPlacement('warm');
  a.countMiss('grow');
  const shared = new ProcessCounters(memory);
  shared.beat('scheduler', 4_750);
  shared.totalHeldBytes = 4_096;
  shared.droppedLogLines = 7;

  const { value, families } = await read();
  const a1 = { function: 'default/a' };
  t.equal(value('simmer_function_queue_depth', a1), 3);
  t.equal(value('simmer_function_held_bytes', a1), 4_096);
  t.equal(value('simmer_function_running', a1), 2);
  t.equal(value('simmer_function_running', { function: 'team/b' }), 0);
  t.equal(value('simmer_pods', { ...a1, state: 'busy' }), 1);
  t.equal(value('simmer_pods', { ...a1, state: 'idle' }), 0);
  t.equal(value('simmer_function_lingering', a1), 1);
  t.equal(value('simmer_accepted_total', a1), 2);
  t.equal(value('simmer_ended_total', { ...a1, status: 'succeeded' }), 1);
  t.equal(value('simmer_ended_total', { ...a1, status: 'failed' }), 1);
  t.equal(value('simmer_invocations_total', { ...a1, code: 'ok' }), 1);
  t.equal(value('simmer_invocations_total', { ...a1, code: 'queue_full' }), 1);
  t.equal(
    value('simmer_invocations_total', { ...a1, code: 'timeout' }),
    undefined,
    'no empty series',
  );
  t.equal(value('simmer_placements_total', { ...a1, kind: 'warm' }), 1);
  t.equal(value('simmer_misses_total', { ...a1, kind: 'grow' }), 1);
  t.equal(value('simmer_pods_lost_total', a1), 1);
  t.equal(value('simmer_held_bytes', {}), 4_096);
  t.equal(value('simmer_dropped_log_lines_total', {}), 7);
  t.equal(value('simmer_thread_beat_age_seconds', { thread: 'scheduler' }), 0.25);
  t.equal(value('simmer_thread_beat_age_seconds', { thread: 'control' }), Infinity);
  t.equal(value('simmer_build_info', { version: '1.2.3', node: process.version }), 1);
  t.ok(families.has('process_resident_memory_bytes'), "and Node's own");
});

t.test('what pools cost is on the page', async (t) => {
  const metrics = new Metrics({
    memory: allocateCounters(1),
    version: '1.2.3',
    functions: () => [],
    now: () => 0,
    pools: () => [
      {
        ...{ key: 'default/a', desired: 3, podSeconds: 60, idlePodSeconds: 40, memoryMib: 2 },
        ...{ idleMibSeconds: 1, coldStarts: 4, coldStartSeconds: 0.5, savedSeconds: 7.5 },
      },
    ],
  });
  let page = '';
  for await (const piece of metrics.page()) page += piece;
  const families = parsePrometheus(page);
  const value = (name: string) => families.get(name)?.samples[0]?.value;
  t.equal(value('simmer_pool_desired_pods'), 3);
  t.equal(value('simmer_pool_memory_bytes'), 2_097_152);
  t.equal(value('simmer_pool_pod_seconds_total'), 60);
  t.equal(value('simmer_pool_idle_pod_seconds_total'), 40);
  t.equal(value('simmer_pool_idle_memory_byte_seconds_total'), 1_048_576);
  t.equal(value('simmer_pool_saved_wait_seconds_total'), 7.5);
});

t.test('what is counted by function is of one moment, however long the page takes', async (t) => {
  const { memory, metrics } = setUp([{ key: 'default/a', slot: 1 }]);
  const a = new FunctionCounters(memory, 1);
  a.count('accepted');
  a.addGauge('running', 1);
  let page = '';
  for await (const piece of metrics.page()) {
    page += piece;
    // The scheduler goes on meanwhile.
    if (!piece.includes('simmer_function_queue_depth')) continue;
    a.addGauge('running', -1);
    a.count('succeeded');
  }
  t.match(page, /simmer_accepted_total\{function="default\/a"\} 1\n/);
  t.match(page, /simmer_function_running\{function="default\/a"\} 1\n/);
  t.notMatch(page, /simmer_ended_total\{/);
  t.equal(a.ended, 1);
});

t.test('page after page takes no more memory, also two at once', async (t) => {
  const { memory, read } = setUp([{ key: 'default/a', slot: 1 }], 1_000);
  const pages = 100;
  await Promise.all([read(), read()]);
  const before = process.memoryUsage.rss();
  for (let i = 0; i < pages; i++) await Promise.all([read(), read()]);
  const grown = process.memoryUsage.rss() - before;
  t.ok(grown < (pages * memory.byteLength) / 4, `${grown} bytes for ${pages} times two pages`);
});

t.test('histograms have cumulative buckets in seconds', async (t) => {
  const { memory, read } = setUp([{ key: 'default/a', slot: 1 }]);
  const a = new FunctionCounters(memory, 1);
  for (const ms of [0.05, 0.1, 3, 3, 70_000]) a.observe(HISTOGRAM.latency, ms);
  a.observe(HISTOGRAM.wait, 20);
  a.countPlacement('warm');
  a.countPlacement('waited');
  a.observe(HISTOGRAM.firstResult, 60);
  const { value, families } = await read();
  const latency = (le: string) =>
    value('simmer_invocation_duration_seconds_bucket', { function: 'default/a', le });
  t.strictSame(['0.0001', '0.0025', '0.005', '60', '+Inf'].map(latency), [2, 2, 4, 4, 5]);
  t.equal(value('simmer_invocation_duration_seconds_count', { function: 'default/a' }), 5);
  const sum = value('simmer_invocation_duration_seconds_sum', { function: 'default/a' }) ?? 0;
  t.ok(Math.abs(sum - 70.00615) < 1e-9);
  // Who finds a free slot waits not at all.
  const wait = (le: string) =>
    value('simmer_queue_wait_seconds_bucket', { function: 'default/a', le });
  t.strictSame(['0.0001', '0.01', '0.025', '+Inf'].map(wait), [1, 1, 2, 2]);
  t.equal(value('simmer_queue_wait_seconds_count', { function: 'default/a' }), 2);
  const phases = families.get('simmer_cold_start_seconds')?.samples.map((s) => s.labels['phase']);
  t.strictSame(new Set(phases), new Set(['first_result']));
});

t.test('the number of series is bounded, whatever the number of functions', async (t) => {
  const BLOCKS = 20;
  const functions = Array.from({ length: 500 }, (_, i) => ({
    key: `default/f${i}`,
    slot: i < BLOCKS ? i + 1 : 0,
  }));
  const { memory, read } = setUp(functions, BLOCKS);
  for (const { slot } of functions) new FunctionCounters(memory, slot).count('accepted');
  const { families, value } = await read();
  for (const { name, samples } of families.values()) {
    const labels = new Set(samples.map((s) => s.labels['function']).filter((f) => f !== undefined));
    t.ok(labels.size <= BLOCKS + 1, `${name} has ${labels.size} functions`);
  }
  t.equal(value('simmer_accepted_total', { function: 'other' }), 480);
});

t.test('the link to Kubernetes shows where there is one', async (t) => {
  const vitals = { staleMs: 1_500, writes: 7, leads: true };
  const { value } = await setUp([], 10, vitals).read();
  t.equal(value('simmer_kubernetes_staleness_seconds', {}), 1.5);
  t.equal(value('simmer_kubernetes_writes_total', {}), 7);
  t.equal(value('simmer_leader', {}), 1);
  t.equal((await setUp([]).read()).value('simmer_leader', {}), undefined);
});

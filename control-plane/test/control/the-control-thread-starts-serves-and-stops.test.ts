/** The control thread as a worker, as it is built, with real files and child processes; the test takes the scheduler's part. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import { type Config, resolveConfig } from '../../src/config/config.ts';
import { nodeRuntime } from '../../src/control/backends/process.ts';
import { Control } from '../../src/control/control.ts';
import { ANYONE } from '../../src/shared/caller.ts';
import { allocateCounters, ProcessCounters } from '../../src/shared/counters.ts';
import type { ControlThreadData, ToControl, ToScheduler } from '../../src/shared/messages.ts';
import { memoryLog, until } from './fakes.ts';

const manifest = (name: string, spec: object) =>
  JSON.stringify({
    apiVersion: 'simmer.dev/v1alpha1',
    kind: 'Function',
    metadata: { name },
    spec: { handler: 'handler.mjs', ...spec },
  });

function setUp(t: Test, given: Partial<Config> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'simmer-control-'));
  writeFileSync(join(folder, 'handler.mjs'), 'export default () => 1;');
  const resolved = resolveConfig(['--functions', folder, '--management-port', '0'], {});
  if (resolved.kind !== 'config') throw new Error('no configuration');
  const workerData: ControlThreadData = {
    config: { ...resolved.config, logLevel: 'error', metricsFunctions: 5, ...given },
    bootId: 'boot',
    counters: allocateCounters(5),
    // Nobody listens there: pods never connect, and the test says what the scheduler would.
    podAddress: 'ws://127.0.0.1:1',
  };
  const shared = new ProcessCounters(workerData.counters);
  const received: ToScheduler[] = [];
  let worker: Worker | undefined;
  t.teardown(async () => {
    await worker?.terminate();
    rmSync(folder, { recursive: true });
  });
  return {
    folder,
    workerData,
    shared,
    received,
    write: (name: string, text: string) => writeFileSync(join(folder, name), text),
    start() {
      worker = new Worker(new URL('../../dist/control/thread.js', import.meta.url), { workerData });
      worker.on('message', (message: ToScheduler) => void received.push(message));
      return worker;
    },
    send: (message: ToControl) => worker?.postMessage(message),
    async get<T extends ToScheduler['type']>(type: T, count = 1) {
      const of = () =>
        received.filter((m): m is Extract<ToScheduler, { type: T }> => m.type === type);
      await until(`${count} x ${type}`, () => of().length >= count);
      return of().at(count - 1) as Extract<ToScheduler, { type: T }>;
    },
  };
}

const alive = (pid: number) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

t.test('from the first scan to the last pod', async (t) => {
  const s = setUp(t);
  s.write('f.json', manifest('f', { minReplicas: 1, startupTimeoutMs: 60_000 }));
  s.start();
  const { managementPort } = await s.get('started');
  t.match(s.received[0], { type: 'functions', upsert: [{ key: 'default/f', slot: 1 }] });
  const management = (path: string) => fetch(`http://127.0.0.1:${managementPort}${path}`);

  t.equal((await management('/healthz')).status, 503, 'the scheduler has not beaten yet');
  s.shared.beat('scheduler', Date.now());
  t.equal((await management('/healthz')).status, 200);
  t.ok(s.shared.sinceBeat('control', Date.now()) < 10_000, 'and this thread beats');

  const ready = await management('/readyz');
  t.equal(ready.status, 503);
  t.strictSame(await ready.json(), { status: 'starting', pools: ['default/f'] });
  const { podId } = await s.get('pod-expected');
  const { label } = await s.get('pod-started');
  t.ok(alive(Number(label)), 'the label is its process id');
  s.send({ type: 'pod-ready', podId });
  await until('ready', async () => (await management('/readyz')).ok);
  t.match(await (await management('/metrics')).text(), /simmer_pods\{function="default\/f"/);

  s.send({ type: 'need', functionKey: 'default/f', kind: 'job', count: 1 });
  const job = await s.get('pod-expected', 2);
  t.match(job, { kind: 'job', needed: true });
  await s.get('pod-started', 2);

  s.send({
    type: 'http-request',
    requestId: 1,
    method: 'GET',
    path: '/v1/pools/f',
    query: '',
    executionId: 'boot-1',
    caller: ANYONE,
    contentType: '',
    ifMatch: '',
    contentDigest: '',
    body: null,
    pods: [],
  });
  const { status, body } = await s.get('http-response');
  t.equal(status, 200);
  t.match(JSON.parse(body as string), {
    name: 'f',
    live: 2,
    jobs: 1,
    pods: [{ id: podId, label }, {}],
  });

  s.write('g.json', manifest('g', {}));
  t.match(await s.get('functions', 2), { upsert: [{ key: 'default/g' }], remove: [] });

  process.kill(Number(label), 'SIGKILL');
  t.match(await s.get('pod-exited'), { podId, reason: /^signal SIGKILL/ });
  t.match(await s.get('pod-expected', 3), { functionKey: 'default/f', needed: false });

  s.send({ type: 'drain' });
  await until('not ready', async () => (await management('/readyz')).status === 503);
  s.send({ type: 'stop', graceMs: 5_000, callbackGraceMs: 0 });
  await s.get('stopped');
  const expected = s.received.filter((m) => m.type === 'pod-expected').map((m) => m.podId);
  const exited = s.received.filter((m) => m.type === 'pod-exited').map((m) => m.podId);
  t.strictSame(exited.sort(), expected.sort(), 'every pod was told of, and is gone');
  await t.rejects(management('/healthz'));
});

t.test('a refused manifest is logged once, with file, line, field and reason', async (t) => {
  const s = setUp(t);
  s.write('broken.json', manifest('broken', { concurrency: 0 }));
  const { lines, sink } = memoryLog();
  const sent: ToScheduler[] = [];
  const control = new Control({
    connect: () => Promise.reject(new Error('no cluster here')),
    data: s.workerData,
    send: (message) => void sent.push(message),
    sink,
    command: nodeRuntime(),
    podEnvironment: {},
  });
  await control.start();
  s.write('f.json', manifest('f', {}));
  await until('another scan', () => sent.some((m) => m.type === 'functions'));
  t.match(lines, [
    {
      level: 'error',
      code: 'invalid_manifest',
      message: 'manifest refused: broken.json:1: spec.concurrency: must be >= 1',
    },
  ]);
  t.equal(lines.length, 1);
  control.onMessage({ type: 'stop', graceMs: 0, callbackGraceMs: 0 });
  await until('it stopped', () => sent.some((m) => m.type === 'stopped'));
});

t.test('a port in use, or a folder that is not there, stops the start and says why', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.teardown(() => taken.close());
  const { port } = taken.address() as { port: number };
  const first = setUp(t, { managementPort: port });
  first.start();
  t.match(await first.get('start-failed'), {
    message: new RegExp(`^management-port: cannot listen on 127\\.0\\.0\\.1:${port}: .*EADDRINUSE`),
  });
  const second = setUp(t, { functions: '/no/such/folder' });
  second.start();
  t.match(await second.get('start-failed'), { message: /^functions: cannot read .*ENOENT/ });
});

t.test('a crash of the thread is its error event, not a silence', async (t) => {
  const s = setUp(t);
  const worker = s.start();
  await s.get('started');
  const [error] = await Promise.all([
    once(worker, 'error'),
    // No scheduler sends this: a log line of a level that does not exist.
    s.send({ type: 'log', lines: [{ level: 'loud' as 'info', message: 'x', fields: {} }] }),
  ]);
  t.match(error[0], { name: 'TypeError' });
});

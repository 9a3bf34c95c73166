/** What holds for every backend (protocol/src/backend.ts). Each backend's test file runs it. */
import type { Backend, BackendEvent, LaunchRequest } from '@simmer/protocol/backend';
import type { Test } from 'tap';
import { manifestOf, until } from './fakes.ts';

/**
 * The behaviours that a backend under test must be able to launch, by function name (see fixtures/pod.mjs).
 * `unlaunchable` is a request that the backend must refuse.
 */
export interface ContractSubject {
  readonly backend: Backend;
  readonly baseDir: string;
  /** Resolves when the pod's own code runs: it has printed `up`. */
  up(podId: string): Promise<void>;
  unlaunchable(request: LaunchRequest): LaunchRequest;
  /** What is said of a pod whose grace was shortened, where it is not that it was killed. */
  readonly struckOff?: RegExp;
  /** What this backend needs of every request beside. */
  readonly more?: (name: string) => Partial<LaunchRequest>;
}

let launched = 0;

export function requestFor(
  name: string,
  baseDir: string,
  more: Partial<LaunchRequest> = {},
): LaunchRequest {
  return {
    podId: `${name}-${++launched}`,
    kind: 'pool',
    functionKey: `default/${name}`,
    spec: manifestOf(name).spec,
    revision: 'r1',
    baseDir,
    credential: 'credential',
    address: 'ws://127.0.0.1:1',
    ...more,
  };
}

/** Events by pod, as they came; but who speaks for a pod is told by those backends only that have UIDs. */
export function listen(backend: Backend) {
  const events: BackendEvent[] = [];
  backend.onEvent((event) => {
    if (event.type !== 'identified') events.push(event);
  });
  const of = (podId: string) => events.filter((e) => e.podId === podId);
  return {
    events,
    of,
    exited: async (podId: string) => {
      await until(`${podId} exits`, () => of(podId).some((e) => e.type === 'exited'));
      return of(podId).find((e) => e.type === 'exited') as BackendEvent & { type: 'exited' };
    },
  };
}

export function backendContract(
  t: Test,
  make: (t: Test) => ContractSubject | Promise<ContractSubject>,
) {
  const requestOf = (s: ContractSubject, name: string, more: Partial<LaunchRequest> = {}) =>
    requestFor(name, s.baseDir, { ...s.more?.(name), ...more });
  const test = (
    name: string,
    body: (t: Test, s: ContractSubject, l: ReturnType<typeof listen>) => Promise<unknown>,
  ) =>
    t.test(name, async (t) => {
      const subject = await make(t);
      t.teardown(() => subject.backend.close());
      await body(t, subject, listen(subject.backend));
    });

  test('a pod starts once, is listed with its label, and exits once', async (t, s, l) => {
    const request = requestOf(s, 'polite', { kind: 'job' });
    const before = Date.now();
    await s.backend.launch(request);
    const { podId } = request;
    await until('it starts', () => l.of(podId).length === 1);
    const [started] = l.of(podId);
    t.match(started, { type: 'started', label: String });
    const { label, at } = started?.type === 'started' ? started : { label: '', at: 0 };
    t.ok(at >= before && at <= Date.now(), 'epoch milliseconds');
    t.strictSame(await s.backend.list(), [
      { podId, kind: 'job', functionKey: request.functionKey, label, revision: 'r1' },
    ]);
    await s.backend.terminate(podId, 20_000);
    t.match(await l.exited(podId), { type: 'exited', reason: String });
    await s.backend.terminate(podId, 0);
    t.strictSame(await s.backend.list(), []);
    await s.backend.close();
    t.strictSame(
      l.of(podId).map((e) => e.type),
      ['started', 'exited'],
    );
  });

  test("a pod that was claimed is its function's", async (t, s, l) => {
    const request = requestOf(s, 'polite');
    const { podId, functionKey } = request;
    await s.backend.launch(request);
    await until('it starts', () => l.of(podId).length === 1);
    const other = functionKey.replace('polite', 'other');
    s.backend.claimed(podId, other, 'r2');
    t.match(await s.backend.list(), [{ podId, functionKey: other, revision: 'r2' }]);
    s.backend.claimed('unknown', other, 'r2');
    await s.backend.terminate(podId, 0);
    await l.exited(podId);
    t.strictSame(await s.backend.list(), []);
  });

  test('a pod that ends by itself is told of, with its exit code and last words', async (t, s, l) => {
    for (const [name, reason] of [
      ['exits', 'exit code 3: giving up'],
      ['crashes', 'exit code 1: Error: no database'],
    ] as const) {
      const request = requestOf(s, name);
      await s.backend.launch(request);
      t.match(await l.exited(request.podId), { reason });
    }
  });

  test('a pod that does not leave politely is killed after its grace', async (t, s, l) => {
    const request = requestOf(s, 'stubborn');
    await s.backend.launch(request);
    await s.up(request.podId);
    await s.backend.terminate(request.podId, 300);
    t.match(await l.exited(request.podId), { reason: /SIGKILL/ });
  });

  test('no grace is no delay, also for one that was asked politely before', async (t, s, l) => {
    const request = requestOf(s, 'stubborn');
    await s.backend.launch(request);
    await s.up(request.podId);
    await s.backend.terminate(request.podId, 60_000);
    await s.backend.terminate(request.podId, 0);
    t.match(await l.exited(request.podId), { reason: s.struckOff ?? /SIGKILL/ });
  });

  test('a launch that is refused rejects with the reason and gives no event', async (t, s, l) => {
    const request = s.unlaunchable(requestOf(s, 'polite'));
    await t.rejects(s.backend.launch(request), { code: 'launch_failed' });
    t.strictSame(await s.backend.list(), []);
    const next = requestOf(s, 'polite');
    await s.backend.launch(next);
    await until('the next starts', () => l.of(next.podId).length === 1);
    t.strictSame(l.of(request.podId), []);
  });

  test('unknown pods are ignored', async (t, s) => {
    await s.backend.terminate('nobody', 0);
    await s.backend.terminate('nobody', 100);
    t.strictSame(await s.backend.list(), []);
  });

  test('closing ends every pod that would not outlive us, and launches no more', async (t, s, l) => {
    const requests = ['polite', 'stubborn', 'ticks'].map((name) => requestOf(s, name));
    await Promise.all(requests.map((r) => s.backend.launch(r)));
    await s.backend.close();
    for (const { podId } of requests) {
      const told = l.of(podId).map((e) => e.type);
      if (s.backend.outlives) t.notOk(told.includes('exited'));
      else t.strictSame(told, ['started', 'exited']);
    }
    await t.rejects(s.backend.launch(requestOf(s, 'polite')), { code: 'launch_failed' });
  });
}

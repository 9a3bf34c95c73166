/** What the tests of the control thread share: a clock they move, a backend they script, a log they read. */
import type {
  Backend,
  BackendEvent,
  BackendPod,
  FoundPod,
  LaunchRequest,
} from '@simmer/protocol/backend';
import { type FunctionManifest, resolveManifest } from '@simmer/protocol/manifest';
import type { RegisteredFunction } from '@simmer/protocol/registry';
import type { Clock } from '../../src/control/clock.ts';
import { createLog, type Log } from '../../src/control/log.ts';
import { PoolKeeper } from '../../src/control/pools/keeper.ts';
import { CounterSlots } from '../../src/control/pools/slots.ts';
import { allocateCounters } from '../../src/shared/counters.ts';
import type { ToScheduler } from '../../src/shared/messages.ts';

/** Stands still until `advance`. */
export class FakeClock implements Clock {
  private time = 1_000;
  private timers: { readonly at: number; readonly callback: () => void }[] = [];
  now(): number {
    return this.time;
  }
  epoch(): number {
    return 1_700_000_000_000 + this.time;
  }
  after(ms: number, callback: () => void): { cancel(): void } {
    const timer = { at: this.time + ms, callback };
    this.timers.push(timer);
    return {
      cancel: () => {
        this.timers = this.timers.filter((t) => t !== timer);
      },
    };
  }
  /** Lets time pass; timers ring at their own times, in order. */
  advance(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const next = this.timers.filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.timers = this.timers.filter((t) => t !== next);
      this.time = Math.max(this.time, next.at);
      next.callback();
    }
    this.time = end;
  }
}

/** Launches nothing: tests say what becomes of each pod. */
export class ScriptedBackend implements Backend {
  readonly name = 'process';
  identifies = false;
  outlives = false;
  /** What an earlier process left. */
  left: readonly FoundPod[] = [];
  readonly launched: LaunchRequest[] = [];
  readonly claims: (readonly [podId: string, functionKey: string, revision: string])[] = [];
  readonly terminated: { podId: string; graceMs: number }[] = [];
  /** Set: launches are refused with it. */
  refusal: string | undefined;
  /** Whether a terminated pod exits at once. */
  obedient = true;
  private listener: (event: BackendEvent) => void = () => {};
  private readonly running = new Set<string>();

  async launch(request: LaunchRequest): Promise<void> {
    if (this.refusal !== undefined) throw new Error(this.refusal);
    this.launched.push(request);
    this.running.add(request.podId);
  }
  claimed(...claim: readonly [string, string, string]): void {
    this.claims.push(claim);
  }
  async terminate(podId: string, graceMs: number): Promise<void> {
    this.terminated.push({ podId, graceMs });
    if (this.obedient) this.exit(podId, 'signal SIGTERM');
  }
  async list(): Promise<readonly BackendPod[]> {
    return [];
  }
  onEvent(listener: (event: BackendEvent) => void): void {
    this.listener = listener;
  }
  async adopt(): Promise<readonly FoundPod[]> {
    return this.left;
  }
  async close(): Promise<void> {}

  tell(event: BackendEvent): void {
    this.listener(event);
  }

  start(podId: string): void {
    this.listener({ type: 'started', podId, label: `pid-of-${podId}`, at: 0 });
  }
  exit(podId: string, reason: string): void {
    if (this.running.delete(podId)) this.listener({ type: 'exited', podId, reason, at: 0 });
  }
}

export function manifestOf(
  name: string,
  spec: Record<string, unknown> = {},
  namespace = 'default',
): FunctionManifest {
  const resolved = resolveManifest({
    apiVersion: 'simmer.dev/v1alpha1',
    kind: 'Function',
    metadata: { name, namespace },
    spec: { handler: 'handler.js', ...spec },
  });
  if (!resolved.ok) throw new Error(JSON.stringify(resolved.issues));
  return resolved.manifest as FunctionManifest;
}

export function registered(
  name: string,
  spec: Record<string, unknown> = {},
  revision = 'r1',
): RegisteredFunction {
  return { key: `default/${name}`, manifest: manifestOf(name, spec), baseDir: '/tmp', revision };
}

export interface LogRecord {
  readonly level: string;
  readonly message: string;
  readonly [field: string]: unknown;
}

/** A log whose lines can be read back. */
export function memoryLog(): { log: Log; lines: LogRecord[]; sink: { write(line: string): void } } {
  const lines: LogRecord[] = [];
  const sink = { write: (line: string) => void lines.push(JSON.parse(line)) };
  return { log: createLog('debug', sink), lines, sink };
}

/** Waits for a condition; the limit only ends a test that would hang. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  limitMs = 20_000,
): Promise<void> {
  const end = Date.now() + limitMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`never: ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 10);
    });
  }
}

/** Lets promises that have settled be seen. */
export const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });

/** A keeper of one scripted backend, with a clock that the test moves; `sent`: what it has told the scheduler. */
export function keeperWith({
  backend = new ScriptedBackend(),
  config = {} as Partial<PoolKeeper['options']['config']>,
  /** Functions with counters of their own. */
  slots = 10,
} = {}) {
  const clock = new FakeClock();
  const sent: ToScheduler[] = [];
  const { log, lines } = memoryLog();
  const memory = allocateCounters(slots);
  const keeper = new PoolKeeper({
    config: {
      ...{ maxConcurrentLaunches: 100, maxConcurrentPodLaunches: 100 },
      ...{ maxJobs: 3, maxTimeoutMs: 60_000, namespaceIdleBytes: 0 },
      ...config,
    },
    bootId: 'boot',
    podAddress: () => 'ws://127.0.0.1:1',
    backends: [backend],
    slots: new CounterSlots(memory, slots),
    clock,
    log,
    send: (message) => void sent.push(message),
  });
  const of = <T extends ToScheduler['type']>(type: T) =>
    sent.filter((m): m is Extract<ToScheduler, { type: T }> => m.type === type);
  return { clock, backend, keeper, memory, sent, lines, of };
}

/** Puts the scheduler's core together: the parts refer to each other, and whoever drives it (main.ts, tests, benchmarks) needs all. */
import { CallbackTargets } from '../shared/callback-targets.ts';
import { ProcessCounters } from '../shared/counters.ts';
import type { ToScheduler } from '../shared/messages.ts';
import { Claims } from './claims.ts';
import { callbackOf, letterOf } from './dead-letters/callback-letters.ts';
import { DeadLetters } from './dead-letters/dead-letters.ts';
import { type DeadLetterLimits, MemoryDeadLetters } from './dead-letters/memory-store.ts';
import { ExecutionLogs, type LogLimits } from './execution-logs.ts';
import { EnvelopeChecks } from './executions/envelope-checks.ts';
import { Executions } from './executions/executions.ts';
import { MemoryStore, type MemoryStoreLimits } from './executions/memory-store.ts';
import { SyncExecutions } from './executions/sync-executions.ts';
import { FunctionTable } from './function-table.ts';
import { Idempotency } from './idempotency/idempotency.ts';
import type { KeyStoreLimits } from './idempotency/key-store.ts';
import type { ExecutionIds } from './ids.ts';
import { Misses } from './misses.ts';
import { PodLifecycle } from './pod-lifecycle.ts';
import { Retries } from './retries.ts';
import { Scheduler, type SchedulerLimits, type SchedulerPorts } from './scheduler.ts';
import { SendOff } from './send-off.ts';
import { TimingWheel } from './timing-wheel.ts';

export interface CoreLimits extends SchedulerLimits {
  readonly executions: MemoryStoreLimits;
  readonly idempotency: KeyStoreLimits;
  /** Where callbacks may go although they would not: entries of `callback-allow`. */
  readonly callbackAllow: readonly string[];
  readonly logs: LogLimits;
  readonly deadLetters: DeadLetterLimits;
}

export interface Core {
  readonly scheduler: Scheduler;
  readonly functions: FunctionTable;
  readonly pods: PodLifecycle;
  readonly wheel: TimingWheel;
  readonly sendOff: SendOff;
  readonly executions: Executions;
  readonly idempotency: Idempotency;
  readonly deadLetters: DeadLetters;
  /** Applies a message of the control thread; false for those that are not the core's. */
  onMessage(message: ToScheduler): boolean;
}

/** `memory` is of allocateCounters; `wallClock` gives epoch milliseconds; `ids` are the process's. */
export function createCore(
  ports: SchedulerPorts,
  wallClock: () => number,
  memory: SharedArrayBuffer,
  limits: CoreLimits,
  ids: ExecutionIds,
): Core {
  const wheel = new TimingWheel(ports.now());
  const counters = new ProcessCounters(memory);
  const scheduler = new Scheduler(ports, wheel, counters, limits);
  const functions = new FunctionTable(scheduler, memory);
  const misses = new Misses(scheduler);
  const pods = new PodLifecycle(scheduler, wallClock);
  const sendOff = new SendOff(scheduler, functions);
  const checks = new EnvelopeChecks(ports.post);
  const targets = new CallbackTargets(limits.callbackAllow);
  const logs = new ExecutionLogs(limits.logs, wallClock);
  const store = new MemoryStore(limits.executions, wallClock, (id) => logs.forget(id));
  const { maxAgeMs } = limits.executions;
  const sync = new SyncExecutions(scheduler, functions, ids, wallClock, maxAgeMs);
  const executions = new Executions(scheduler, store, sync, {
    wallClock,
    checkEnvelope: (body) => checks.check(body),
    callbackFault(url) {
      const parsed = targets.parse(url);
      return parsed.ok ? undefined : parsed.reason;
    },
    functionOf: (key) => functions.get(key),
    newId: () => ids.next(),
    dead: (letter) => void deadLetters.add(letter),
  });
  const letters = new MemoryDeadLetters(limits.deadLetters);
  const deadLetters = new DeadLetters(letters, functions, counters, {
    log: (line) => ports.log(line),
    replayExecution: (letter) => executions.replay(letter),
    async replayCallback(letter) {
      ports.post(callbackOf(letter));
      return { ok: true, executionId: letter.executionId, status: letter.status };
    },
  });
  const idempotency = new Idempotency(scheduler, executions, limits.idempotency);
  scheduler.misses = misses;
  scheduler.claims = new Claims(scheduler, functions);
  scheduler.retries = new Retries(scheduler);
  scheduler.pods = pods;
  scheduler.logs = logs;

  function onMessage(message: ToScheduler): boolean {
    switch (message.type) {
      case 'functions':
        functions.apply(message);
        return true;
      case 'pod-expected': {
        const fn = functions.get(message.functionKey);
        if (fn !== undefined) pods.expect(fn, message);
        return true;
      }
      case 'pod-identified':
        pods.identified(message);
        return true;
      case 'pod-keys':
        pods.setKeys(message);
        // The port that they are for is not the core's.
        return false;
      case 'pod-started':
        pods.started(message.podId, message.at);
        return true;
      case 'pod-exited':
        pods.exited(message.podId, message.reason);
        return true;
      case 'launch-refused': {
        const fn = functions.get(message.functionKey);
        if (fn !== undefined) misses.onRefused(fn, message, ports.now());
        return true;
      }
      case 'retire': {
        const fn = functions.get(message.functionKey);
        if (fn !== undefined) pods.retire(fn, message.count, message.idleMs);
        return true;
      }
      case 'drain-pod':
        pods.drainById(message.podId);
        return true;
      case 'envelope-checked':
        checks.checked(message);
        return true;
      case 'callback-dead':
        void deadLetters.add(letterOf(message, wallClock()));
        return true;
      case 'hand-over':
        sendOff.begin(message.address, message.force);
        return true;
      default:
        return false;
    }
  }
  return {
    ...{ scheduler, functions, pods, wheel, sendOff, executions, idempotency, deadLetters },
    onMessage,
  };
}

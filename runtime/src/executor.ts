/**
 * Runs attempts: takes them in up to the capacity, hands them to their form, and sends their one result.
 *
 * Invariants:
 *  E1. `running` holds every attempt whose handler has not ended, those of lost sockets included: they hold a slot.
 *  E2. An attempt sends one `result` at most, and none once its socket is lost; then the connection that counted it is
 *      told that its slot is free.
 *  E3. What the control plane said ended an attempt stands above what the handler then made of it.
 */
import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import type { Invoke, Welcome } from '@simmer/protocol/frames';
import type { AbortCause, Host } from './attempt.ts';
import { Attempt, isSilent } from './attempt.ts';
import type { Connection } from './connection.ts';
import { Deadlines, type SetTimer } from './deadlines.ts';
import type { Failure } from './failure.ts';
import { failure, failureOf, stackOf } from './failure.ts';
import type { Handlers } from './handler.ts';
import { Log } from './log.ts';
import { runRaw } from './raw.ts';
import { RequestBody } from './request-body.ts';
import { NO_VALIDATION, type Validation } from './validation.ts';
import { runValue } from './value.ts';

export class Executor implements Host {
  private key: string;
  /** Attempts at once. */
  capacity: number;
  readonly deadlines: Deadlines = new Deadlines(() => performance.now(), setTimer);
  readonly log: Log;
  /** Set before the first attempt. */
  validation: Validation = NO_VALIDATION;
  readonly running: Set<Attempt> = new Set();
  /** Runs when the last attempt has ended. */
  onIdle: () => void = () => {};
  private readonly storage = new AsyncLocalStorage<Attempt>();
  /** The context of no attempt. */
  private readonly outside = new AsyncResource('SimmerExecutor');

  constructor(functionKey: string, capacity: number) {
    this.key = functionKey;
    this.capacity = capacity;
    this.log = new Log(functionKey, () => this.current);
  }

  get functionKey(): string {
    return this.key;
  }

  /** A generic pod has become this function's. */
  set functionKey(functionKey: string) {
    this.key = functionKey;
    this.log.functionKey = functionKey;
  }

  /** The attempt whose code runs now, however deep in its callbacks. */
  get current(): Attempt | undefined {
    return this.storage.getStore();
  }

  /**
   * As `storage.run` does, which makes two contexts for it, each a copy of the one before: its own, and another to go
   * back. From outside of all attempts one new context is enough, and the way back is the resource's.
   */
  runAs<A extends unknown[]>(attempt: Attempt, fn: (...args: A) => void, ...args: A): void {
    this.outside.runInAsyncScope(enter<A>, undefined, this.storage, attempt, fn, args);
  }

  /** Starts an attempt. */
  start(connection: Connection, limits: Welcome, frame: Invoke, handlers: Handlers): void {
    const { stream } = frame;
    if (this.running.size >= this.capacity) {
      const full = failure('error', 'over_capacity', `this pod runs ${this.capacity} at once`);
      connection.send({ kind: 'result', stream, ...full, body: null });
      return;
    }
    const attempt = new Attempt(this, connection, frame, limits);
    connection.admit(attempt);
    this.running.add(attempt);
    if (frame.more) {
      const { windowBytes, maxRequestBytes } = limits;
      attempt.requestBody = new RequestBody(frame.body, windowBytes, maxRequestBytes, (bytes) =>
        connection.send({ kind: 'credit', stream, bytes }),
      );
    }
    if (frame.form === 'value') runValue(this, attempt, frame, handlers);
    else runRaw(this, attempt, frame, handlers);
  }

  /** The handler's result: whole within one frame, or null after its chunks. */
  succeed(attempt: Attempt, body: Uint8Array | null): void {
    const { state } = attempt;
    if (state.kind === 'ended') return;
    // A result that comes after the pod's own deadline is still one: the control plane decides what is late.
    const told = state.kind === 'aborted' && state.cause !== 'deadline';
    this.settle(attempt, told ? stopped(state.cause) : undefined, body);
  }

  /** The attempt has failed. */
  fail(attempt: Attempt, how: Failure): void {
    const { state } = attempt;
    if (state.kind === 'ended') return;
    this.settle(attempt, state.kind === 'aborted' ? stopped(state.cause) : how, null);
  }

  /** The handler threw. Logged with its stack, unless it was asked to stop or found fault with its input. */
  threw(attempt: Attempt, thrown: unknown): void {
    const how = failureOf(thrown);
    if (how.outcome === 'error' && attempt.state.kind === 'running') {
      const stack = stackOf(thrown);
      this.log.write('error', how.message, stack === undefined ? undefined : { stack }, attempt);
    }
    this.fail(attempt, how);
  }

  private settle(attempt: Attempt, how: Failure | undefined, body: Uint8Array | null): void {
    const { connection, stream } = attempt;
    const silent = isSilent(attempt.state);
    attempt.end();
    this.running.delete(attempt);
    if (!silent) {
      if (how === undefined) {
        connection.send({ kind: 'result', stream, outcome: 'ok', code: '', message: '', body });
      } else {
        connection.outbox.drop(stream);
        connection.send({ kind: 'result', stream, ...how, body: null });
      }
    }
    connection.release(attempt);
    attempt.countedBy?.freeSlot();
    if (this.running.size === 0) this.onIdle();
  }
}

function enter<A extends unknown[]>(
  storage: AsyncLocalStorage<Attempt>,
  attempt: Attempt,
  fn: (...args: A) => void,
  args: A,
): void {
  storage.enterWith(attempt);
  fn(...args);
}

/** E3 */
function stopped(cause: AbortCause): Failure {
  return cause === 'timeout' || cause === 'deadline'
    ? failure('timeout', 'timeout', 'the handler was stopped at its deadline')
    : failure('cancelled', 'cancelled', 'the handler was stopped');
}

const setTimer: SetTimer = (callback, ms) => {
  const timer = setTimeout(callback, ms);
  return () => clearTimeout(timer);
};

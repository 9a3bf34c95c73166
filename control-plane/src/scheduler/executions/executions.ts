/**
 * Executions: asynchronous ones accepted and kept; those and synchronous ones found, waited for, cancelled.
 *
 *   begin ──▶ (body comes) ──▶ submit: envelope checked ──▶ kept ──▶ placed ──▶ 202
 *
 * Invariants:
 *  X1. Nothing answers 202 that is not in the store and placed.
 *  X2. `live` holds exactly what was accepted and has not ended.
 */
import { type EnvelopeReading, readEnvelope } from '@simmer/protocol/envelope';
import { ERRORS } from '@simmer/protocol/errors';
import { INLINE_BODY_BYTES } from '@simmer/protocol/limits';
import type { Replayed } from '../dead-letters/dead-letters.ts';
import type { ExecutionLetter } from '../dead-letters/letter.ts';
import type { FunctionState } from '../function-state.ts';
import { sequenceOf, traceIdOf } from '../ids.ts';
import { Invocation } from '../invocation.ts';
import type { Scheduler } from '../scheduler.ts';
import { TimerNode } from '../timing-wheel.ts';
import { type Asking, Execution, type ExecutionPorts } from './execution.ts';
import type { ExecutionRecord, ExecutionRequest } from './record.ts';
import type { ExecutionFilter, ExecutionPage, ExecutionStore, Lookup } from './store.ts';
import type { SyncExecutions } from './sync-executions.ts';
import { documentOf } from './view.ts';

const NO_PAGE: ExecutionPage = { records: [], next: '' };

/** Requests that may wait for the end of an execution at once. */
const MAX_WAITERS = 10_000;

export interface ExecutionsPorts {
  /** Epoch milliseconds. */
  wallClock(): number;
  /** Checks a large envelope off this thread. */
  checkEnvelope(body: Uint8Array): Promise<EnvelopeReading>;
  /** Why no callback may go there; undefined for one that may. */
  callbackFault(url: string): string | undefined;
  functionOf(key: string): FunctionState | undefined;
  newId(): string;
  dead(letter: ExecutionLetter): void;
}

/** Whoever waits for an execution's end. */
class Waiter extends TimerNode {
  readonly id: string;
  readonly isSync: boolean;
  readonly tell: () => void;
  private readonly expire: (waiter: Waiter) => void;

  constructor(id: string, isSync: boolean, tell: () => void, expire: (waiter: Waiter) => void) {
    super();
    this.id = id;
    this.isSync = isSync;
    this.tell = tell;
    this.expire = expire;
  }

  onTimer(): void {
    this.expire(this);
  }
}

export class Executions implements ExecutionPorts {
  private readonly scheduler: Scheduler;
  private readonly store: ExecutionStore;
  private readonly sync: SyncExecutions;
  private readonly ports: ExecutionsPorts;
  private readonly live = new Map<string, Execution>();
  private readonly waiters = new Map<string, Set<Waiter>>();
  private waiting = 0;
  private waitingForSync = 0;

  constructor(
    scheduler: Scheduler,
    store: ExecutionStore,
    sync: SyncExecutions,
    ports: ExecutionsPorts,
  ) {
    this.sync = sync;
    this.scheduler = scheduler;
    this.store = store;
    this.ports = ports;
  }

  /** A request whose body is still to come. Its time to come is one attempt's. */
  begin(
    fn: FunctionState,
    id: string,
    traceparent: string,
    timeoutMs: number,
    maxRetries: number,
    asking: Asking,
    replayOf = '',
  ): Execution {
    const { scheduler } = this;
    const now = scheduler.ports.now();
    const { deadlineMs } = fn.record.spec;
    const createdAt = this.ports.wallClock();
    const record: ExecutionRecord = {
      id,
      mode: 'async',
      functionKey: fn.key,
      status: 'queued',
      request: null,
      traceId: traceIdOf(traceparent),
      callbackUrl: '',
      replayOf,
      createdAt,
      deadlineAt: createdAt + deadlineMs,
      endedAt: null,
      nextAttemptAt: null,
      attempts: [],
      output: null,
      error: null,
    };
    const execution = new Execution(record, asking, this);
    const deadlineAt = now + deadlineMs;
    const invocation = new Invocation(
      ...([scheduler, id, fn, 'value', '', '', [], traceparent] as const),
      ...([execution, now, deadlineAt] as const),
    );
    invocation.observer = execution;
    invocation.attemptMs = timeoutMs;
    invocation.maxRetries = maxRetries;
    execution.invocation = invocation;
    return execution;
  }

  /** Its body has come. */
  async submit(execution: Execution): Promise<void> {
    const { invocation } = execution;
    const { body } = invocation;
    const reading =
      body.length > INLINE_BODY_BYTES ? await this.ports.checkEnvelope(body) : readEnvelope(body);
    if (invocation.state !== 'receiving') return;
    if (reading.fault !== undefined) {
      this.scheduler.fail(invocation, reading.fault.code, reading.fault.message);
      return;
    }
    if (typeof reading.callbackUrl === 'string') {
      const why = this.ports.callbackFault(reading.callbackUrl);
      if (why !== undefined) {
        this.scheduler.fail(invocation, 'invalid_callback_url', `callbackUrl ${why}.`);
        return;
      }
      execution.record.callbackUrl = reading.callbackUrl;
    } else if (reading.callbackUrl === undefined) {
      execution.record.callbackUrl = invocation.fn.record.spec.callback?.url ?? '';
    }
    await this.take(execution);
  }

  /** Its envelope is one: keeps it and places it. */
  private async take(execution: Execution): Promise<void> {
    const { invocation, record } = execution;
    const { scheduler, store } = this;
    const { body } = invocation;
    const { traceparent, attemptMs, maxRetries } = invocation;
    const { callbackUrl } = record;
    record.request = { traceparent, body, timeoutMs: attemptMs, maxRetries, callbackUrl };
    const created = await store.create(record);
    if (created === 'full') {
      const detail = 'As many executions that have not ended are kept as the platform allows.';
      scheduler.fail(invocation, 'executions_full', detail);
      return;
    }
    // It may have ended meanwhile, or find no place in the queue now: then its request was told.
    if (invocation.state === 'receiving') {
      this.live.set(record.id, execution);
      scheduler.wheel.set(invocation, invocation.deadlineAt);
      scheduler.submit(invocation);
    }
    if (execution.isRefused) {
      this.live.delete(record.id);
      await store.remove(record);
      return;
    }
    execution.accept(); // X1
  }

  /** A new execution of a dead letter's request. It has its full time again. */
  async replay(letter: ExecutionLetter): Promise<Replayed> {
    const { request, functionKey, id } = letter;
    const { scheduler } = this;
    const fn = this.ports.functionOf(functionKey);
    if (fn === undefined) {
      const detail = `Function ${functionKey} was deleted. Its dead letters can be replayed once it is there again.`;
      return { ok: false, code: 'function_not_found', detail, retryAfterSeconds: 0 };
    }
    const { body, traceparent, timeoutMs, maxRetries } = request;
    const refusal = scheduler.refusal(fn, body.length, fn.record.spec.deadlineMs);
    if (refusal !== undefined) {
      const detail = `${ERRORS[refusal].title}: ${functionKey} takes no more now.`;
      const retryAfterSeconds = scheduler.retryAfterSeconds(fn, refusal);
      return { ok: false, code: refusal, detail, retryAfterSeconds };
    }
    let refused: Replayed | undefined;
    const asking: Asking = {
      accepted() {},
      fail(_invocation, code, detail, retryAfterSeconds = 0) {
        refused = { ok: false, code, detail, retryAfterSeconds };
      },
    };
    const newId = this.ports.newId();
    const execution = this.begin(
      ...([fn, newId, traceparent, timeoutMs, maxRetries, asking, id] as const),
    );
    execution.record.callbackUrl = request.callbackUrl;
    // A copy: the letter's own may be looked at still when the execution's is let go.
    execution.invocation.body = new Uint8Array(body);
    scheduler.open(execution.invocation, body.length);
    await this.take(execution);
    return refused ?? { ok: true, executionId: newId, status: execution.record.status };
  }

  async get(id: string): Promise<Lookup> {
    const found = await this.store.get(id);
    return found === 'unknown' ? this.sync.get(id) : found;
  }

  async list(filter: ExecutionFilter): Promise<ExecutionPage> {
    const { mode, limit } = filter;
    const page = mode === 'sync' ? NO_PAGE : await this.store.list(filter);
    const sync = mode === 'async' ? [] : this.sync.list({ ...filter, limit: limit + 1 });
    const all = [...page.records, ...sync].sort((a, b) => sequenceOf(b.id) - sequenceOf(a.id));
    const records = all.slice(0, limit);
    const isLast = all.length === records.length && page.next === '';
    return { records, next: isLast ? '' : (records.at(-1)?.id ?? '') };
  }

  /** Calls back once it has ended, or after `ms`; at once where it has ended. Returns how to stop waiting. */
  wait(id: string, ms: number, tell: () => void): () => void {
    const isSync = !this.live.has(id);
    if ((isSync && this.sync.live(id) === undefined) || this.waiting >= MAX_WAITERS) {
      tell();
      return () => {};
    }
    const waiter = new Waiter(id, isSync, tell, (due) => {
      this.leave(due);
      due.tell();
    });
    let waiters = this.waiters.get(id);
    if (waiters === undefined) {
      waiters = new Set();
      this.waiters.set(id, waiters);
    }
    waiters.add(waiter);
    this.waiting++;
    if (isSync) this.watchSync(1);
    this.scheduler.wheel.set(waiter, this.scheduler.ports.now() + ms);
    return () => this.leave(waiter);
  }

  /** False: it has ended, or is not there. */
  cancel(id: string): boolean {
    const invocation = this.live.get(id)?.invocation ?? this.sync.live(id);
    if (invocation === undefined) return false;
    this.scheduler.cancel(invocation);
    return true;
  }

  private leave(waiter: Waiter): void {
    const waiters = this.waiters.get(waiter.id);
    if (waiters?.delete(waiter) !== true) return;
    this.waiting--;
    if (waiter.isSync) this.watchSync(-1);
    this.scheduler.wheel.clear(waiter);
    if (waiters.size === 0) this.waiters.delete(waiter.id);
  }

  /** One more waits for a synchronous execution, or one less: only while there are any is each asked for its id. */
  private watchSync(by: number): void {
    this.waitingForSync += by;
    const { passed } = this.scheduler;
    passed.watcher = this.waitingForSync > 0 ? ({ id }) => this.tellWaiters(id) : null;
  }

  private tellWaiters(id: string): void {
    for (const waiter of [...(this.waiters.get(id) ?? [])]) {
      this.leave(waiter);
      waiter.tell();
    }
  }

  // ---- ExecutionPorts ----------------------------------------------------------------------------------------------

  wallClock(): number {
    return this.ports.wallClock();
  }

  changed({ record }: Execution): void {
    this.keep(record);
  }

  dead({ record }: Execution, request: ExecutionRequest): void {
    const { id, functionKey, traceId, createdAt, endedAt, attempts, replayOf, error } = record;
    if (error === null || endedAt === null) return;
    this.ports.dead({
      ...{ reason: 'execution', id, executionId: id, functionKey, traceId, createdAt },
      ...{ deadAt: endedAt, error, request, attempts, replayOf },
    });
  }

  ended(execution: Execution): void {
    const { record, invocation } = execution;
    this.live.delete(record.id);
    this.keep(record);
    if (record.callbackUrl !== '') {
      this.scheduler.ports.post({
        ...{ type: 'callback', executionId: record.id, functionKey: record.functionKey },
        ...{ url: record.callbackUrl, traceparent: invocation.traceparent },
        ...{ status: record.status, createdAt: record.createdAt },
        body: documentOf(record),
      });
    }
    this.tellWaiters(record.id);
  }

  private keep(record: ExecutionRecord): void {
    this.store.update(record).catch((error: Error) => {
      const fields = { executionId: record.id, error: error.message };
      this.scheduler.ports.log({ level: 'error', message: 'execution not kept', fields });
    });
  }
}

/**
 * Idempotency keys: of all calls that bring the same key, one runs; the others get its answer. Between whoever takes calls
 * (HTTP, the client WebSocket) and the scheduler; knows nothing of either side but `KeyedClient` and `Invocation`.
 *
 *   call ──▶ (body comes) ──▶ submit: hashed ──▶ first: run ∣ joined ∣ replayed ∣ refused
 *
 * A key belongs to a function and a caller. Invariants:
 *  P1. From the moment a call is the first of its key until that is forgotten, no other call of the key is run.
 *  P2. What was refused, and what failed before an attempt was made, leaves its key free.
 */
import type { ErrorCode } from '@simmer/protocol/errors';
import type { ProcessCounters } from '../../shared/counters.ts';
import type { Executions } from '../executions/executions.ts';
import type { FunctionState } from '../function-state.ts';
import type { Invocation } from '../invocation.ts';
import type { Answered } from '../reply.ts';
import type { Scheduler } from '../scheduler.ts';
import { TimerNode } from '../timing-wheel.ts';
import { ACCEPTED, type Answer, bytesOf, type KeyedClient, NOT_KEPT, STREAMED } from './answers.ts';
import { fingerprintOf, hashOf, type KeyedRequest } from './fingerprint.ts';
import { KeyStore, type KeyStoreLimits } from './key-store.ts';
import { type CallEntry, type KeptAnswer, KeyedCall, type KeyedCallOwner } from './keyed-call.ts';

/** Calls that may wait for the answer to another at once. */
const MAX_JOINED = 10_000;
/** A longer answer is not kept: a few of them would drive all others out. */
export const MAX_ANSWER_BYTES = 1_048_576;

export class Idempotency extends TimerNode implements KeyedCallOwner {
  readonly maxAnswerBytes: number;
  private readonly scheduler: Scheduler;
  private readonly executions: Pick<Executions, 'get'>;
  private readonly store: KeyStore<KeyedCall, KeptAnswer>;
  private readonly counters: ProcessCounters;
  private joined = 0;

  constructor(scheduler: Scheduler, executions: Pick<Executions, 'get'>, limits: KeyStoreLimits) {
    super();
    this.scheduler = scheduler;
    this.executions = executions;
    this.store = new KeyStore(limits, scheduler.ports.now);
    this.counters = scheduler.counters;
    this.maxAnswerBytes = Math.min(MAX_ANSWER_BYTES, limits.maxBytes);
  }

  /**
   * A call with a key (`isIdempotencyKey`), which is to be its invocation's reply. Its maker binds the invocation to it, says
   * `submit` once the body has come, and tells it when the client goes.
   */
  call(fn: FunctionState, key: string, request: KeyedRequest, client: KeyedClient): KeyedCall {
    return new KeyedCall(this, fn, key, request, client);
  }

  /** It will be answered by another's execution, most likely: it needs no place in the queue. */
  isKnown(fn: FunctionState, callerId: string, key: string): boolean {
    return this.store.find(scopedKey(fn, callerId, key)) !== undefined;
  }

  bodyCame(call: KeyedCall): void {
    const hash = hashOf(call.invocation.body);
    if (typeof hash === 'string') this.decide(call, hash);
    else void hash.then((bodyHash) => this.decide(call, bodyHash));
  }

  private decide(call: KeyedCall, bodyHash: string): void {
    const { invocation, fn } = call;
    // Its time is over, or its client gone: it has been told.
    if (invocation.state !== 'receiving') return;
    const fingerprint = fingerprintOf(call.request, bodyHash);
    // Who calls is known by now, but was not when the call was made.
    const scoped = scopedKey(fn, invocation.caller.id, call.key);
    const entry = this.store.find(scoped);
    if (entry === undefined) {
      const begun = this.store.begin(scoped, fingerprint, call);
      if (begun === 'full') {
        const detail = 'As many keys of calls that still run are kept as the platform allows.';
        this.scheduler.fail(invocation, 'idempotency_keys_full', detail);
        return;
      }
      call.becomeFirst(begun);
      this.changed();
      call.run();
      return;
    }
    if (entry.fingerprint !== fingerprint) {
      this.refuse(call, 'idempotency_key_reused', 'The key came with another request before.');
      this.logConflict(call);
      return;
    }
    const { state } = entry;
    if (state.kind === 'ended') {
      this.replay(call, state.answer);
    } else if (state.by.isAccepted) {
      this.replay(call, { first: state.by.invocation, answer: ACCEPTED });
    } else if (state.by.isStreamed) {
      this.replay(call, { first: state.by.invocation, answer: STREAMED });
    } else if (this.joined >= MAX_JOINED) {
      const detail = `${MAX_JOINED} calls wait for the answer to another of their key.`;
      this.scheduler.fail(invocation, 'idempotency_keys_full', detail);
    } else {
      fn.counters.count('idempotentAttaches');
      this.scheduler.withdraw(invocation);
      this.joined++;
      call.join(state.by);
      this.scheduler.wheel.set(call, invocation.deadlineAt);
    }
  }

  private replay(call: KeyedCall, { first, answer }: KeptAnswer): void {
    call.fn.counters.count('idempotentReplays');
    this.scheduler.withdraw(call.invocation);
    if (answer.kind !== 'accepted') {
      call.answer(first, answer);
      return;
    }
    this.executions.get(first.id).then(
      (found) => {
        if (typeof found !== 'string') {
          call.answer(first, { kind: 'accepted', status: found.status });
          return;
        }
        const detail = `Execution ${first.id} of this key ended, and made room for others since.`;
        call.answer(first, failure('execution_evicted', detail));
      },
      (error: Error) => call.answer(first, failure('internal_error', error.message)),
    );
  }

  private refuse(call: KeyedCall, code: ErrorCode, detail: string): void {
    call.fn.counters.countError(code);
    this.scheduler.withdraw(call.invocation);
    call.refuse(code, detail);
  }

  private logConflict({ fn, invocation }: KeyedCall): void {
    this.scheduler.ports.log({
      level: 'info',
      message: 'idempotency key reused',
      fields: {
        function: fn.key,
        executionId: invocation.id,
        traceId: invocation.traceparent.slice(3, 35),
      },
    });
  }

  // ---- KeyedCallOwner ----------------------------------------------------------------------------------------------

  gone(invocation: Invocation): void {
    this.scheduler.clientGone(invocation);
  }

  keep(entry: CallEntry, first: Answered, answer: Answer): void {
    const bytes = bytesOf(answer);
    const told = answeredOf(first);
    const kept = bytes <= this.maxAnswerBytes ? answer : NOT_KEPT;
    const size = kept === answer ? bytes : 0;
    this.store.end(entry, { first: told, answer: kept }, size, { first: told, answer: NOT_KEPT });
    this.changed();
  }

  forget(entry: CallEntry): void {
    this.store.forget(entry);
    this.changed();
  }

  left(call: KeyedCall): void {
    this.joined--;
    this.scheduler.wheel.clear(call);
  }

  // ---- what is kept ------------------------------------------------------------------------------------------------

  /** The oldest is to go. */
  onTimer(): void {
    this.store.expire();
    this.changed();
  }

  private changed(): void {
    const { store, counters, scheduler } = this;
    counters.idempotencyKeys = store.size;
    counters.idempotencyBytes = store.bytes;
    counters.idempotencyEvictedKeys = store.evictedKeys;
    counters.idempotencyEvictedAnswers = store.evictedAnswers;
    const { expiresAt } = store;
    // One more: what ended exactly its age ago is still there.
    if (expiresAt === undefined) scheduler.wheel.clear(this);
    else if (this.timerBucket === -1) scheduler.wheel.set(this, expiresAt + 1);
  }
}

/** No name holds a line feed, nor does a key. */
function scopedKey(fn: FunctionState, callerId: string, key: string): string {
  return `${fn.key}\n${key}\n${callerId}`;
}

/** What is told of an execution when its invocation is gone. Its trace is cut from a batch (ids.ts), which it is not to keep. */
function answeredOf({ id, traceparent, attempts }: Answered): Answered {
  const own = Buffer.from(traceparent, 'latin1').toString('latin1');
  return { id, traceparent: own, attempts, partBytes: 0 };
}

function failure(code: ErrorCode, detail: string): Answer {
  return { kind: 'failure', code, detail, retryAfterSeconds: 0 };
}

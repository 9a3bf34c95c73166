/** Requests of a client's WebSocket about executions that are kept: one is to be begun, or its end told. */
import { CLIENT_WINDOW_BYTES, PIECE_BYTES } from '@simmer/protocol/client-messages';
import type { ErrorCode } from '@simmer/protocol/errors';
import { type Caller, may } from '../../shared/caller.ts';
import type { Execution } from '../executions/execution.ts';
import type { Executions } from '../executions/executions.ts';
import { lookupFault } from '../executions/executions-api.ts';
import { type ExecutionRecord, hasEnded } from '../executions/record.ts';
import { documentOf } from '../executions/view.ts';
import type { KeyedClient } from '../idempotency/answers.ts';
import type { KeyedCall } from '../idempotency/keyed-call.ts';
import { traceIdOf } from '../ids.ts';
import type { Answered } from '../reply.ts';
import type { Scheduler } from '../scheduler.ts';
import { MAX_HELD_BYTES } from './call.ts';
import type { InboundBody } from './inbound-body.ts';
import type { OpenRequest, RequestPorts } from './open-request.ts';
import { Payload, type PayloadMessages } from './outbox.ts';

/** An `enqueue` until it is accepted or refused; what becomes of it then is its record's. */
export class EnqueueAsk implements OpenRequest, KeyedClient {
  readonly id: number;
  execution!: Execution;
  /** Of one with an idempotency key. */
  keyed: KeyedCall | null = null;
  private replayed = false;
  body: InboundBody | null = null;
  readonly payload = null;
  private readonly scheduler: Scheduler;
  private readonly ports: RequestPorts;

  constructor(id: number, scheduler: Scheduler, ports: RequestPorts) {
    this.id = id;
    this.scheduler = scheduler;
    this.ports = ports;
  }

  /** Its answer is one message. */
  grant(): void {}

  cancel(): void {
    const { invocation } = this.execution;
    if (this.keyed === null) {
      if (this.execution.isAsking) this.scheduler.cancel(invocation);
      return;
    }
    // First: what has gone is told nothing.
    this.fail(invocation, 'cancelled', 'It was cancelled by request.');
    this.keyed.clientGone();
  }

  gone(): void {
    if (this.keyed !== null) this.keyed.clientGone();
    else if (this.execution.isAsking) this.scheduler.clientGone(this.execution.invocation);
  }

  // ---- KeyedClient -------------------------------------------------------------------------------------------------

  accepted(executionId: string, traceparent: string, status: string): void {
    const { id, ports } = this;
    const traceId = traceIdOf(traceparent);
    const replayed = this.replayed || undefined;
    ports.outbox.send(
      ports.encode({ type: 'accepted', id, executionId, traceId, replayed, status }),
    );
    ports.ended(this);
  }

  fail(answered: Answered, code: ErrorCode, detail: string, retryAfterSeconds = 0): void {
    const { id: executionId, traceparent, attempts } = answered;
    const failure = { executionId, traceparent, code, detail, attempts, retryAfterSeconds };
    this.ports.fail(this, { ...failure, replayed: this.replayed });
  }

  markReplayed(): void {
    this.replayed = true;
  }

  // An accepted one has no other answer.
  value(): void {}
  head(): void {}
  chunk(): void {}
  end(): void {}
  abort(): void {}
}

/** Of one wait; one that takes longer waits again. */
const WAIT_MS = 3_600_000;

/** Waits for an execution's end. */
export class Subscription implements OpenRequest, PayloadMessages {
  readonly id: number;
  readonly firstBytes = PIECE_BYTES - 1_024;
  readonly pieceBytes = PIECE_BYTES;
  readonly body = null;
  payload: Payload | null = null;
  private readonly executions: Executions;
  private readonly bootId: string;
  private readonly ports: RequestPorts;
  private readonly caller: Caller;
  private readonly executionId: string;
  private stopWaiting: () => void = () => {};
  private credit = CLIENT_WINDOW_BYTES;
  private over = false;

  constructor(
    id: number,
    executionId: string,
    caller: Caller,
    executions: Executions,
    bootId: string,
    ports: RequestPorts,
  ) {
    this.id = id;
    this.executionId = executionId;
    this.caller = caller;
    this.executions = executions;
    this.bootId = bootId;
    this.ports = ports;
  }

  /** Never rejects. `again`: it has just been told that it need not wait. */
  async look(again = false): Promise<void> {
    try {
      const found = await this.executions.get(this.executionId);
      if (this.over) return;
      const known = typeof found !== 'string' && may(this.caller, SCOPES, found.functionKey);
      if (!known) {
        const missing = typeof found === 'string' ? found : 'unknown';
        const fault = lookupFault(missing, this.executionId, this.bootId);
        this.fail(fault.code, fault.detail);
      } else if (hasEnded(found)) this.tell(found);
      else this.wait(again);
    } catch (error) {
      this.fail('internal_error', (error as Error).message);
    }
  }

  private wait(again: boolean): void {
    if (again) {
      this.fail('stream_limit', 'As many wait for the end of an execution as may.');
      return;
    }
    let waits = false;
    this.stopWaiting = this.executions.wait(this.executionId, WAIT_MS, () => {
      // Told before `wait` returns: it may not wait, or has ended.
      void this.look(!waits);
    });
    waits = true;
  }

  private tell(record: ExecutionRecord): void {
    const { outbox, binary } = this.ports;
    const json = documentOf(record);
    const held = outbox.heldBytes;
    if (held > 0 && held + json.length > MAX_HELD_BYTES) {
      this.fail('stream_limit', `${held} bytes of results wait for this client to read them.`);
    } else if (!binary && json.length > this.firstBytes) {
      const detail = `The execution is ${json.length} bytes, of which a text message takes ${this.firstBytes}: the subprotocol of msgpack takes all.`;
      this.fail('result_too_large', detail);
    } else {
      this.payload = new Payload(this, this.credit);
      outbox.add(this.payload);
      outbox.give(this.payload, json, true);
    }
  }

  private fail(code: ErrorCode, detail: string): void {
    if (this.over) return;
    this.over = true;
    const { executionId } = this;
    this.ports.fail(this, { executionId, traceparent: '', code, detail });
  }

  grant(bytes: number): void {
    if (this.payload === null) this.credit += bytes;
    else this.payload.grant(bytes);
  }

  cancel(): void {
    this.stopWaiting();
    this.fail('cancelled', 'It was cancelled by request.');
  }

  gone(): void {
    this.over = true;
    this.stopWaiting();
  }

  // ---- PayloadMessages ---------------------------------------------------------------------------------------------

  begin(execution: Uint8Array, more: boolean): Uint8Array | string {
    return this.ports.encode({ type: 'execution', id: this.id, execution, ...(more && { more }) });
  }
  next(bytes: Uint8Array, more: boolean): Uint8Array | string {
    return this.ports.encode({ type: 'data', id: this.id, bytes, ...(more && { more }) });
  }
  sent(): void {}
  done(): void {
    this.over = true;
    this.ports.ended(this);
  }
}

const SCOPES = ['invoke', 'read'] as const;

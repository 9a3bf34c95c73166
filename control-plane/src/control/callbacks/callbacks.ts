/**
 * Callbacks: the end of an execution, told to a URL. Taken from the scheduler with the bytes ready, sent in fair turns,
 * sent again until the receiver has said 2xx, or given to the dead letters.
 *
 *   deliver ──▶ queued ──▶ sending ──▶ delivered
 *                 ▲           │
 *                 └─ waiting ◀┴─▶ dead-lettered
 *
 * Invariants:
 *  C1. What `deliver` got ends once: delivered, dead-lettered, or, at the process's end, in a line of the log.
 *  C2. What is held is bounded (pending.ts); what there is no room for goes to the dead letters.
 *  C3. Every attempt of a callback carries the same Idempotency-Key, its execution's id; time and signature are the attempt's own.
 *  C4. Nothing of a URL is logged but its host: the rest may hold secrets.
 */

import type { CallbackTargets } from '../../shared/callback-targets.ts';
import type { CallbackMessage, DeliveryAttempt } from '../../shared/messages.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { Pending } from './pending.ts';
import { type AttemptOutcome, decideDelivery } from './policy.ts';
import type { CallbackRequest } from './sender.ts';
import { callbackKey, signatureOf } from './signing.ts';
import { Turns } from './turns.ts';

/** Attempts under way at once: sockets, and bodies that the kernel holds. */
const MAX_SENDING = 256;
const MAX_SENDING_OF_FUNCTION = 64;
export const MAX_SENDING_TO_ORIGIN = 32;
const MAX_SENDING_OF_LANE = 8;

export type Callback = Omit<CallbackMessage, 'type'>;

export interface CallbacksOptions {
  readonly targets: CallbackTargets;
  readonly sender: {
    send(request: CallbackRequest): Promise<AttemptOutcome>;
    close(): Promise<void>;
  };
  /** The master secret of the keys. */
  readonly secret: () => Uint8Array;
  readonly version: string;
  readonly maxCount: number;
  readonly maxBytes: number;
  /** Of one callback: attempts, and milliseconds for all of them. */
  readonly maxAttempts: number;
  readonly maxAgeMs: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** `ms`: from the execution's end. */
  readonly onDelivered: (callback: Callback, ms: number) => void;
  readonly onAttemptFailed: (callback: Callback) => void;
  /** It is hopeless, or there is no room for it. */
  readonly onDead: (
    callback: Callback,
    attempts: readonly DeliveryAttempt[],
    reason: string,
  ) => void;
}

class Delivery {
  readonly callback: Callback;
  readonly url: URL;
  readonly functionKey: string;
  readonly origin: string;
  readonly since: number;
  readonly bytes: number;
  readonly attempts: DeliveryAttempt[] = [];
  state: 'queued' | 'sending' | 'waiting' = 'queued';
  /** While it waits for its next attempt. */
  timer: { cancel(): void } | undefined;

  constructor(callback: Callback, url: URL, since: number) {
    this.callback = callback;
    this.url = url;
    this.functionKey = callback.functionKey;
    this.origin = url.origin;
    this.bytes = callback.body.length;
    this.since = since;
  }
}

export class Callbacks {
  private readonly options: CallbacksOptions;
  private readonly turns = new Turns<Delivery>({
    all: MAX_SENDING,
    perFunction: MAX_SENDING_OF_FUNCTION,
    perOrigin: MAX_SENDING_TO_ORIGIN,
    perLane: MAX_SENDING_OF_LANE,
  });
  /** Those that have not ended. */
  private readonly held: Pending<Delivery>;
  /** On the clock; no attempt begins later. */
  private closesAt = Number.POSITIVE_INFINITY;
  private closed = false;
  private onEmpty = (): void => {};

  constructor(options: CallbacksOptions) {
    this.options = options;
    this.held = new Pending(options);
  }

  /** Taken and not ended: how many, and the bytes of their bodies. */
  get pending(): number {
    return this.held.count;
  }
  get pendingBytes(): number {
    return this.held.bytes;
  }

  deliver(callback: Callback): void {
    const { targets, clock } = this.options;
    const parsed = targets.parse(callback.url);
    if (!parsed.ok) {
      this.bury(callback, '', [], `its URL ${parsed.reason}`);
      return;
    }
    const delivery = new Delivery(callback, parsed.url, clock.now());
    const held = `${this.held.count} callbacks of ${this.held.bytes} bytes`;
    // C2
    for (const gone of this.held.add(delivery)) {
      gone.timer?.cancel();
      if (gone !== delivery && gone.state === 'queued') this.turns.drop(gone);
      const reason = `there was no room for it: ${held} were pending`;
      this.bury(gone.callback, gone.url.host, gone.attempts, reason);
    }
    if (!this.held.has(delivery)) return;
    if (this.closed) {
      this.abandon(delivery);
      return;
    }
    this.turns.push(delivery);
    this.pump();
  }

  /** Lets those that are pending end, those that wait at once, for `graceMs`; then tells the log of the rest. */
  async close(graceMs: number): Promise<void> {
    const { clock, sender } = this.options;
    this.closesAt = clock.now() + graceMs;
    for (const delivery of this.held.all()) {
      if (delivery.state === 'waiting') this.retry(delivery);
    }
    this.pump();
    if (this.held.count > 0) {
      let timer: { cancel(): void } | undefined;
      await new Promise<void>((resolve) => {
        this.onEmpty = resolve;
        timer = clock.after(graceMs, resolve);
      });
      timer?.cancel();
    }
    this.closed = true;
    for (const delivery of this.held.all()) this.abandon(delivery);
    await sender.close();
  }

  private pump(): void {
    if (this.closed) return;
    for (let next = this.turns.next(); next !== undefined; next = this.turns.next()) {
      void this.attempt(next);
    }
  }

  private async attempt(delivery: Delivery): Promise<void> {
    const { callback, url } = delivery;
    delivery.state = 'sending';
    const startedAt = this.options.clock.epoch();
    const outcome = await this.options.sender.send({
      url,
      headers: this.headersOf(callback),
      body: callback.body,
    });
    delivery.attempts.push({
      ...{ number: delivery.attempts.length + 1, startedAt, endedAt: this.options.clock.epoch() },
      ...{ status: outcome.status, detail: outcome.kind === 'failed' ? outcome.reason : 'taken' },
    });
    this.turns.done(delivery);
    // It may have been abandoned meanwhile.
    if (this.held.has(delivery)) this.settle(delivery, outcome);
    this.pump();
  }

  /** C3 */
  private headersOf({ executionId, functionKey, traceparent, body }: Callback) {
    const timestamp = Math.floor(this.options.clock.epoch() / 1_000);
    const key = callbackKey(this.options.secret(), functionKey);
    return {
      'content-type': 'application/json',
      'user-agent': `simmer/${this.options.version}`,
      'idempotency-key': executionId,
      'x-execution-id': executionId,
      'x-simmer-timestamp': String(timestamp),
      'x-simmer-signature': signatureOf(key, timestamp, body),
      traceparent,
    };
  }

  private settle(delivery: Delivery, outcome: AttemptOutcome): void {
    const { clock, log, maxAttempts, maxAgeMs, random } = this.options;
    const { callback, attempts, since } = delivery;
    const now = clock.now();
    if (outcome.kind === 'delivered') {
      this.end(delivery);
      this.options.onDelivered(callback, now - since);
      const { status } = outcome;
      log.debug(
        { ...fieldsOf(delivery), status, durationMs: Math.round(now - since) },
        'callback delivered',
      );
      return;
    }
    this.options.onAttemptFailed(callback);
    const { reason, retryable, retryAfterMs } = outcome;
    const decision = decideDelivery({
      ...{ retryable, retryAfterMs, attempts: attempts.length, maxAttempts },
      ...{ remainingMs: since + maxAgeMs - now, random: random() },
    });
    if (!decision.retry) {
      this.end(delivery);
      this.bury(callback, delivery.url.host, attempts, reason);
      return;
    }
    const { delayMs } = decision;
    if (now + delayMs >= this.closesAt) {
      this.abandon(delivery, reason);
      return;
    }
    const retryInMs = Math.round(delayMs);
    log.info({ ...fieldsOf(delivery), reason, retryInMs }, 'callback attempt failed');
    delivery.state = 'waiting';
    delivery.timer = clock.after(delayMs, () => {
      this.retry(delivery);
      this.pump();
    });
  }

  private retry(delivery: Delivery): void {
    delivery.timer?.cancel();
    delivery.timer = undefined;
    delivery.state = 'queued';
    this.turns.push(delivery);
  }

  private end(delivery: Delivery): void {
    delivery.timer?.cancel();
    this.held.remove(delivery);
    if (this.held.count === 0) this.onEmpty();
  }

  private bury(
    callback: Callback,
    host: string,
    attempts: readonly DeliveryAttempt[],
    reason: string,
  ): void {
    const { executionId, functionKey, traceparent } = callback;
    const traceId = traceparent.slice(3, 35);
    this.options.log.warn(
      { function: functionKey, executionId, traceId, host, attempts: attempts.length, reason },
      'callback dead-lettered',
    );
    this.options.onDead(callback, attempts, reason);
  }

  /** The process ends. */
  private abandon(delivery: Delivery, reason = 'the control plane shut down'): void {
    this.end(delivery);
    this.options.log.warn({ ...fieldsOf(delivery), reason }, 'callback not delivered');
  }
}

/** C4 */
function fieldsOf({ callback, url, attempts }: Delivery) {
  const { functionKey, executionId, traceparent } = callback;
  const traceId = traceparent.slice(3, 35);
  const { host } = url;
  return { function: functionKey, executionId, traceId, host, attempts: attempts.length };
}

/**
 * One attempt: what the control plane asked this pod to run once, from its `invoke` to its `result`.
 *
 *            cancel, deadline, socket lost
 *   running ───────────────────────────────▶ aborted ───▶ ended
 *      └────────────────────────────────────────────────────▲
 *                       the handler ended
 *
 * Invariants:
 *  A1. An attempt ends exactly once, when its handler has: an abort only asks it to.
 *  A2. Its AbortController exists only if somebody asked for the signal: most handlers never do, and it costs more than
 *      the rest of the attempt.
 *  A3. After its socket is lost nothing of it is sent, only the slot it frees (`countedBy`).
 */
import type { Invoke, LogLevel, Welcome } from '@simmer/protocol/frames';
import { LOG_LINE_BYTES, MAX_TEXT_CHARS } from '@simmer/protocol/limits';
import type { Connection } from './connection.ts';
import type { Deadlines, Watched } from './deadlines.ts';
import type { Log } from './log.ts';
import { firstHeader } from './raw-request.ts';
import type { RequestBody } from './request-body.ts';

/** What an attempt uses of its pod. */
export interface Host {
  readonly functionKey: string;
  readonly deadlines: Deadlines;
  readonly log: Log;
  /** Runs `fn` as this attempt's code, so that what it prints and what it breaks is known to be its own. */
  runAs<A extends unknown[]>(attempt: Attempt, fn: (...args: A) => void, ...args: A): void;
}

/**
 * Why an attempt was told to stop. `timeout`, `cancelled`: by the control plane. `deadline`: by the pod's own clock,
 * which leaves a result that still comes its chance. `lost`: nobody is there to be told.
 */
export type AbortCause = 'timeout' | 'cancelled' | 'deadline' | 'lost';

export type AttemptState =
  | { readonly kind: 'running' }
  | { readonly kind: 'aborted'; readonly cause: AbortCause }
  | { readonly kind: 'ended' };

const RUNNING: AttemptState = { kind: 'running' };
const ENDED: AttemptState = { kind: 'ended' };

export class Attempt implements Watched {
  readonly host: Host;
  readonly connection: Connection;
  readonly stream: number;
  /** What its connection was welcomed with. */
  readonly limits: Welcome;
  readonly executionId: string;
  /** From 1. */
  readonly number: number;
  readonly traceparent: string;
  /** Monotonic milliseconds at which its budget is spent. */
  readonly endsAt: number;
  state: AttemptState = RUNNING;
  /** The newest connection whose hello counted this attempt; it is told when the slot is free. */
  countedBy: Connection | undefined = undefined;
  /** Where `input` frames go while the request's body is still coming. */
  requestBody: RequestBody | undefined = undefined;
  private controller: AbortController | undefined = undefined;
  private logBytesLeft: number;

  constructor(host: Host, connection: Connection, frame: Invoke, limits: Welcome) {
    this.host = host;
    this.connection = connection;
    this.stream = frame.stream;
    this.executionId = frame.executionId;
    this.number = frame.attempt;
    this.endsAt = performance.now() + frame.budgetMs;
    this.traceparent = firstHeader(frame.headers, 'traceparent') ?? '';
    this.limits = limits;
    this.logBytesLeft = limits.logBytes;
  }

  /** The middle field of `traceparent` (W3C Trace Context), or empty. */
  get traceId(): string {
    return this.traceparent.slice(3, 35);
  }

  /** Aborts on cancel, at the deadline and when the socket is lost. */
  get signal(): AbortSignal {
    if (this.controller === undefined) {
      this.controller = new AbortController();
      if (this.state.kind === 'aborted') this.controller.abort(reasonOf(this.state.cause));
      else if (this.state.kind === 'running') this.host.deadlines.add(this);
    }
    return this.controller.signal;
  }

  /** Asks the handler to stop. Only the first cause counts, but for the socket's loss, which silences (A3). */
  abort(cause: AbortCause): void {
    const { state } = this;
    if (state.kind === 'ended') return;
    if (state.kind === 'aborted') {
      // The control plane's word stands above the pod's own clock.
      if (cause === 'lost' || state.cause === 'deadline') this.state = { kind: 'aborted', cause };
      return;
    }
    this.state = { kind: 'aborted', cause };
    this.host.deadlines.delete(this);
    this.host.runAs(this, tell, this, cause);
  }

  /** Its deadline passed (deadlines.ts). */
  expire(): void {
    this.abort('deadline');
  }

  /** The handler is through (A1). */
  end(): void {
    this.state = ENDED;
    if (this.controller !== undefined) this.host.deadlines.delete(this);
    this.requestBody?.discard();
  }

  /** A printed line, as far as the control plane wants to hear of it. */
  sendLog(level: LogLevel, message: string): void {
    const { stream } = this;
    if (!this.wantsLogs || isSilent(this.state)) return;
    const room = this.logBytesLeft - LOG_LINE_BYTES;
    let text = message.length > MAX_TEXT_CHARS ? message.slice(0, MAX_TEXT_CHARS) : message;
    const bytes = Buffer.byteLength(text);
    const fits = bytes <= room;
    this.logBytesLeft = fits ? room - bytes : 0;
    if (!fits) text = cutTo(text, room);
    if (fits && text.length === message.length) {
      this.connection.send({ kind: 'log', stream, level, text });
    } else {
      this.connection.send({ kind: 'log', stream, level, text, cut: true });
    }
  }

  /** Whether a line that is printed now is sent. */
  get wantsLogs(): boolean {
    return this.logBytesLeft > 0 && this.state.kind !== 'ended';
  }

  /** For abort() alone: reaches those who wait, in the attempt's own context. */
  announce(reason: DOMException): void {
    this.controller?.abort(reason);
    // A handler that waits for the rest of its input would wait for ever.
    this.requestBody?.fail(reason);
  }
}

/** As many of its characters as take at most so many bytes of UTF-8. */
function cutTo(text: string, bytes: number): string {
  if (bytes <= 0) return '';
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(bytes));
  return text.slice(0, read);
}

function tell(attempt: Attempt, cause: AbortCause): void {
  attempt.announce(reasonOf(cause));
}

/** Told to stop by the control plane, or cut off from it: whatever the handler still makes, its answer is settled. */
export function isStopped(state: AttemptState): boolean {
  return state.kind === 'ended' || (state.kind === 'aborted' && state.cause !== 'deadline');
}

/** A3 */
export function isSilent(state: AttemptState): boolean {
  return state.kind === 'aborted' && state.cause === 'lost';
}

function reasonOf(cause: AbortCause): DOMException {
  switch (cause) {
    case 'timeout':
    case 'deadline':
      return new DOMException('The invocation timed out', 'TimeoutError');
    case 'cancelled':
      return new DOMException('The invocation was cancelled', 'AbortError');
    case 'lost':
      return new DOMException('The connection to the control plane was lost', 'AbortError');
  }
}

/**
 * One call with a key: the reply of its invocation, whoever calls. Its client is told the answer of the key's first
 * execution, which may be its own.
 *
 *   asking ──▶ first        its own invocation is the execution of the key
 *      ├─────▶ joined       another's runs: it waits for that one's answer, for as long as its own time lasts
 *      └─────▶ done ◀──     answered, gone, or refused
 *
 * Invariants:
 *  C1. Its client is answered once, or has gone.
 *  C2. While it asks, it is an invocation as any other: the client's end is its end. A `first` is ended by its execution only;
 *      its client may go.
 *  C3. A `joined` is in `followers` of exactly one `first`, and holds no invocation.
 */
import type { ErrorCode } from '@simmer/protocol/errors';
import type { HeaderPairs } from '@simmer/protocol/frames';
import type { Asking, Execution } from '../executions/execution.ts';
import type { FunctionState } from '../function-state.ts';
import type { Invocation } from '../invocation.ts';
import type { Answered, Reply } from '../reply.ts';
import { TimerNode } from '../timing-wheel.ts';
import {
  ACCEPTED,
  type Answer,
  type KeyedClient,
  NOT_KEPT,
  STREAMED,
  tell,
  wholeOf,
} from './answers.ts';
import type { KeyedRequest } from './fingerprint.ts';
import type { KeyEntry } from './key-store.ts';

/** An answer, and which execution it is of. */
export interface KeptAnswer {
  readonly first: Answered;
  readonly answer: Answer;
}

export type CallEntry = KeyEntry<KeyedCall, KeptAnswer>;

/** What a call needs of idempotency.ts. */
export interface KeyedCallOwner {
  readonly maxAnswerBytes: number;
  /** Its body has come: decide what becomes of it. */
  bodyCame(call: KeyedCall): void;
  /** The client of one that asks has gone: so has its invocation. */
  gone(invocation: Invocation): void;
  keep(entry: CallEntry, first: Answered, answer: Answer): void;
  forget(entry: CallEntry): void;
  /** It waits no longer. */
  left(call: KeyedCall): void;
}

type CallState =
  | { readonly kind: 'asking' }
  | { readonly kind: 'first'; readonly entry: CallEntry }
  | { readonly kind: 'joined'; readonly to: KeyedCall }
  | { readonly kind: 'done' };

/** Its execution failed, and the key is free again: it was not run, or was cut off by a shutdown. */
const NEVER_KEPT: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['draining', 'over_capacity']);
/** Copied for followers at a stretch: whoever is next is told in the next turn. */
const TOLD_BYTES_PER_TURN = 8_388_608;

export class KeyedCall extends TimerNode implements Reply, Asking {
  readonly fn: FunctionState;
  readonly key: string;
  readonly request: KeyedRequest;
  private readonly owner: KeyedCallOwner;
  private state: CallState = { kind: 'asking' };
  /** null: it has gone. */
  private client: KeyedClient | null;
  invocation!: Invocation;
  /** Sends its invocation on its way, if it is the first. */
  run!: () => void;
  /** Those that wait for its answer. */
  readonly followers = new Set<KeyedCall>();
  private headStatus = 200;
  private headHeaders: HeaderPairs = [];
  private streams = false;
  private accepts = false;
  /** Bytes of a stream that its client has not taken yet. */
  private ungranted = 0;
  private granted: ((bytes: number) => void) | null = null;

  constructor(
    owner: KeyedCallOwner,
    fn: FunctionState,
    key: string,
    request: KeyedRequest,
    client: KeyedClient,
  ) {
    super();
    this.owner = owner;
    this.fn = fn;
    this.key = key;
    this.request = request;
    this.client = client;
  }

  /** Before its body comes. `run` submits the invocation; `execution` where it is asynchronous. */
  bind(invocation: Invocation, run: () => void, execution: Execution | null): void {
    this.invocation = invocation;
    this.run = run;
    if (execution !== null) execution.whenEnded = () => this.executionEnded();
  }

  /** Its body has come. */
  submit(): void {
    this.owner.bodyCame(this);
  }

  /** The answer that it will have cannot be told to others. */
  get isStreamed(): boolean {
    return this.streams;
  }

  /** Its execution is asynchronous, and was accepted. */
  get isAccepted(): boolean {
    return this.accepts;
  }

  // ---- what is decided for it --------------------------------------------------------------------------------------

  becomeFirst(entry: CallEntry): void {
    this.state = { kind: 'first', entry };
  }

  /** C3: its invocation has been withdrawn. */
  join(to: KeyedCall): void {
    this.state = { kind: 'joined', to };
    to.followers.add(this);
  }

  /** Answers it; its invocation has been withdrawn. */
  answer(first: Answered, answer: Answer): void {
    const client = this.leave();
    if (client !== null) tell(client, first, answer);
  }

  /** Refuses it, under its own id. */
  refuse(code: ErrorCode, detail: string): void {
    this.leave()?.fail(this.invocation, code, detail);
  }

  // ---- its client --------------------------------------------------------------------------------------------------

  /** It hung up. */
  clientGone(): void {
    const { state } = this;
    this.client = null;
    if (state.kind === 'asking') {
      this.owner.gone(this.invocation); // C2
    } else if (state.kind === 'joined') {
      this.leave();
    } else if (state.kind === 'first') {
      this.grant(this.ungranted);
    }
  }

  /** Its own time is over before the execution that it joined. */
  onTimer(): void {
    const { state } = this;
    if (state.kind !== 'joined') return;
    const { invocation } = state.to;
    const detail = `Its time is over; execution ${invocation.id} of the same key goes on.`;
    this.fn.counters.countError('timeout');
    this.leave()?.fail(invocation, 'timeout', detail);
  }

  /** Done: the client, where it has not gone, is the caller's to answer (C1). */
  private leave(): KeyedClient | null {
    const { client, state } = this;
    if (state.kind === 'joined') {
      state.to.followers.delete(this);
      this.owner.left(this);
    }
    this.state = { kind: 'done' };
    this.client = null;
    return client;
  }

  // ---- Reply: what becomes of its invocation -----------------------------------------------------------------------

  value(first: Answered, pieces: readonly Uint8Array[] | null, last: Uint8Array): void {
    const bytes = first.partBytes + last.length;
    const wanted = this.followers.size > 0 || bytes <= this.owner.maxAnswerBytes;
    const answer: Answer = wanted ? { kind: 'value', body: wholeOf(pieces, last) } : NOT_KEPT;
    this.client?.value(first, pieces, last);
    this.finish(first, answer);
  }

  head(first: Answered, status: number, headers: HeaderPairs): void {
    this.headStatus = status;
    this.headHeaders = headers;
    this.client?.head(first, status, headers);
  }

  chunk(first: Answered, body: Uint8Array, granted: (bytes: number) => void): void {
    if (!this.streams) {
      this.streams = true;
      this.tellFollowers(first, STREAMED);
    }
    this.granted = granted;
    this.ungranted += body.length;
    if (this.client === null) this.grant(body.length);
    else this.client.chunk(first, body, (bytes) => this.grant(bytes));
  }

  end(first: Answered, body: Uint8Array | null): void {
    this.client?.end(first, body);
    const { headStatus: status, headHeaders: headers } = this;
    const answer: Answer = this.streams
      ? STREAMED
      : { kind: 'raw', status, headers, body: wholeOf(null, body) };
    this.finish(first, answer);
  }

  fail(first: Answered, code: ErrorCode, detail: string, retryAfterSeconds = 0): void {
    this.client?.fail(first, code, detail, retryAfterSeconds);
    const { state } = this;
    const { faults } = first;
    // Nothing was done for it that another attempt could do twice.
    if (state.kind === 'first' && (first.attempts === 0 || NEVER_KEPT.has(code))) {
      this.owner.forget(state.entry);
      this.tellFollowers(first, { kind: 'failure', code, detail, retryAfterSeconds, faults });
      this.leave();
    } else {
      // To come again with the key would change nothing.
      this.finish(first, { kind: 'failure', code, detail, retryAfterSeconds: 0, faults });
    }
  }

  abort(first: Answered): void {
    this.client?.abort(first);
    this.finish(first, STREAMED);
  }

  /** The request has its answer, and the key is the execution's until that has ended. */
  accepted(id: string, traceparent: string, status: string): void {
    this.accepts = true;
    this.client?.accepted(id, traceparent, status);
    this.client = null;
    this.tellFollowers(this.invocation, { kind: 'accepted', status });
  }

  private executionEnded(): void {
    this.finish(this.invocation, ACCEPTED);
  }

  // ---- ends --------------------------------------------------------------------------------------------------------

  private finish(first: Answered, answer: Answer): void {
    const { state } = this;
    if (state.kind === 'first') this.owner.keep(state.entry, first, answer);
    this.leave();
    this.tellFollowers(first, answer);
  }

  private tellFollowers(first: Answered, answer: Answer): void {
    let told = 0;
    const { id, traceparent, attempts } = first;
    for (const follower of this.followers) {
      if (told >= TOLD_BYTES_PER_TURN) {
        const kept = { id, traceparent, attempts, partBytes: 0 };
        setImmediate(() => this.tellFollowers(kept, answer));
        return;
      }
      follower.answer({ id, traceparent, attempts, partBytes: 0 }, answer);
      if (answer.kind === 'value' || answer.kind === 'raw') told += answer.body.length;
    }
  }

  private grant(bytes: number): void {
    if (bytes === 0) return;
    this.ungranted -= bytes;
    this.granted?.(bytes);
  }
}

/**
 * The life of this process: loads the handler while it dials, serves, drains, exits.
 *
 *   waiting ──code──▶ loading                                  (where the code comes over the socket)
 *   loading ──loaded──▶ serving ──drain, SIGTERM, crash──▶ draining ──idle or grace──▶ exiting
 *       └── does not load ──▶ failing ──told, or nobody to tell──────────────────────────▲
 *   any ── refused for good ─────────────────────────────────────────────────────────────▲
 *
 * Invariants:
 *  P1. `ready` is sent once a connection, when it is welcomed and the handler is loaded, and the schemas of the first welcome, or
 *      of the `specialize` of a generic pod, are compiled: they belong to the code that this process has, whatever later ones say.
 *  P2. After a crash nothing in this process is trusted for longer than what still runs needs: it drains and exits 1.
 *  P3. The exit code is 0 only for an end that was asked for.
 *  P4. A generic pod becomes one function's, the first that it is told of, and never another's.
 */
import { createHmac, randomUUID } from 'node:crypto';
import { writeSync } from 'node:fs';
import type { Code, Hello, Invoke, Specialize, Welcome } from '@simmer/protocol/frames';
import { MAX_TEXT_CHARS, PROTOCOL_VERSION } from '@simmer/protocol/limits';
import { warmPoolName } from '@simmer/protocol/names';
import type { Connection } from './connection.ts';
import type { Settings } from './environment.ts';
import { Executor } from './executor.ts';
import { describe, failure, stackOf } from './failure.ts';
import { warmFetch } from './fetch.ts';
import type { Handlers } from './handler.ts';
import { HandlerError, loadHandlers } from './handler.ts';
import type { LinkOwner } from './link.ts';
import { Link } from './link.ts';
import { watchMemory } from './memory-watch.ts';
import { Receiving, warmLoader } from './source.ts';
import { limitsOf, takeEnvironment } from './specialization.ts';
import { compileValidation } from './validation.ts';

/** How long a pod whose handler does not load waits for a control plane to tell it. */
const TELL_TIMEOUT_MS = 2_000;
/** How long the last frames may take to be acknowledged by a close. */
const STOP_TIMEOUT_MS = 1_000;

type State =
  | { readonly kind: 'waiting'; receiving: Receiving | undefined }
  | { readonly kind: 'loading' }
  | { readonly kind: 'failing'; readonly message: string }
  | { readonly kind: 'serving'; readonly handlers: Handlers }
  | {
      readonly kind: 'draining';
      readonly handlers: Handlers;
      readonly exitCode: number;
      readonly timer: NodeJS.Timeout;
    }
  | { readonly kind: 'exiting' };

export class Pod implements LinkOwner {
  private readonly settings: Settings;
  private readonly executor: Executor;
  private readonly link: Link;
  private readonly bootId: string = randomUUID();
  private state: State;
  /** Of the code that came over the socket, or is on its way; '' where the handler is a file. */
  private digest = '';
  private wasWelcomed = false;
  /** Of a generic pod: that of its pool, until it is told its function's. */
  private functionKey: string;
  private graceMs: number;

  /** Dials at once; nothing of the user's runs before `load`. */
  constructor(settings: Settings) {
    this.settings = settings;
    this.functionKey = settings.functionKey;
    this.graceMs = settings.graceMs;
    this.state = isFile(settings) ? { kind: 'loading' } : { kind: 'waiting', receiving: undefined };
    this.executor = new Executor(settings.functionKey, settings.capacity);
    this.executor.log.takeOverConsole();
    this.executor.onIdle = () => this.idle();
    this.link = new Link(this, settings, settings.token);
  }

  // ---- loading ----

  /** Loads the handler, where it is a file, while the dial is on its way. */
  load(): void {
    const { handler } = this.settings;
    if (handler !== undefined) this.await(loadHandlers(handler));
    else void warmLoader();
  }

  /** From here the code is known by its digest; a control plane that does not know that we have it says it again. */
  specialize(frame: Specialize): boolean {
    const { state, settings, executor } = this;
    const generic = warmPoolName(this.functionKey) !== undefined;
    if (isFile(settings) || (!generic && frame.function !== this.functionKey)) return false; // P4
    if (state.kind !== 'waiting') return frame.digest === this.digest;
    this.functionKey = frame.function;
    executor.functionKey = frame.function;
    takeEnvironment(frame, process.env);
    const { capacity, graceMs = 0, memoryBytes } = limitsOf(frame);
    if (capacity !== undefined) executor.capacity = capacity;
    this.graceMs = Math.max(this.graceMs, graceMs);
    this.digest = frame.digest;
    if (generic && !this.compile(frame)) return true;
    state.receiving = new Receiving(frame);
    if (memoryBytes !== undefined) {
      watchMemory({
        limitBytes: memoryBytes,
        resident: () => process.memoryUsage.rss(),
        onOver: (bytes) => this.overMemory(bytes, memoryBytes),
      });
    }
    return true;
  }

  /** It takes more memory than its function may: what runs is told, and the process ends (P2). */
  private overMemory(bytes: number, limitBytes: number): void {
    const { state, executor } = this;
    const message = `its process takes ${mebibytes(bytes)} of memory, over its limit of ${mebibytes(limitBytes)}`;
    if (state.kind === 'loading' || state.kind === 'waiting') {
      this.doesNotLoad(new HandlerError(message));
      return;
    }
    if (state.kind !== 'serving' && state.kind !== 'draining') return;
    complain(message);
    // Before the results, which free slots: nothing new is to be given to a process that is about to end.
    this.drain(0, 1);
    for (const attempt of [...executor.running]) {
      executor.fail(attempt, failure('error', 'memory_exceeded', message));
    }
  }

  code(frame: Code): boolean {
    const { state } = this;
    if (state.kind !== 'waiting') return frame.digest === this.digest;
    const { receiving } = state;
    if (receiving === undefined || !receiving.add(frame)) return false;
    if (!frame.end) return true;
    this.state = { kind: 'loading' };
    this.await(receiving.load(this.settings.scratch));
    return true;
  }

  private await(handlers: Promise<Handlers>): void {
    handlers.then(
      (handlers) => this.loaded(handlers),
      (error) => this.notLoaded(error),
    );
  }

  private loaded(handlers: Handlers): void {
    if (this.state.kind !== 'loading') return;
    this.state = { kind: 'serving', handlers };
    if (this.link.current !== undefined) this.announce(this.link.current);
  }

  /** P1 */
  private announce(connection: Connection): void {
    const { state, executor } = this;
    if (state.kind === 'serving' && state.handlers.value === undefined && isChecked(executor)) {
      this.doesNotLoad(new HandlerError(NO_VALUE_HANDLER));
      return;
    }
    connection.send({ kind: 'ready', digest: this.digest });
    // After it, so that Node's fetch classes are loaded (30 ms) while the control plane takes note.
    if (this.state.kind === 'serving' && this.state.handlers.fetch) setImmediate(warmFetch);
  }

  private notLoaded(error: unknown): void {
    if (this.state.kind === 'loading') this.doesNotLoad(error);
  }

  private doesNotLoad(error: unknown): void {
    const why = error instanceof HandlerError ? error.message : describe(error);
    const name = this.settings.handler ?? `from source (${this.digest.slice(0, SHOWN_DIGEST)})`;
    const message = `the handler ${name} does not load: ${why}`;
    complain(message, error instanceof HandlerError ? undefined : stackOf(error));
    this.state = { kind: 'failing', message: message.slice(0, MAX_TEXT_CHARS) };
    const { current } = this.link;
    if (current !== undefined) this.tellFailed(current);
    else setTimeout(() => this.exit(1), TELL_TIMEOUT_MS);
  }

  private tellFailed(connection: Connection): void {
    if (this.state.kind !== 'failing') return;
    const { message } = this.state;
    connection.send({ kind: 'failed', code: 'handler_not_loaded', message });
    this.exit(1);
  }

  // ---- LinkOwner ----

  hello(connection: Connection, credential: string): Hello {
    const { settings, executor } = this;
    for (const attempt of executor.running) attempt.countedBy = connection;
    return {
      kind: 'hello',
      version: PROTOCOL_VERSION,
      credential,
      uid: settings.podUid,
      proof: proofOf(settings.poolKey, credential, settings.podUid, this.bootId),
      bootId: this.bootId,
      runtime: 'node',
      runtimeVersion: process.versions.node,
      capacity: executor.capacity,
      inFlight: executor.running.size,
    };
  }

  welcomed(connection: Connection, welcome: Welcome): void {
    if (!this.wasWelcomed && !this.prepare(welcome)) return;
    switch (this.state.kind) {
      case 'failing':
        this.tellFailed(connection);
        return;
      case 'draining':
        connection.send(DRAINING);
        return;
      case 'serving':
        this.announce(connection);
        return;
      default:
        return;
    }
  }

  private prepare(welcome: Welcome): boolean {
    this.wasWelcomed = true;
    return this.compile(welcome);
  }

  /** False: its schemas do not compile, and the pod ends over it. */
  private compile(schemas: Pick<Welcome, 'inputSchema' | 'outputSchema'>): boolean {
    try {
      this.executor.validation = compileValidation(schemas);
      return true;
    } catch (error) {
      this.doesNotLoad(new HandlerError(`its schemas do not compile: ${describe(error)}`));
      return false;
    }
  }

  invoke(connection: Connection, limits: Welcome, frame: Invoke): boolean {
    const { state } = this;
    // While draining too: it was sent before the control plane knew.
    if (state.kind !== 'serving' && state.kind !== 'draining') return state.kind === 'exiting';
    this.executor.start(connection, limits, frame, state.handlers);
    return true;
  }

  lost(address: string, reason: string): void {
    this.executor.log.write('warn', `no connection to the control plane at ${address}: ${reason}`);
  }

  found(address: string): void {
    this.executor.log.write('info', `connected to the control plane at ${address} again`);
  }

  refused(reason: string): void {
    complain(`the control plane refused this pod: ${reason}`);
    this.exit(1);
  }

  // ---- ending ----

  /** Takes no more work, finishes what runs within `graceMs`, and exits. */
  drain(graceMs: number, exitCode = 0): void {
    const { state } = this;
    if (state.kind === 'loading' || state.kind === 'waiting') this.exit(exitCode);
    if (state.kind !== 'serving' && state.kind !== 'draining') return;
    const code = state.kind === 'draining' ? Math.max(state.exitCode, exitCode) : exitCode;
    if (state.kind === 'draining') clearTimeout(state.timer);
    const timer = setTimeout(() => this.exit(code), graceMs);
    this.state = { kind: 'draining', handlers: state.handlers, exitCode: code, timer };
    if (state.kind === 'serving') this.link.current?.send(DRAINING);
    if (this.executor.running.size === 0) this.idle();
  }

  /** SIGTERM. */
  terminate(): void {
    this.drain(this.graceMs);
  }

  /** An error escaped its promise (guard.ts): its attempt fails, the process ends (P2). */
  crashed(thrown: unknown): void {
    const { executor } = this;
    const what = describe(thrown);
    const stack = stackOf(thrown);
    executor.log.write('error', `uncaught: ${what}`, stack === undefined ? undefined : { stack });
    if (this.state.kind === 'loading') {
      this.notLoaded(thrown);
      return;
    }
    const culprit = this.culprit();
    // Before the result, which frees a slot: nothing new is to be given to a process that is about to end.
    this.drain(this.graceMs, 1);
    if (culprit !== undefined) {
      const message = `an error escaped the handler and ended its process: ${what}`;
      executor.fail(culprit, failure('error', 'function_exited', message));
    }
  }

  /** The handler has called `process.exit`, and there is no way back: what it ran for is told, now (guard.ts). */
  exitedByHandler(code: number): void {
    if (this.state.kind === 'exiting') return;
    complain(`the handler ended the process with exit code ${code}`);
    const culprit = this.culprit();
    if (culprit === undefined) return;
    const message = `the handler ended its process with exit code ${code}`;
    this.state = { kind: 'exiting' };
    // First: the result frees a slot, which must not be given to a process that is about to end.
    this.link.current?.send(DRAINING);
    this.executor.fail(culprit, failure('error', 'function_exited', message));
    culprit.connection.flushNow();
  }

  /** The attempt whose code runs now; or the only one there is. */
  private culprit() {
    const { current, running } = this.executor;
    if (current !== undefined) return current;
    return running.size === 1 ? running.values().next().value : undefined;
  }

  private idle(): void {
    if (this.state.kind === 'draining') this.exit(this.state.exitCode);
  }

  private exit(code: number): void {
    if (this.state.kind === 'exiting') return;
    if (this.state.kind === 'draining') clearTimeout(this.state.timer);
    this.state = { kind: 'exiting' };
    setTimeout(() => process.exit(code), STOP_TIMEOUT_MS);
    this.link.stop(() => process.exit(code));
  }

  /** Ends at once, whatever runs: whoever started this process is gone. */
  vanish(): void {
    this.state = { kind: 'exiting' };
    process.exit(0);
  }
}

/** Where nothing else can be called, schemas would promise what is not kept. */
const NO_VALUE_HANDLER =
  'spec.inputSchema and spec.outputSchema need a default export that is a function';

function isChecked({ validation }: Executor): boolean {
  return validation.input !== undefined || validation.output !== undefined;
}

/** That this process holds its pool's key (docs/protocol.md); '' where there is none. */
function proofOf(poolKey: string, credential: string, uid: string, bootId: string): string {
  if (poolKey === '') return '';
  return createHmac('sha256', poolKey)
    .update(`simmer.proof\0${credential}\0${uid}\0${bootId}`)
    .digest('base64url');
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(0)} MiB`;
}

function isFile(settings: Settings): boolean {
  return settings.handler !== undefined;
}

/** Enough of a digest to tell by: its algorithm and twelve digits. */
const SHOWN_DIGEST = 19;

const DRAINING = { kind: 'draining' } as const;

/** One clear line on standard error, written at once: the process may be about to end. */
export function complain(message: string, detail?: string): void {
  const line = `simmer-runtime: ${message}\n${detail === undefined ? '' : `${detail}\n`}`;
  try {
    writeSync(2, line);
  } catch {
    // Nobody reads it.
  }
}

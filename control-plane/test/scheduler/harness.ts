/**
 * The scheduler's core with a clock that tests move, pods that are scripted links, and clients that remember what they
 * were told. No sockets: those are in the tests of the whole server.
 */
import type { PodKind } from '@simmer/protocol/backend';
import type { CloseReason, Hello, Outcome } from '@simmer/protocol/frames';
import { type FunctionManifest, resolveManifest } from '@simmer/protocol/manifest';
import { warmPoolKey } from '@simmer/protocol/names';
import { type Core, createCore } from '../../src/scheduler/core.ts';
import type { FunctionState } from '../../src/scheduler/function-state.ts';
import { ExecutionIds } from '../../src/scheduler/ids.ts';
import { Invocation } from '../../src/scheduler/invocation.ts';
import type { Pod, PodLink } from '../../src/scheduler/pod.ts';
import type { Reply } from '../../src/scheduler/reply.ts';
import { allocateCounters } from '../../src/shared/counters.ts';
import type { FunctionRecord, LogLine, ToControl } from '../../src/shared/messages.ts';

export const BOOT_ID = 'bootbootboot';

/** What a client was told, in order; exactly one entry ends it. */
export class FakeReply implements Reply {
  readonly told: string[] = [];
  detail = '';
  value(): void {
    this.told.push('ok');
  }
  head(_i: Invocation, status: number): void {
    this.told.push(`head ${status}`);
  }
  chunk(_i: Invocation, body: Uint8Array, granted: (bytes: number) => void): void {
    this.told.push(`chunk ${body.length}`);
    granted(body.length);
  }
  end(): void {
    this.told.push('ok');
  }
  fail(_i: Invocation, code: string, detail: string): void {
    this.detail = detail;
    this.told.push(code);
  }
  abort(): void {
    this.told.push('aborted');
  }
}

export class FakeLink implements PodLink {
  readonly invoked: Invocation[] = [];
  readonly cancelled: { stream: number; reason: string }[] = [];
  closed: CloseReason | '' = '';
  drained = false;
  sentTo = '';
  specializedWith = '';
  invoke(invocation: Invocation): void {
    this.invoked.push(invocation);
  }
  cancel(stream: number, reason: string): void {
    this.cancelled.push({ stream, reason });
  }
  credit(): void {}
  forget(): void {}
  specialize(session: string): void {
    this.specializedWith = session;
  }
  drain(): void {
    this.drained = true;
  }
  goaway(address: string, session: string): void {
    this.sentTo = `${address} ${session}`;
  }
  close(reason: CloseReason): void {
    this.closed = reason;
  }
}

export interface Call {
  readonly invocation: Invocation;
  readonly reply: FakeReply;
  /** The code of a refusal at admission; then nothing was submitted. */
  readonly refused: string | undefined;
  /** What its observer was told, where it has one. */
  readonly story: readonly string[];
}

export class Harness {
  time = 1_000;
  random = 0.5;
  readonly posted: ToControl[] = [];
  readonly lines: LogLine[] = [];
  readonly core: Core;
  readonly links = new Map<Pod, FakeLink>();
  readonly executionIds = new ExecutionIds(BOOT_ID);
  private ids = 0;

  constructor(maxQueuedBytes = 1_000_000_000) {
    this.core = createCore(
      {
        now: () => this.time,
        post: (message) => this.posted.push(message),
        log: (line) => this.lines.push(line),
        random: () => this.random,
        debug: true,
      },
      () => this.time,
      allocateCounters(16),
      {
        maxQueuedBytes,
        maxSyncExecutions: 50,
        executions: { maxCount: 1_000, maxBytes: 2 ** 28, maxAgeMs: 3_600_000 },
        idempotency: { maxCount: 1_000, maxBytes: 2 ** 26, maxAgeMs: 3_600_000 },
        callbackAllow: [],
        logs: { attemptBytes: 1_000, maxBytes: 100_000, syncMaxBytes: 100_000 },
        deadLetters: { maxCount: 100, maxBytes: 2 ** 24, maxTotalBytes: 2 ** 26 },
      },
      this.executionIds,
    );
  }

  /** Registers `default/<name>`. */
  define(
    name: string,
    spec: Partial<FunctionManifest['spec']> = {},
    revision = 'r1',
    more: Partial<FunctionRecord> = {},
  ): FunctionState {
    const resolved = resolveManifest({
      apiVersion: 'simmer.dev/v1alpha1',
      kind: 'Function',
      metadata: { name },
      spec: { handler: 'h.js', ...spec },
    });
    if (!resolved.ok || resolved.manifest.kind !== 'Function') throw new Error('bad manifest');
    const { spec: whole } = resolved.manifest;
    const record = { key: `default/${name}`, spec: whole, revision, slot: 1, ...more };
    this.core.onMessage({ type: 'functions', upsert: [record], remove: [] });
    return this.core.functions.get(record.key) as FunctionState;
  }

  /** Registers the WarmPool `name`. */
  defineWarmPool(name: string, maxReplicas: number, maxShare = 50): FunctionState {
    const key = warmPoolKey('default', name);
    return this.define(name, { maxReplicas }, 'p1', { key, maxShare });
  }

  /** Registers a function that pods of these WarmPools may become. */
  defineClaiming(
    name: string,
    pools: readonly FunctionState[],
    spec: Partial<FunctionManifest['spec']> = {},
  ): FunctionState {
    const bytes = Buffer.from(name);
    return this.define(name, spec, 'r1', {
      source: { entry: 'handler.js', digest: name, bytes },
      claim: { pools: pools.map((pool) => pool.key), env: [], secrets: [], memoryBytes: 0 },
    });
  }

  /** A pod that was launched, and has neither connected nor got ready. */
  launch(
    fn: FunctionState,
    kind: PodKind = 'pool',
    needed = false,
    more: { identified?: boolean; credential?: string } = {},
  ): Pod {
    const podId = `pod-${++this.ids}`;
    this.core.onMessage({
      type: 'pod-expected',
      podId,
      kind,
      functionKey: fn.key,
      revision: fn.record.revision,
      backend: 'fake',
      credential: `token-${podId}`,
      identified: false,
      launchedAt: this.time,
      needed,
      ...more,
    });
    const pod = [...fn.pods].at(-1);
    if (pod === undefined) throw new Error(`no pod: ${fn.key} is not registered`);
    return pod;
  }

  hello(pod: Pod, more: Partial<Hello> = {}, link = new FakeLink()) {
    const answer = this.core.pods.hello(
      {
        kind: 'hello',
        version: 1,
        credential: `token-${pod.id}`,
        uid: pod.id,
        proof: '',
        bootId: `boot-${pod.id}`,
        runtime: 'fake',
        runtimeVersion: '1',
        capacity: 1_000,
        inFlight: 0,
        ...more,
      },
      link,
    );
    if (answer.ok) this.links.set(pod, link);
    return answer;
  }

  /** A pod that serves. */
  pod(fn: FunctionState, kind: PodKind = 'pool', needed = false): Pod {
    const pod = this.launch(fn, kind, needed);
    this.hello(pod);
    this.core.pods.ready(pod);
    return pod;
  }

  link(pod: Pod): FakeLink {
    const link = this.links.get(pod);
    if (link === undefined) throw new Error(`${pod.id} has no link`);
    return link;
  }

  call(
    fn: FunctionState,
    options: {
      budgetMs?: number;
      bytes?: number;
      raw?: boolean;
      receiving?: boolean;
      maxRetries?: number;
      /** Asynchronous: what each attempt may take. */
      attemptMs?: number;
    } = {},
  ): Call {
    const { scheduler } = this.core;
    const budgetMs = options.budgetMs ?? fn.record.spec.timeoutMs;
    const bytes = options.bytes ?? 0;
    const reply = new FakeReply();
    const invocation = new Invocation(
      scheduler,
      this.executionIds.next(),
      fn,
      options.raw ? 'raw' : 'value',
      '',
      '',
      [],
      '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      reply,
      this.time,
      this.time + budgetMs,
    );
    invocation.maxRetries = options.maxRetries ?? 0;
    const story: string[] = [];
    if (options.attemptMs !== undefined) {
      invocation.attemptMs = options.attemptMs;
      invocation.observer = {
        onDispatched: () => story.push('running'),
        onWaiting: (code) => story.push(code),
        onQueued: () => story.push('queued'),
      };
    }
    const refused = scheduler.refusal(fn, bytes, budgetMs);
    if (refused === undefined) {
      scheduler.open(invocation, bytes);
      if (options.receiving !== true) scheduler.submit(invocation);
    }
    return { invocation, reply, refused, story };
  }

  /** A call whose body has not all come. */
  receive(fn: FunctionState, bytes: number): Call {
    return this.call(fn, { bytes, receiving: true });
  }

  /** The pod answers the oldest attempt that it runs, or the one named. */
  answer(
    pod: Pod,
    outcome: Outcome = 'ok',
    stream = pod.running.values()[0]?.stream as number,
  ): void {
    this.core.scheduler.onResult(pod, stream, outcome, '', outcome === 'ok' ? '' : 'no', null);
  }

  /** Moves the clock and fires what is due. */
  advance(ms: number): void {
    this.time += ms;
    this.core.wheel.advance(this.time);
  }

  needs(kind: PodKind): number {
    let count = 0;
    for (const m of this.posted) if (m.type === 'need' && m.kind === kind) count += m.count;
    return count;
  }
}

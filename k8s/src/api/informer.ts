/**
 * A local copy of the objects of one kind in one namespace, kept current by list and watch.
 *
 *     start ──▶ listing ──list taken──▶ watching ──closed, idle, failed──▶ pause ──▶ watching
 *                  ▲                        │ 410, ERROR event                │
 *                  └────────────────────────┴─────────── pause ◀──────────────┘ (no resourceVersion to go on from)
 *
 * Built on client-node's `Watch`, whose traps are kept in here: it swallows what its callback throws, and ignores lines
 * that it cannot parse; it tells of an end once or by throwing; its silence limit (30 s, not settable) is shorter than the
 * minute between two bookmarks; and events may still come from a stream that has ended.
 *
 * Invariants:
 *  1. Listeners see a consistent story: added, modified..., deleted for each uid. A relist yields the differences,
 *     deletions included; an object that was replaced under its name is deleted, then added.
 *  2. A listener that throws harms neither the other listeners nor the informer.
 *  3. It goes on for ever: each failure is followed by another try, with jitter, ever slower up to MAX_BACKOFF_MS.
 *  4. Only the present stream changes the copy.
 */
import { Watch } from '@kubernetes/client-node';
import type { Api, KubeLog } from './api.ts';
import { type Clock, systemClock } from './clock.ts';
import { ApiError, refused, unreachable } from './error.ts';
import {
  apiVersionOf,
  type KubeObject,
  pathOf,
  qualifiedName,
  type Resource,
} from './resources.ts';

/** The API server sends a bookmark about every minute: a stream that is silent for longer is taken to be dead. */
const IDLE_MS = 75_000;
/** The API server ends a watch after this, and half as long again at most, so that watches do not all end at once. */
const WATCH_SECONDS = 300;
const FIRST_BACKOFF_MS = 200;
/** How late at most an API server that is back is found to be; so few tries do it no harm while it starts. */
const MAX_BACKOFF_MS = 8_000;
/** A stream that ended sooner is not followed at once, and counts as a failure where nothing was in it: do not hammer a proxy that cuts watches off. */
const SHORT_WATCH_MS = 1_000;
const HTTP_GONE = 410;

export interface Change<T> {
  readonly type: 'added' | 'modified' | 'deleted';
  readonly object: T;
}

export interface InformerOptions {
  readonly namespace: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly log: KubeLog;
  /** 0 to 1, for jitter. */
  readonly random?: () => number;
  readonly clock?: Clock;
  /** Silence after which a stream is taken to be dead. */
  readonly idleMs?: number;
  /** What of an object is kept and told, where it is not all of it. May change what it is given. */
  readonly reduce?: (object: KubeObject) => KubeObject;
}

/** How a watch ended: `relist`: its place in history is lost. */
type End = { readonly type: 'resume' | 'relist'; readonly error?: Error };

interface WatchEvent {
  readonly type: string;
  readonly object: KubeObject & { code?: number; message?: string };
}

export class Informer<T extends KubeObject = KubeObject> {
  readonly resource: Resource;
  readonly namespace: string;
  private readonly api: Api;
  private readonly options: InformerOptions;
  private readonly log: KubeLog;
  private readonly clock: Clock;
  private readonly random: () => number;
  private readonly objects = new Map<string, T>();
  private readonly listeners: ((change: Change<T>) => void)[] = [];
  /** Where a watch goes on; undefined: a list is due. */
  private resourceVersion: string | undefined;
  private failures = 0;
  /** The stream that ended had lived long enough: the next may follow at once. */
  private mayHurry = false;
  private lastProblem: string | undefined;
  /** When the copy was last known to be current. */
  private currentAt: number;
  private recovered = Number.NEGATIVE_INFINITY;
  private started: Promise<void> | undefined;
  private settled: () => void = () => {};
  private stopped = false;
  /** Ends what the loop waits for: a pause, or the stream. */
  private wake: () => void = () => {};
  private relists = 0;

  constructor(api: Api, resource: Resource, options: InformerOptions) {
    this.api = api;
    this.resource = resource;
    this.options = options;
    this.namespace = options.namespace;
    this.log = options.log;
    this.clock = options.clock ?? systemClock;
    this.random = options.random ?? Math.random;
    this.currentAt = this.clock.now();
  }

  /** Resolves once the first list was taken and told to the listeners, however long the API server is away; or on `stop`. */
  start(): Promise<void> {
    this.started ??= new Promise((resolve) => {
      void this.run(resolve).finally(resolve);
    });
    return this.started;
  }

  /** As `start`, but resolves as well once a missing permission is certain (`problem` names it). It goes on trying. */
  startOrDenied(): Promise<void> {
    const denied = new Promise<void>((resolve) => {
      this.settled = resolve;
    });
    return Promise.race([this.start(), denied]);
  }

  get(name: string): T | undefined {
    return this.objects.get(name);
  }

  list(): readonly T[] {
    return [...this.objects.values()];
  }

  /** Told of each change from now on; add it before `start` to hear of everything. */
  onChange(listener: (change: Change<T>) => void): void {
    this.listeners.push(listener);
  }

  /** Milliseconds since the copy was last known to be current: a list, an event, a bookmark, a watch let in. */
  get staleMs(): number {
    return this.clock.now() - this.currentAt;
  }

  /** Why it cannot list or watch at present. */
  get problem(): string | undefined {
    return this.lastProblem;
  }

  /** On its clock, when it could watch again after a `problem`; -Infinity where there was none. */
  get recoveredAt(): number {
    return this.recovered;
  }

  /** The first list was taken. */
  get synced(): boolean {
    return this.relists > 0;
  }

  /** Lists taken so far. */
  get listCount(): number {
    return this.relists;
  }

  /** No listener is called after it. */
  stop(): void {
    this.stopped = true;
    this.wake();
  }

  private async run(ready: () => void): Promise<void> {
    while (!this.stopped) {
      const end = await this.listAndWatch(ready);
      if (this.stopped) return;
      if (end.type === 'relist') this.resourceVersion = undefined;
      if (end.error) this.tell(end.error);
      await this.pause(end.error instanceof ApiError ? end.error.retryAfterMs : 0);
    }
  }

  private async listAndWatch(ready: () => void): Promise<End> {
    try {
      if (this.resourceVersion === undefined) {
        await this.takeList();
        ready();
      }
      return this.stopped ? { type: 'resume' } : await this.watch();
    } catch (error) {
      this.failures += 1;
      // A list that was cut off by 410 begins anew; a list or watch that was refused goes on where it was.
      const lost = error instanceof ApiError && error.status === HTTP_GONE;
      return { type: lost ? 'relist' : 'resume', error: error as Error };
    }
  }

  private async takeList(): Promise<void> {
    const { namespace, labelSelector, fieldSelector } = this.options;
    const listed = await this.api.list<T>(this.resource, namespace, {
      ...(labelSelector !== undefined && { labelSelector }),
      ...(fieldSelector !== undefined && { fieldSelector }),
    });
    if (this.stopped) return;
    this.relists += 1;
    this.failures = 0;
    this.current();
    const present = new Set(listed.items.map((object) => object.metadata.name));
    for (const [name, object] of this.objects) {
      if (present.has(name)) continue;
      this.objects.delete(name);
      this.emit({ type: 'deleted', object });
    }
    for (const object of listed.items) this.put(this.reduce(object)); // 1
    this.resourceVersion = listed.resourceVersion;
  }

  /** One stream, until it ends. @throws where it is not let in */
  private async watch(): Promise<End> {
    const watch = new Watch(this.api.config);
    // Not settable in client-node 2.0.1. Should the field change its name, watches restart at its own 30 s of silence.
    Object.assign(watch, { requestTimeoutMs: this.options.idleMs ?? IDLE_MS });
    const began = this.clock.now();
    let events = 0;
    let over: End | undefined;
    let settle: (end: End) => void = () => {};
    const ended = new Promise<End>((resolve) => {
      settle = resolve;
    });
    const finish = (end: End): void => {
      over ??= end; // 4
      settle(over);
    };
    this.wake = () => finish({ type: 'resume' });
    const stream = await watch.watch(
      pathOf(this.resource, this.namespace),
      {
        resourceVersion: this.resourceVersion,
        allowWatchBookmarks: true,
        timeoutSeconds: Math.ceil(WATCH_SECONDS * (1 + this.random() / 2)),
        labelSelector: this.options.labelSelector,
        fieldSelector: this.options.fieldSelector,
      },
      (type, object) => {
        if (over || this.stopped) return; // 4
        events += 1;
        const end = this.receive({ type, object });
        if (end) finish(end);
      },
      (error) => finish(this.endOf(error)),
    );
    const letIn = over === undefined;
    if (letIn) this.current();
    const end = await ended;
    stream.abort();
    this.wake = () => {};
    const lived = letIn && this.clock.now() - began >= SHORT_WATCH_MS;
    this.failures = lived || events > 0 ? 0 : this.failures + 1;
    // A stream ends every few minutes as a matter of course: a pod that starts just then must not wait for the next.
    this.mayHurry = lived;
    return end;
  }

  /** Undefined: the stream goes on. */
  private receive({ type, object }: WatchEvent): End | undefined {
    if (type === 'ERROR') {
      const message = object.message ?? 'the watch failed';
      if (object.code === HTTP_GONE) return { type: 'relist' };
      const error = refused(this.asked(), object.code ?? 500, JSON.stringify({ message }));
      return { type: 'relist', error };
    }
    this.current();
    const { name, resourceVersion } = object.metadata;
    if (resourceVersion !== undefined) this.resourceVersion = resourceVersion;
    if (type === 'BOOKMARK' || name === undefined) return undefined;
    object.apiVersion ??= apiVersionOf(this.resource);
    object.kind ??= this.resource.kind;
    if (type === 'DELETED') {
      if (this.objects.delete(name)) this.emit({ type: 'deleted', object: this.reduce(object) });
    } else {
      this.put(this.reduce(object));
    }
    return undefined;
  }

  private reduce(object: KubeObject): T {
    const kept = this.options.reduce?.(object) ?? object;
    // Who wrote which field is half of an object's size; what is of use in it, `reduce` has read.
    delete kept.metadata.managedFields;
    return kept as T;
  }

  private put(object: T): void {
    const name = object.metadata.name ?? '';
    const before = this.objects.get(name);
    if (before && before.metadata.resourceVersion === object.metadata.resourceVersion) return;
    this.objects.set(name, object);
    if (before && before.metadata.uid !== object.metadata.uid) {
      this.emit({ type: 'deleted', object: before }); // 1
      this.emit({ type: 'added', object });
    } else {
      this.emit({ type: before ? 'modified' : 'added', object });
    }
  }

  /** What `Watch` says at the end: null, an error with a status, or that nothing came for too long. */
  private endOf(error: unknown): End {
    if (error === null || error === undefined) return { type: 'resume' };
    const { statusCode, name, message } = error as Error & { statusCode?: number };
    if (statusCode === HTTP_GONE) return { type: 'relist' };
    if (statusCode !== undefined) {
      return { type: 'resume', error: refused(this.asked(), statusCode, message) };
    }
    // Silence: nothing is known to be wrong, the next try tells.
    if (name === 'TimeoutError') return { type: 'resume' };
    return { type: 'resume', error: unreachable(this.asked(), causeOf(error as Error)) };
  }

  private emit(change: Change<T>): void {
    for (const listener of this.listeners) {
      if (this.stopped) return;
      try {
        listener(change);
      } catch (error) {
        this.log.error(
          { err: error, object: change.object.metadata.name },
          `a listener of ${qualifiedName(this.resource)} failed: ${(error as Error).message}`,
        ); // 2
      }
    }
  }

  private current(): void {
    this.currentAt = this.clock.now();
    if (this.lastProblem !== undefined) {
      this.lastProblem = undefined;
      this.recovered = this.currentAt;
      this.log.info(this.fields(), `${qualifiedName(this.resource)} are watched again`);
    }
  }

  /** Once for each cause, not for each try. */
  private tell(error: Error): void {
    const { message } = error;
    const again = message === this.lastProblem;
    this.lastProblem = message;
    if (error instanceof ApiError && error.denied) this.settled();
    if (again) this.log.debug(this.fields(), message);
    else if (error instanceof ApiError && error.code === 'refused')
      this.log.error(this.fields(), message);
    else this.log.warn(this.fields(), message);
  }

  private pause(atLeastMs: number): Promise<void> {
    if (this.mayHurry && atLeastMs === 0) {
      this.mayHurry = false;
      return Promise.resolve();
    }
    const cap = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(this.failures, 16));
    // Half fixed, half by chance: never at once, never all together.
    const ms = Math.max(atLeastMs, cap * (0.5 + this.random() / 2)); // 3
    return new Promise((resolve) => {
      const timer = this.clock.after(ms, resolve);
      this.wake = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  private asked() {
    return {
      verb: 'watch',
      resource: qualifiedName(this.resource),
      namespace: this.namespace,
    };
  }

  private fields(): object {
    return { resource: qualifiedName(this.resource), namespace: this.namespace };
  }
}

/** fetch says only that it failed; why stands in the cause. */
function causeOf(error: Error): string {
  const cause = error.cause instanceof Error ? error.cause.message : '';
  return cause === '' ? error.message : `${error.message}: ${cause}`;
}

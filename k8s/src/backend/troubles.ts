/**
 * What only events tell: a Job whose pod is refused (a quota, an admission plugin), a pod whose volumes or sandbox cannot
 * be had. Their status says nothing of it. Asked for only while something waits without a reason.
 */
import { type Api, EVENTS, type KubeLog, type KubeObject } from '../api/api.ts';
import type { Clock } from '../api/clock.ts';
import { refusedPod, type Stuck } from './pod-view.ts';
import type { Timers } from './timers.ts';
import type { TrackedPod } from './tracked-pod.ts';

/** A pod that waits this long without a reason in its status: its events are asked for. */
const PATIENCE_MS = 1_000;
const EVERY_MS = 1_000;
/** Once every one of them has waited for this long (a large image): as seldom as this. */
const LONG_MS = 10_000;

/** What is asked for: kind of the object, reason of the event, and what it means. */
const QUESTIONS: readonly {
  readonly kind: 'Job' | 'Pod';
  readonly reason: string;
  readonly meaning: (note: string) => Stuck;
}[] = [
  { kind: 'Job', reason: 'FailedCreate', meaning: refusedPod },
  {
    kind: 'Pod',
    reason: 'FailedMount',
    meaning: (message) => ({ code: 'MountFailed', message, hopeless: false }),
  },
  {
    kind: 'Pod',
    reason: 'FailedCreatePodSandBox',
    meaning: (message) => ({ code: 'SandboxFailed', message, hopeless: false }),
  },
];

export interface TroublesOptions {
  readonly api: Api;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: KubeLog;
  readonly tracked: () => Iterable<TrackedPod>;
  /** There is an answer for this one. */
  readonly onFound: (podId: string) => void;
}

export class Troubles {
  private readonly options: TroublesOptions;
  private readonly found = new Map<string, Stuck>();
  private asking = false;

  constructor(options: TroublesOptions) {
    this.options = options;
  }

  of(podId: string): Stuck | undefined {
    return this.found.get(podId);
  }

  forget(podId: string): void {
    this.found.delete(podId);
  }

  /** Something waits: asks until nothing does. */
  watch(): void {
    if (this.asking) return;
    const { clock, timers } = this.options;
    const waiting = this.waiting();
    if (waiting.length === 0) return;
    const youngest = clock.epoch() - Math.max(...waiting.map((tracked) => tracked.launchedAt));
    this.asking = true;
    timers.after(youngest > LONG_MS ? LONG_MS : EVERY_MS, async () => {
      await this.ask();
      this.asking = false;
      this.watch();
    });
  }

  private waiting(): readonly TrackedPod[] {
    return [...this.options.tracked()].filter((tracked) => tracked.phase.name === 'pending');
  }

  private async ask(): Promise<void> {
    const latest = this.options.clock.epoch() - PATIENCE_MS;
    const asked = new Map<string, Set<'Job' | 'Pod'>>();
    for (const { phase, namespace, launchedAt, made, uids } of this.waiting()) {
      const known = phase.name === 'pending' && phase.stuck !== undefined;
      if (known || launchedAt > latest) continue;
      const kinds = asked.get(namespace) ?? new Set();
      asked.set(namespace, kinds.add(made === 'job' && uids.length === 0 ? 'Job' : 'Pod'));
    }
    for (const [namespace, kinds] of asked) {
      const byUid = await this.read(namespace, kinds);
      for (const { podId, uid, uids } of this.waiting()) {
        const trouble = [uid, ...uids].map((id) => byUid.get(id)).find((t) => t !== undefined);
        if (trouble === undefined) continue;
        this.found.set(podId, trouble);
        this.options.onFound(podId);
      }
    }
  }

  /** By UID of the object. Never throws: without an answer there is no trouble to tell of. */
  private async read(
    namespace: string,
    kinds: ReadonlySet<'Job' | 'Pod'>,
  ): Promise<ReadonlyMap<string, Stuck>> {
    const { api, log } = this.options;
    const found = new Map<string, Stuck>();
    const asked = QUESTIONS.filter((question) => kinds.has(question.kind));
    await Promise.all(
      asked.map(async ({ kind, reason, meaning }) => {
        try {
          const fieldSelector = `regarding.kind=${kind},reason=${reason}`;
          const { items } = await api.list(EVENTS, namespace, { fieldSelector });
          for (const event of items) {
            const uid = (event['regarding'] as { uid?: string } | undefined)?.uid;
            if (uid !== undefined) found.set(uid, meaning(noteOf(event)));
          }
        } catch (error) {
          log.warn({ namespace }, `cannot look why pods do not start: ${(error as Error).message}`);
        }
      }),
    );
    return found;
  }
}

/** `Error creating: ` is the Job controller's own. */
function noteOf(event: KubeObject): string {
  return String(event['note'] ?? '').replace(/^Error creating: /, '');
}

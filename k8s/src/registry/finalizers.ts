/**
 * The finalizer that holds a deleted Function until its pods are drained.
 *
 * Invariants:
 *  1. Each write is for an object as it was last seen: whoever wrote in between wins, and the change that this brings
 *     asks again.
 *  2. Nothing is written while another control plane may lead.
 */
import { type Api, FUNCTIONS, isReason, type KubeLog, type KubeObject } from '../api/api.ts';
import { inLanes } from '../api/lanes.ts';

export const DRAIN_FINALIZER = 'simmer.dev/drain';

interface Wanted {
  readonly object: KubeObject;
  readonly present: boolean;
}

export class Finalizers {
  private readonly api: Api;
  private readonly log: KubeLog;
  private readonly mayWrite: () => boolean;
  /** By namespace/name. */
  private readonly wanted = new Map<string, Wanted>();
  private working: Promise<void> | undefined;
  private closed = false;
  private lastProblem = '';

  constructor(api: Api, log: KubeLog, mayWrite: () => boolean) {
    this.api = api;
    this.log = log;
    this.mayWrite = mayWrite;
  }

  /** It is to have the finalizer, or not to have it, from here on. Asked again until it is seen so. */
  want(object: KubeObject, present: boolean): void {
    const key = `${object.metadata.namespace}/${object.metadata.name}`;
    if (has(object) === present) this.wanted.delete(key);
    else this.wanted.set(key, { object, present });
    this.work();
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.working;
  }

  private work(): void {
    this.working ??= this.writeAll().finally(() => {
      this.working = undefined;
    });
  }

  private writeAll(): Promise<void> {
    return inLanes(this.wanted, async ([key, wanted]) => {
      if (this.closed || !this.mayWrite()) return; // 2
      this.wanted.delete(key);
      try {
        await this.write(wanted); // 1
        this.lastProblem = '';
      } catch (error) {
        // Changed or gone meanwhile: the change that this brings asks again.
        if (isReason(error, 'Conflict') || isReason(error, 'NotFound')) return;
        const { message } = error as Error;
        if (message !== this.lastProblem) {
          this.log.error({ function: key }, `cannot set the finalizer: ${message}`);
        }
        this.lastProblem = message;
      }
    });
  }

  private async write({ object, present }: Wanted): Promise<void> {
    const { name = '', namespace = '', uid, resourceVersion, finalizers = [] } = object.metadata;
    const others = finalizers.filter((finalizer) => finalizer !== DRAIN_FINALIZER);
    const next = present ? [...others, DRAIN_FINALIZER] : others;
    await this.api.patch(FUNCTIONS, namespace, name, {
      metadata: { uid, resourceVersion, finalizers: next },
    });
  }
}

export function has(object: KubeObject): boolean {
  return object.metadata.finalizers?.includes(DRAIN_FINALIZER) === true;
}

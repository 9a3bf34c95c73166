/**
 * The finalizer that holds a deleted Function or WarmPool until its pods are drained and what was made for it is gone.
 *
 * Invariants:
 *  1. Each write is for an object as it was last seen: whoever wrote in between wins, and the change that this brings
 *     asks again.
 *  2. Nothing is written while another control plane may lead.
 */
import {
  type Api,
  FUNCTIONS,
  isReason,
  type KubeLog,
  type KubeObject,
  WARM_POOLS,
} from '../api/api.ts';
import { inLanes } from '../api/lanes.ts';
import { keyOf } from './resolve.ts';

export const DRAIN_FINALIZER = 'simmer.dev/drain';

interface Wanted {
  readonly object: KubeObject;
  readonly present: boolean;
}

export interface FinalizersOptions {
  readonly api: Api;
  readonly log: KubeLog;
  readonly mayWrite: () => boolean;
  /** Removes what was made for a deleted object, by key and UID. */
  readonly cleanUp: (key: string, uid: string) => Promise<void>;
}

export class Finalizers {
  private readonly options: FinalizersOptions;
  /** By key. */
  private readonly wanted = new Map<string, Wanted>();
  private working: Promise<void> | undefined;
  private closed = false;
  private lastProblem = '';

  constructor(options: FinalizersOptions) {
    this.options = options;
  }

  /** It is to have the finalizer, or not to have it, from here on. Asked again until it is seen so. */
  want(object: KubeObject, present: boolean): void {
    const key = keyOf(object);
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
      if (this.closed || !this.options.mayWrite()) return; // 2
      this.wanted.delete(key);
      try {
        await this.write(wanted); // 1
        this.lastProblem = '';
      } catch (error) {
        // Changed or gone meanwhile: the change that this brings asks again.
        if (isReason(error, 'Conflict') || isReason(error, 'NotFound')) return;
        const { message } = error as Error;
        if (message !== this.lastProblem) {
          this.options.log.error({ function: key }, `cannot set the finalizer: ${message}`);
        }
        this.lastProblem = message;
      }
    });
  }

  private async write({ object, present }: Wanted): Promise<void> {
    const { name = '', namespace = '', uid = '', resourceVersion } = object.metadata;
    const { finalizers = [] } = object.metadata;
    if (!present) await this.options.cleanUp(keyOf(object), uid);
    const others = finalizers.filter((finalizer) => finalizer !== DRAIN_FINALIZER);
    const next = present ? [...others, DRAIN_FINALIZER] : others;
    const resource = object.kind === WARM_POOLS.kind ? WARM_POOLS : FUNCTIONS;
    await this.options.api.patch(resource, namespace, name, {
      metadata: { uid, resourceVersion, finalizers: next },
    });
  }
}

export function has(object: KubeObject): boolean {
  return object.metadata.finalizers?.includes(DRAIN_FINALIZER) === true;
}

/** What an earlier process left running, from its discovery until its functions are known. */
import type { Backend, BackendEvent, FoundPod } from '@simmer/protocol/backend';
import type { Pod } from './pool.ts';

/** A pod of an earlier process dials again within a second or two, or its node is gone. */
const ADOPTION_MS = 30_000;

export interface Found {
  readonly backend: Backend;
  readonly pod: FoundPod;
  /** What became of it since, in order: not to be told before the pod is known. */
  readonly events: readonly BackendEvent[];
}

export class FoundPods {
  private found = new Map<string, Found & { readonly events: BackendEvent[] }>();

  async search(backends: readonly Backend[]): Promise<void> {
    const lists = backends.map(async (backend) =>
      (await backend.adopt()).map((pod) => ({ backend, pod, events: [] })),
    );
    for (const found of (await Promise.all(lists)).flat()) this.found.set(found.pod.podId, found);
  }

  /** An event of a pod that nobody knows yet; others are none of its business. */
  keep(event: BackendEvent): void {
    this.found.get(event.podId)?.events.push(event);
  }

  /** Each once. */
  take(): readonly Found[] {
    const found = [...this.found.values()];
    this.found.clear();
    return found;
  }
}

/** Its record here: it is to dial again in time. `now`: the keeper's clock. */
export function recordOfFound({ backend, pod }: Found, now: number): Pod {
  return {
    podId: pod.podId,
    kind: pod.kind,
    revision: pod.revision,
    backend: backend.name,
    credential: '',
    launchedAt: now,
    adopted: true,
    needed: false,
    origin: pod.origin,
    label: pod.label,
    phase: { name: 'starting', deadline: now + ADOPTION_MS },
    stuck: undefined,
  };
}

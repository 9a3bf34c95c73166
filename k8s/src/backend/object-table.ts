/** What the watches show, by pod id: the pods that bear it and the Job of its name. */
import type { Informer } from '../api/informer.ts';
import { JOBS, type KubeObject, type Resource } from '../api/resources.ts';

type Change = Parameters<Parameters<Informer['onChange']>[0]>[0];

interface Entry {
  /** By UID, in the order in which they were first seen. */
  readonly pods: Map<string, KubeObject>;
  job: KubeObject | undefined;
}

export class ObjectTable {
  private readonly entries = new Map<string, Entry>();

  apply(resource: Resource, podId: string, change: Change): void {
    const { type, object } = change;
    const entry = this.entries.get(podId) ?? { pods: new Map(), job: undefined };
    const { uid = '' } = object.metadata;
    if (resource === JOBS) entry.job = type === 'deleted' ? undefined : object;
    else if (type === 'deleted') entry.pods.delete(uid);
    else entry.pods.set(uid, object);
    if (entry.pods.size === 0 && entry.job === undefined) this.entries.delete(podId);
    else this.entries.set(podId, entry);
  }

  pods(podId: string): readonly KubeObject[] {
    return [...(this.entries.get(podId)?.pods.values() ?? [])];
  }

  job(podId: string): KubeObject | undefined {
    return this.entries.get(podId)?.job;
  }

  podIds(): readonly string[] {
    return [...this.entries.keys()];
  }

  /** Any of it; there is one for every id of `podIds`. */
  first(podId: string): KubeObject {
    const entry = this.entries.get(podId) as Entry;
    return entry.job ?? (entry.pods.values().next().value as KubeObject);
  }

  all(): readonly KubeObject[] {
    return this.podIds().map((podId) => this.first(podId));
  }
}

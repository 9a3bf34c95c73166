/** Stand-ins for what the tests without a cluster must move themselves: time, and an API that takes everything. */
import type { Api, KubeLog, KubeObject, Resource } from '../src/api/api.ts';
import type { Clock } from '../src/api/clock.ts';

/** Moves only by `advance`. */
export class ManualClock implements Clock {
  private time = 1_000;
  private timers: { readonly at: number; readonly callback: () => void }[] = [];

  now(): number {
    return this.time;
  }

  epoch(): number {
    return Date.UTC(2030, 0, 1) + this.time;
  }

  after(ms: number, callback: () => void): { cancel(): void } {
    const timer = { at: this.time + ms, callback };
    this.timers.push(timer);
    return {
      cancel: () => {
        this.timers = this.timers.filter((t) => t !== timer);
      },
    };
  }

  /** Timers run in their order, each at its own time. */
  advance(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const next = this.timers.filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.timers = this.timers.filter((t) => t !== next);
      this.time = Math.max(this.time, next.at);
      next.callback();
    }
    this.time = end;
  }
}

export interface Write {
  readonly verb: 'create' | 'apply' | 'patch';
  readonly resource: string;
  readonly name: string;
  readonly object: KubeObject;
}

/** Keeps what is written and answers with it. `fail`: what the next writes are refused with. */
export class FakeApi {
  readonly writes: Write[] = [];
  fail: Error | undefined;

  get api(): Api {
    return this as unknown as Api;
  }

  create(resource: Resource, _: string, object: KubeObject): Promise<KubeObject> {
    return this.keep('create', resource, object.metadata.name ?? '', object);
  }

  apply(resource: Resource, _: string, object: KubeObject): Promise<KubeObject> {
    return this.keep('apply', resource, object.metadata.name ?? '', object);
  }

  patch(resource: Resource, _: string, name: string, object: KubeObject): Promise<KubeObject> {
    return this.keep('patch', resource, name, object);
  }

  private async keep(
    verb: Write['verb'],
    { plural }: Resource,
    name: string,
    object: KubeObject,
  ): Promise<KubeObject> {
    if (this.fail) throw this.fail;
    this.writes.push({ verb, resource: plural, name, object: structuredClone(object) });
    return object;
  }
}

export interface Line {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
}

/** A log that keeps its lines. */
export function keptLog(): KubeLog & { readonly lines: Line[] } {
  const lines: Line[] = [];
  const at = (level: Line['level']) => (_: object, message: string) => {
    lines.push({ level, message });
  };
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/**
 * The Kubernetes API as Simmer uses it: a thin typed client over transport.ts. Every refusal, and every silence, is an
 * ApiError; the message names the verb, the resource and the namespace, so that a missing permission can be granted
 * from the log line alone.
 */
import { KubeConfig } from '@kubernetes/client-node';
import { type Asked, refused, unreachable } from './error.ts';
import {
  apiVersionOf,
  type KubeObject,
  pathOf,
  qualifiedName,
  type Resource,
} from './resources.ts';
import { type Answer, REQUEST_TIMEOUT_MS, Transport } from './transport.ts';

export { ApiError, isReason, isTransient } from './error.ts';
export * from './resources.ts';

/** The parts of a logger that the Kubernetes side uses; pino's is one. */
export interface KubeLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Who owns the fields that Simmer applies. */
export const FIELD_MANAGER = 'simmer';
/** Objects in one page of a list. */
const PAGE = 500;
/** Without it the API server names the manager after the user agent. */
const MANAGED = { fieldManager: FIELD_MANAGER } as const;

export interface ListOptions {
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface Listed<T> {
  readonly items: readonly T[];
  /** Of the list: where a watch goes on. */
  readonly resourceVersion: string;
}

export interface RemoveOptions {
  /** Only this very object, not a later one of its name. */
  readonly uid?: string;
  /** Only if nobody wrote since; with a `uid`. */
  readonly resourceVersion?: string;
  /** 0: at once, without waiting for the kubelet. */
  readonly graceSeconds?: number;
  readonly propagation?: 'Background' | 'Foreground' | 'Orphan';
}

export interface WriteOptions {
  /** `status`, `scale`, ... */
  readonly subresource?: string;
}

export interface ApplyOptions extends WriteOptions {
  /** FIELD_MANAGER where absent. */
  readonly fieldManager?: string;
  /** Takes over fields that another manager owns; true where absent (a controller's own fields are its own). */
  readonly force?: boolean;
}

type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export class Api {
  readonly config: KubeConfig;
  private readonly transport: Transport;
  private readonly timeoutMs: number;
  private readonly written = new Map<string, number>();

  /** @param timeoutMs within which each request ends, with an answer or as `unreachable` */
  constructor(config: KubeConfig, timeoutMs: number = REQUEST_TIMEOUT_MS) {
    this.config = config;
    this.timeoutMs = timeoutMs;
    this.transport = new Transport(config);
  }

  /** As kubectl finds its cluster: `$KUBECONFIG`, the home folder's file, and inside a pod its service account. */
  static load(): Api {
    const config = new KubeConfig();
    config.loadFromDefault();
    // What client-node makes up where it finds nothing.
    if (config.getCurrentCluster()?.server === 'http://localhost:8080') {
      throw new Error(
        'found no cluster: $KUBECONFIG names no file, there is no ~/.kube/config, and this is no pod with a service account',
      );
    }
    return new Api(config);
  }

  /** The namespace of the current context; of the pod itself where it runs in one. */
  get namespace(): string {
    const context = this.config.getContextObject(this.config.getCurrentContext());
    return context?.namespace?.trim() || 'default';
  }

  /** Requests that were sent to change something, since the start: by `verb resource`. */
  get writes(): ReadonlyMap<string, number> {
    return this.written;
  }

  /** All of `writes`. */
  get writeCount(): number {
    let sum = 0;
    for (const count of this.written.values()) sum += count;
    return sum;
  }

  /** @throws {ApiError} `NotFound`, ... */
  async get<T extends KubeObject = KubeObject>(
    resource: Resource,
    namespace: string,
    name: string,
  ): Promise<T> {
    const asked = this.asked('get', resource, namespace, name);
    return parse<T>(await this.send(asked, 'GET', pathOf(resource, namespace, name)));
  }

  /** Undefined where there is none. */
  async find<T extends KubeObject = KubeObject>(
    resource: Resource,
    namespace: string,
    name: string,
  ): Promise<T | undefined> {
    const asked = this.asked('get', resource, namespace, name);
    const path = pathOf(resource, namespace, name);
    const answer = await this.send(asked, 'GET', path, { accept404: true });
    return answer.status === 404 ? undefined : parse<T>(answer);
  }

  /** All of them, page by page; of one moment. */
  async list<T extends KubeObject = KubeObject>(
    resource: Resource,
    namespace: string,
    options: ListOptions = {},
  ): Promise<Listed<T>> {
    const asked = this.asked('list', resource, namespace);
    const items: T[] = [];
    let next: string | undefined;
    for (;;) {
      const query: Query = { ...options, limit: PAGE, continue: next };
      const answer = await this.send(asked, 'GET', pathOf(resource, namespace), { query });
      const page = parse<KubeObject & { items?: T[] }>(answer);
      // A list's items are bare of what the list itself says.
      for (const item of page.items ?? []) {
        item.apiVersion ??= apiVersionOf(resource);
        item.kind ??= resource.kind;
        items.push(item);
      }
      next = (page.metadata as { continue?: string }).continue || undefined;
      if (next === undefined) {
        return { items, resourceVersion: page.metadata.resourceVersion ?? '' };
      }
    }
  }

  /** The object as it was stored. @throws {ApiError} `AlreadyExists`, `Forbidden`, `Invalid`, ... */
  async create<T extends KubeObject = KubeObject>(
    resource: Resource,
    namespace: string,
    object: KubeObject,
    options: WriteOptions = {},
  ): Promise<T> {
    const { subresource } = options;
    const asked = this.asked('create', resource, namespace, object.metadata.name, subresource);
    const path =
      subresource === undefined
        ? pathOf(resource, namespace)
        : `${pathOf(resource, namespace, object.metadata.name)}/${subresource}`;
    // A subresource's body has a kind of its own (Eviction, Binding).
    const body = subresource === undefined ? typed(resource, object) : object;
    return parse<T>(await this.send(asked, 'POST', path, { body, query: MANAGED }));
  }

  /** Puts the whole object; with a `resourceVersion` in it only if nobody wrote since. @throws {ApiError} `Conflict` */
  async replace<T extends KubeObject = KubeObject>(
    resource: Resource,
    namespace: string,
    object: KubeObject,
    options: WriteOptions = {},
  ): Promise<T> {
    const { name } = object.metadata;
    const asked = this.asked('update', resource, namespace, name, options.subresource);
    const path = under(pathOf(resource, namespace, name), options.subresource);
    const body = typed(resource, object);
    return parse<T>(await this.send(asked, 'PUT', path, { body, query: MANAGED }));
  }

  /** False where there was none to remove (or, where a uid was given, only another of its name, or one that was written since). */
  async remove(
    resource: Resource,
    namespace: string,
    name: string,
    options: RemoveOptions = {},
  ): Promise<boolean> {
    const asked = this.asked('delete', resource, namespace, name);
    const body = {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      ...(options.uid !== undefined && {
        preconditions: {
          uid: options.uid,
          ...(options.resourceVersion !== undefined && {
            resourceVersion: options.resourceVersion,
          }),
        },
      }),
      ...(options.graceSeconds !== undefined && { gracePeriodSeconds: options.graceSeconds }),
      propagationPolicy: options.propagation ?? 'Background',
    };
    const answer = await this.send(asked, 'DELETE', pathOf(resource, namespace, name), {
      body,
      accept404: true,
      accept409: options.uid !== undefined,
    });
    return answer.status !== 404 && answer.status !== 409;
  }

  /** Server-side apply: the fields given are Simmer's from now on, those given before and not now are removed. */
  async apply<T extends KubeObject = KubeObject>(
    resource: Resource,
    namespace: string,
    object: KubeObject,
    options: ApplyOptions = {},
  ): Promise<T> {
    const { name } = object.metadata;
    const asked = this.asked('patch', resource, namespace, name, options.subresource);
    const path = under(pathOf(resource, namespace, name), options.subresource);
    const query: Query = {
      fieldManager: options.fieldManager ?? FIELD_MANAGER,
      force: options.force ?? true,
    };
    const body = typed(resource, object);
    // JSON is YAML.
    const contentType = 'application/apply-patch+yaml';
    return parse<T>(await this.send(asked, 'PATCH', path, { query, body, contentType }));
  }

  /** A merge patch (RFC 7396): null removes. With `metadata.resourceVersion` in it only if nobody wrote since. */
  async patch<T extends KubeObject = KubeObject>(
    resource: Resource,
    namespace: string,
    name: string,
    change: object,
    options: WriteOptions = {},
  ): Promise<T> {
    const asked = this.asked('patch', resource, namespace, name, options.subresource);
    const path = under(pathOf(resource, namespace, name), options.subresource);
    const contentType = 'application/merge-patch+json';
    const request = { body: change, contentType, query: MANAGED };
    return parse<T>(await this.send(asked, 'PATCH', path, request));
  }

  /** Closes the connections that idle; requests that run are not touched. */
  close(): void {
    this.transport.close();
  }

  private asked(
    verb: string,
    resource: Resource,
    namespace: string,
    name?: string,
    subresource?: string,
  ): Asked {
    const full = under(qualifiedName(resource), subresource);
    return { verb, resource: full, namespace, ...(name !== undefined && { name }) };
  }

  private async send(
    asked: Asked,
    method: string,
    path: string,
    options: {
      query?: Query;
      body?: object;
      contentType?: string;
      accept404?: boolean;
      accept409?: boolean;
    } = {},
  ): Promise<Answer> {
    if (method !== 'GET') {
      const kind = `${asked.verb} ${asked.resource}`;
      this.written.set(kind, (this.written.get(kind) ?? 0) + 1);
    }
    let answer: Answer;
    try {
      answer = await this.transport.send({
        method,
        path: path + search(options.query),
        timeoutMs: this.timeoutMs,
        ...(options.body !== undefined && { body: JSON.stringify(options.body) }),
        ...(options.contentType !== undefined && { contentType: options.contentType }),
      });
    } catch (error) {
      throw unreachable(asked, (error as Error).message || String(error));
    }
    const { status } = answer;
    if (status >= 200 && status < 300) {
      // A proxy in between that answers for the API server does so in HTML.
      if (answer.text.startsWith('{')) return answer;
      throw unreachable(asked, `the answer is no JSON: ${answer.text.slice(0, 80)}`);
    }
    if ((status === 404 && options.accept404) || (status === 409 && options.accept409)) {
      return answer;
    }
    const seconds = Number(answer.headers['retry-after']);
    throw refused(asked, status, answer.text, seconds > 0 ? seconds * 1_000 : 0);
  }
}

function under(path: string, subresource: string | undefined): string {
  return subresource === undefined ? path : `${path}/${subresource}`;
}

function typed(resource: Resource, object: KubeObject): KubeObject {
  return { apiVersion: apiVersionOf(resource), kind: resource.kind, ...object };
}

function search(query: Query | undefined): string {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined) given.set(name, String(value));
  }
  return given.size === 0 ? '' : `?${given}`;
}

function parse<T>(answer: Answer): T {
  return JSON.parse(answer.text) as T;
}
